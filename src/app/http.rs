//! The HTTP interface, put together from the routers of the modules.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    middleware::{self, Next},
    response::{IntoResponse, Response as Answer},
};
use futures_util::future::Either;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{ALLOW, HOST, ORIGIN, STRICT_TRANSPORT_SECURITY},
};
use tower::{Layer, Service, ServiceBuilder};
use tower_http::{
    cors::{AllowHeaders, AllowOrigin, Any, Cors, CorsLayer},
    trace::TraceLayer,
};
use tracing::{Span, info_span};

use crate::{
    config::{Config, Environment},
    domain::Code,
    egress::{History, ws},
    gate::{Gate, GateLayer, Origins},
    ingress::{self, Intake},
    listen::Partings,
    ops::{self, Health, Stats},
    wire::problem::{Problem, parting},
};

/// All routes.
pub(super) fn routes(
    config: &Config,
    intake: Intake,
    sockets: ws::Server,
    history: History,
    health: Health,
    stats: Stats,
) -> Router {
    let known_token = config.gate.known_token(config.environment == Environment::Production);
    let known = ops::router(health, stats, known_token)
        .merge(history.router())
        .merge(ingress::router(&config.ingress, intake))
        .merge(ws::router(sockets))
        .method_not_allowed_fallback(by_another_method);
    let without_slash = ServiceBuilder::new().map_request(without_slash).service(known.clone().fallback(elsewhere));
    known.fallback_service(without_slash)
}

/// What clients get that come to the port of HTTP and are not served.
pub(super) fn partings() -> Partings {
    Partings {
        too_many: parting(Code::Unavailable, "too many connections; try again later"),
        not_tls: parting(Code::Malformed, "this port speaks TLS: use https:// or wss://"),
    }
}

/// No path of ours, or the whole of the service, which is named by a `*` (RFC 9110, 9.3.7).
async fn elsewhere(method: Method, uri: Uri) -> Answer {
    if method == Method::OPTIONS && uri.path() == "*" {
        (StatusCode::NO_CONTENT, [(ALLOW, "GET,HEAD,POST,OPTIONS")]).into_response()
    } else {
        Problem::plain(Code::NotFound).into_response()
    }
}

/// The router adds which methods there are. `OPTIONS` asks for nothing else, as load balancers do to see whether the service is
/// there.
async fn by_another_method(method: Method) -> Answer {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Problem::plain(Code::NotAllowed).into_response()
    }
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
        .layer(middleware::from_fn(for_one_host))
        // Before the gate: a browser asks for permission without a token.
        .layer(ForPages(cors(gate.origins())))
        .layer(GateLayer::http(gate));
    routes.layer(layers)
}

/// A slash at the end of a path means nothing where there is no such path, but behind the name of a WebSocket's client, where it
/// never did.
fn without_slash(mut request: Request<Body>) -> Request<Body> {
    let uri = request.uri();
    let path = uri.path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() || path.starts_with("/ws/") {
        return request;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(same) = Uri::try_from(format!("{trimmed}{query}")) {
        *request.uri_mut() = same;
    }
    request
}

/// Refuses what does not say for whom it is, or says it twice (RFC 9112, 3.2): a proxy in front and the service would not
/// mean the same.
async fn for_one_host(request: Request<Body>, next: Next) -> Answer {
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        return Problem::new(Code::Malformed, "send the header Host, and send it once").into_response();
    }
    next.run(request).await
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
