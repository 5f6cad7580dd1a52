//! The HTTP interface, put together from the routers of the modules.

use axum::Router;
use http::{Request, StatusCode};
use tower::ServiceBuilder;
use tower_http::{
    cors::{AllowHeaders, AllowOrigin, Any, CorsLayer},
    trace::TraceLayer,
};
use tracing::{Span, info_span};

use crate::{
    config::Config,
    egress::{self, History, Sockets},
    gate::{Gate, GateLayer, Origins},
    ingress::{self, Intake},
    ops::{self, Health, Stats},
    wire::problem::Problem,
};

/// All routes.
pub(super) fn routes(
    config: &Config,
    intake: Intake,
    sockets: Sockets,
    history: History,
    health: Health,
    stats: Stats,
) -> Router {
    ops::router(health, stats)
        .merge(history.router())
        .merge(ingress::router(&config.ingress, intake))
        .merge(egress::ws_router(sockets))
        .fallback(async || Problem::http(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::http(StatusCode::METHOD_NOT_ALLOWED))
}

/// The routes behind what every request passes, outermost first.
pub(super) fn layered(routes: Router, gate: Gate) -> Router {
    let layers = ServiceBuilder::new()
        // Around everything, so that whatever happens inside is logged with the request.
        .layer(TraceLayer::new_for_http().make_span_with(span))
        // Before the gate: a browser asks for permission without a token.
        .layer(cors(gate.origins()))
        .layer(GateLayer(gate));
    routes.layer(layers)
}

/// Any method and header, for the origins that are allowed. The headers are named back one by one: browsers do not count
/// `Authorization` in with `*`.
fn cors(origins: &Origins) -> CorsLayer {
    let origin = if origins.is_open() {
        AllowOrigin::any()
    } else {
        let origins = origins.clone();
        AllowOrigin::predicate(move |origin, _| origins.allow(origin))
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(Any)
}

/// The path is logged, the query is not: it may have a token in it.
fn span<B>(request: &Request<B>) -> Span {
    info_span!("request", method = %request.method(), path = request.uri().path())
}
