//! Whether the service can take events, over HTTP and over `grpc.health.v1`.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::Utc;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{egress::Clients, wire::text};

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

/// The service's health, as everyone sees it.
#[derive(Debug, Clone)]
pub struct Health {
    phase: watch::Sender<Phase>,
    grpc: HealthReporter,
    clients: Clients,
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    service: &'static str,
    timestamp: String,
    connections: usize,
}

impl Health {
    /// A service that is starting. `grpc` tells those who ask over gRPC.
    pub fn new(grpc: HealthReporter, clients: Clients) -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), grpc, clients }
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
}

async fn show(State(health): State<Health>) -> Response {
    let (code, status) = match *health.phase.borrow() {
        Phase::Serving => (StatusCode::OK, "healthy"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let body = Body {
        status,
        service: "websocket-notifications",
        timestamp: text::timestamp(Utc::now()),
        connections: health.clients.len(),
    };
    (code, Json(body)).into_response()
}
