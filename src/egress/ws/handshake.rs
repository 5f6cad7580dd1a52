//! `GET /ws/{client_id}`: from a request to a socket.

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue,
    header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL},
};
use tracing::Instrument;

use crate::{
    egress::{
        session::ConnectRequest,
        ws::{
            Server, extension,
            open::{self, Coming},
            session_span, upgrade,
        },
    },
    gate::{BEARER_PROTOCOL, Caller},
    listen::Socket,
    wire::problem::Problem,
};

/// The routes of WebSocket subscribers.
pub fn router(server: Server) -> Router {
    Router::new().route("/ws/{client_id}", get(handshake)).with_state(server)
}

async fn handshake(
    State(server): State<Server>,
    caller: Caller,
    client_id: Result<Path<String>, PathRejection>,
    mut request: Request,
) -> Result<Response, Problem> {
    let mut response = match upgrade::accept(&request) {
        Ok(response) => response,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    server.0.gate.origins().check(request.headers())?;
    let permit = caller.subscriber()?;
    choose_protocol(request.headers(), response.headers_mut());
    let client_id =
        client_id.map_err(|rejection| Problem::field("path", "client_id", "value_error", rejection.body_text()))?;
    let max_rooms = server.0.options.max_rooms_per_connection.get();
    let asked = ConnectRequest::read(&client_id, request.uri(), max_rooms, (caller.address(), permit))?.authorised()?;
    let deflates = server.0.options.permessage_deflate && choose_extension(request.headers(), response.headers_mut());
    let admission = server.0.sessions.admission();
    let admitted = admission.admit(&caller)?;
    // Last, so that nothing is claimed for a handshake that fails.
    let claim = admission.claim(&asked).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let span = session_span(&asked.client_id);
    let session = serve(server.clone(), Coming { request: asked, claim, admitted, deflates }, upgrade);
    server.0.tasks.spawn(session.instrument(span));
    Ok(response)
}

/// A browser that offers protocols wants one of them back: the word before the token, and never the token.
fn choose_protocol(offered: &HeaderMap, answer: &mut HeaderMap) {
    let offered = offered.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if offered.split(',').any(|protocol| protocol.trim() == BEARER_PROTOCOL) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER_PROTOCOL));
    }
}

/// Takes up an offer to compress, if there is one; says whether it did.
fn choose_extension(offered: &HeaderMap, answer: &mut HeaderMap) -> bool {
    let chosen = extension::accept(offered);
    let chooses = chosen.is_some();
    answer.extend(chosen.map(|chosen| (SEC_WEBSOCKET_EXTENSIONS, chosen)));
    chooses
}

async fn serve(server: Server, coming: Coming, upgrade: hyper::upgrade::OnUpgrade) {
    // A client that goes away before the upgrade is complete never was one.
    let Ok(upgraded) = upgrade.await else { return };
    match Socket::of_upgraded(upgraded) {
        Some((socket, head)) => open::run(server, coming, (socket, head)).await,
        None => tracing::error!("the connection that was upgraded is not one of the listener"),
    }
}
