//! `GET /` and the description of the HTTP interface.

use std::sync::Arc;

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use crate::{
    clock::Clock,
    wire::{json, messages},
};

const OPENAPI: &str = include_str!("../../openapi.json");

#[derive(Serialize)]
struct Index {
    service: &'static str,
    version: &'static str,
    description: &'static str,
    endpoints: Endpoints,
    timestamp: String,
}

#[derive(Serialize)]
struct Endpoints {
    websocket: &'static str,
    notify: &'static str,
    stats: &'static str,
    health: &'static str,
    history: &'static str,
    test_notification: &'static str,
    explain: &'static str,
    console: &'static str,
    openapi: &'static str,
}

pub(super) fn router(clock: Arc<dyn Clock>) -> Router {
    Router::new().route("/", get(index)).route("/openapi.json", get(openapi)).with_state(clock)
}

async fn index(State(clock): State<Arc<dyn Clock>>) -> Json<Index> {
    Json(Index {
        service: "ExposIA WebSocket Notifications",
        version: env!("CARGO_PKG_VERSION"),
        description: messages::SERVICE,
        endpoints: Endpoints {
            websocket: "/ws/{client_id}",
            notify: "POST /notify",
            stats: "GET /stats",
            health: "GET /health",
            history: "GET /history",
            test_notification: "POST /test-notification",
            explain: "POST /routes/explain",
            console: "GET /console",
            openapi: "GET /openapi.json",
        },
        timestamp: json::timestamp(clock.wall()),
    })
}

async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], OPENAPI)
}
