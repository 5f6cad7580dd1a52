//! What no publish can be cheaper than: the calls of publishers on tonic and axum, set as ours are, with nothing behind them.
//!
//! `bare <HTTP port> <gRPC port>`; `scripts/bench ingest` runs it beside the service.

#![allow(clippy::disallowed_methods, reason = "nothing here has to end in order")]

mod grpc;

use std::{env, net::Ipv4Addr};

use axum::{Json, Router, routing::post};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

#[tokio::main]
async fn main() -> Result<()> {
    let ports: Vec<u16> = env::args().skip(1).map(|port| port.parse()).collect::<std::result::Result<_, _>>()?;
    let &[http, grpc] = &ports[..] else { return Err("expected the ports of HTTP and gRPC".into()) };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, http)).await?;
    let rest = axum::serve(listener, Router::new().route("/notify", post(notify)));
    tokio::try_join!(async { Ok(rest.await?) }, grpc::serve((Ipv4Addr::LOCALHOST, grpc).into()))?;
    Ok(())
}

/// What `POST /notify` takes; the payload is not looked into, as in the service.
#[derive(Debug, Deserialize)]
struct Event {
    event: String,
    payload: Box<RawValue>,
}

/// As long as the answer of the service.
#[derive(Debug, Serialize)]
struct Answer {
    message: &'static str,
    event: String,
    timestamp: &'static str,
    id: &'static str,
    sequence: usize,
}

async fn notify(Json(Event { event, payload }): Json<Event>) -> Json<Answer> {
    Json(Answer {
        message: "Notificación enviada exitosamente",
        event,
        timestamp: "2026-01-01T00:00:00.000Z",
        id: "ac72e999ba9a8329-1",
        sequence: payload.get().len(),
    })
}
