//! The HTTP interface, put together from the routers of the modules.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::Router;
use futures_util::future::Either;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ORIGIN, STRICT_TRANSPORT_SECURITY},
};
use tower::{Layer, Service, ServiceBuilder};
use tower_http::{
    cors::{AllowHeaders, AllowOrigin, Any, Cors, CorsLayer},
    trace::TraceLayer,
};
use tracing::{Span, info_span};

use crate::{
    config::{Config, Environment},
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
    let known_token = config.gate.known_token(config.environment == Environment::Production);
    ops::router(health, stats, known_token)
        .merge(history.router())
        .merge(ingress::router(&config.ingress, intake))
        .merge(egress::ws_router(sockets))
        .fallback(async || Problem::http(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::http(StatusCode::METHOD_NOT_ALLOWED))
}

/// The routes behind what every request passes, outermost first. With `hsts`, browsers are told for how long to come by https alone.
pub(super) fn layered(routes: Router, gate: Gate, hsts: Option<Duration>) -> Router {
    let hsts = hsts.map(|age| HeaderValue::try_from(format!("max-age={}", age.as_secs())).expect("letters and digits"));
    let layers = ServiceBuilder::new()
        .map_response(move |mut response: Response<_>| {
            if let Some(hsts) = &hsts {
                response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
            }
            response
        })
        // Around everything, so that whatever happens inside is logged with the request. What fails is logged by the gate, and
        // no faster than somebody can read.
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        // Before the gate: a browser asks for permission without a token.
        .layer(ForPages(cors(gate.origins())))
        .layer(GateLayer::http(gate));
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

/// Leaves the permissions of [`CorsLayer`] to requests that a page makes, which name its origin. Services ask for none.
#[derive(Debug, Clone)]
struct ForPages(CorsLayer);

impl<S: Clone> Layer<S> for ForPages {
    type Service = PagesOrServices<S>;

    fn layer(&self, inner: S) -> PagesOrServices<S> {
        PagesOrServices { pages: self.0.layer(inner.clone()), services: inner }
    }
}

/// A service behind [`ForPages`].
#[derive(Debug, Clone)]
struct PagesOrServices<S> {
    pages: Cors<S>,
    services: S,
}

impl<S, B, R> Service<Request<B>> for PagesOrServices<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<<Cors<S> as Service<Request<B>>>::Future, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.pages.poll_ready(cx))?;
        self.services.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.headers().contains_key(ORIGIN) {
            Either::Left(self.pages.call(request))
        } else {
            Either::Right(self.services.call(request))
        }
    }
}

/// The path is logged, the query is not: it may have a token in it.
fn span<B>(request: &Request<B>) -> Span {
    info_span!("request", method = %request.method(), path = request.uri().path())
}
