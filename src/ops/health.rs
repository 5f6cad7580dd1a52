//! Whether the service can take events, over HTTP and over `grpc.health.v1`.
//!
//! A journal that cannot be written to, an issuer that was never reached, or a certificate that clients refuse makes the service
//! degraded, not unhealthy: publishes, tokens or new connections fail, but subscribers stay connected and are served, and a restart would not help. So HTTP still answers 200, and gRPC still says `SERVING`.

use std::{fmt::Debug, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    clock::Clock,
    domain::Code,
    egress::Clients,
    gate::VerificationKeys,
    journal::{Condition, Read},
    wire::{json, status::http_status},
};

/// Where the service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not every listener is up yet.
    Starting,
    /// Everything is up.
    Serving,
    /// On its way out: nothing new comes in.
    Draining,
}

/// A part of the service that says what is wrong with it.
pub trait HealthPart: Debug + Send + Sync {
    /// What is wrong with it at `now`, if something is.
    fn wrong(&self, now: DateTime<Utc>) -> Option<String>;
}

/// The service's health, as everyone sees it.
#[derive(Debug, Clone)]
pub struct Health {
    phase: watch::Sender<Phase>,
    grpc: HealthReporter,
    clients: Clients,
    journal: Arc<dyn Read>,
    keys: VerificationKeys,
    certificate: Option<Arc<dyn HealthPart>>,
    /// What ended the service, if something did.
    failure: watch::Receiver<Option<Arc<str>>>,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    /// What is wrong, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    service: &'static str,
    timestamp: String,
    connections: usize,
    /// How long the idempotency key lived that lived shortest, of those that went in the last hour before their window was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key_life_seconds: Option<u64>,
}

impl Health {
    /// A service that is starting, with the `keys` of tokens and the `certificate` that it shows. `grpc` tells those who ask over gRPC; what `failure` says takes the service down.
    pub fn new(
        grpc: HealthReporter,
        clients: Clients,
        journal: Arc<dyn Read>,
        (keys, certificate): (VerificationKeys, Option<Arc<dyn HealthPart>>),
        failure: watch::Receiver<Option<Arc<str>>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), grpc, clients, journal, keys, certificate, failure, clock }
    }

    /// Tells everyone of the next phase.
    pub async fn enter(&self, phase: Phase, service: &'static str) {
        self.phase.send_replace(phase);
        let status = if phase == Phase::Serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in ["", service] {
            self.grpc.set_service_status(name, status).await;
        }
    }

    pub(super) fn router(self) -> Router {
        Router::new().route("/health", get(show)).with_state(self)
    }

    /// All that is wrong while the service goes on, if something is.
    fn wrong(&self) -> Option<String> {
        let journal = match self.journal.condition() {
            Condition::Ok => None,
            Condition::Degraded(reason) => Some(reason.to_string()),
        };
        let keys = self.keys.are_awaited().then(|| NO_KEYS.to_owned());
        let certificate = self.certificate.as_ref().and_then(|certificate| certificate.wrong(self.clock.wall()));
        let wrong: Vec<_> = journal.into_iter().chain(keys).chain(certificate).collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

/// What is wrong while an issuer was never reached.
const NO_KEYS: &str = "JWT_JWKS_URL: no keys could be fetched yet, so the issuer's tokens are refused";

async fn show(State(health): State<Health>) -> Response {
    let failure = health.failure.borrow().clone();
    let phase = if failure.is_some() { Phase::Draining } else { *health.phase.borrow() };
    let (code, status, detail) = match (phase, health.wrong()) {
        (Phase::Serving, None) => (StatusCode::OK, "healthy", None),
        (Phase::Serving, wrong) => (StatusCode::OK, "degraded", wrong),
        (Phase::Starting, _) => (http_status(Code::Unavailable), "starting", None),
        (Phase::Draining, _) => (http_status(Code::Unavailable), "draining", failure.as_deref().map(str::to_owned)),
    };
    let body = Body {
        status,
        detail,
        service: "websocket-notifications",
        timestamp: json::timestamp(health.clock.wall()),
        connections: health.clients.len(),
        idempotency_key_life_seconds: health.journal.shortest_key_life().map(|life| life.as_secs()),
    };
    (code, Json(body)).into_response()
}
