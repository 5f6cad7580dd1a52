//! The `NotificationService`, put together from its halves, and the gRPC server around it.

use std::{future::ready, io, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming, body::Body, server::NamedService, transport::Server};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tower::util::{MapRequestLayer, MapResponseLayer};
use tracing::info_span;

use crate::{
    app::{
        calls::{CallsLayer, with_peer},
        reflection,
        watching::Watching,
    },
    config::Config,
    egress::{self, History, Removal, Subscriber},
    gate::{CallLayer, CallLimits, Deadline, Gate, GateLayer, caller},
    ingress::{self, PublishService},
    listen::{self, GrpcConnection, Listener, Taker},
    ops::Stats,
    wire::{
        proto::v1::{
            self,
            notification_service_server::{NotificationService, NotificationServiceServer},
        },
        status::{grpc_over, unreadable},
        streamed::Streamed,
    },
};

/// The name under which health is asked for.
pub(super) const SERVICE: &str = <NotificationServiceServer<GrpcService> as NamedService>::NAME;

/// How often a connection is pinged, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How many calls one connection may have open.
const MAX_STREAMS: u32 = 1_000;

/// How much a client may send ahead, on one stream and on all of its connection: enough for thousands of small requests in
/// flight, and all that the connection can leave unread.
const WINDOW: u32 = 1024 * 1024;

/// Above the limit on messages, by this factor, a stream ends; between the two, one request of it is refused and the others
/// go on. So it is with the limit on heads: above it, by this factor, a connection may end; between the two, one call of it is
/// refused.
const HARD_LIMIT_FACTOR: usize = 4;

/// How much is read of a call that was answered before its end, and how long: what was under way, so that proxies and clients
/// read the answer and not the reset behind it.
const DISCARDED: usize = 4 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(1);

/// Both halves of the service, and what stands between.
#[derive(Debug, Clone)]
pub(super) struct GrpcService {
    pub(super) publisher: PublishService,
    pub(super) subscriber: Subscriber,
    pub(super) history: History,
    pub(super) stats: Stats,
    pub(super) removal: Removal,
}

/// Serves until `stopping` is cancelled and the calls in hand are finished. What nobody reads of a call is read on `tasks`.
pub(super) fn serve(
    service: GrpcService,
    health: HealthService,
    gate: Gate,
    listener: Listener,
    config: &Config,
    stopping: CancellationToken,
    tasks: TaskTracker,
) -> impl Future<Output = ()> + Send + 'static {
    let hard_limit = config.ingress.max_body_bytes.get().saturating_mul(HARD_LIMIT_FACTOR);
    let service = NotificationServiceServer::new(service).max_decoding_message_size(hard_limit);
    let limits = CallLimits {
        max_message_bytes: config.ingress.max_body_bytes.get(),
        max_streamed_bytes: hard_limit,
        max_head_bytes: config.listen.max_header_bytes,
        body_timeout: config.ingress.body_timeout,
    };
    let calls = CallLayer::new(&gate, limits);
    let max_head = config.listen.max_header_bytes.saturating_mul(HARD_LIMIT_FACTOR);
    let (reflection, alpha) = reflection::services();
    let health = HealthServer::new(Watching::new(health, stopping.clone()));
    let taker = Taker::new(DISCARDED, DISCARDING, tasks);
    let take_rest = move |call: http::Request<Body>| call.map(|body| Body::new(taker.of(body)));
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
        .trace_fn(|request| info_span!("call", path = request.uri().path()))
        .layer(MapRequestLayer::new(take_rest))
        .layer(MapRequestLayer::new(with_peer))
        .layer(MapResponseLayer::new(with_our_codes))
        .layer(GateLayer::grpc(gate))
        .layer(CallsLayer)
        .layer(calls)
        .add_service(health)
        .add_service(reflection)
        .add_service(alpha)
        .add_service(service);
    // Each connection has a server of its own, so that one can be ended without the others.
    let speak = move |connection: GrpcConnection, leaving| {
        let router = router.clone();
        let alone = stream::once(ready(Ok::<_, io::Error>(connection))).chain(stream::pending());
        async move {
            if let Err(error) = router.serve_with_incoming_shutdown(alone, leaving).await {
                tracing::error!(%error, "a gRPC connection could not be served");
            }
        }
    };
    listen::serve_grpc(listener, config.listen.clone(), stopping, speak)
}

/// Gives a call that tonic itself refused, before any handler, the code of the contract.
fn with_our_codes<B>(mut response: http::Response<B>) -> http::Response<B> {
    if let Some(fixed) = Status::from_header_map(response.headers()).as_ref().and_then(unreadable) {
        // Headers that were just read from a status can be written back.
        let _ = fixed.add_header(response.headers_mut());
    }
    response
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl NotificationService for GrpcService {
    type PublishStreamStream = ingress::Results;
    type SubscribeStream = egress::NotificationStream;

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        self.publisher.publish(request).await
    }

    async fn publish_stream(&self, request: Request<Streaming<Streamed>>) -> Answer<Self::PublishStreamStream> {
        let deadline = deadline(&request);
        let results = self.publisher.publish_stream(request, deadline)?;
        Ok(results.map(|results| until(deadline, results)))
    }

    async fn subscribe(&self, request: Request<v1::SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        let deadline = deadline(&request);
        let notifications = self.subscriber.subscribe(request, deadline).await?;
        Ok(notifications.map(|notifications| until(deadline, notifications)))
    }

    async fn get_history(&self, request: Request<v1::GetHistoryRequest>) -> Answer<v1::GetHistoryResponse> {
        self.history.page(request).await
    }

    async fn get_stats(&self, request: Request<v1::GetStatsRequest>) -> Answer<v1::GetStatsResponse> {
        caller(&request)?.check_publisher()?;
        self.stats.report(request.into_inner()).await.map(Response::new)
    }

    async fn explain_route(&self, request: Request<v1::ExplainRouteRequest>) -> Answer<v1::ExplainRouteResponse> {
        self.publisher.explain_route(request).await
    }

    async fn revoke_user(&self, request: Request<v1::RevokeUserRequest>) -> Answer<v1::RevokeUserResponse> {
        self.removal.revoke_user(request).await
    }

    async fn disconnect(&self, request: Request<v1::DisconnectRequest>) -> Answer<v1::DisconnectResponse> {
        self.removal.disconnect(request).await
    }
}

/// When a call ends by the will of its client. The layer of the calls sees to it for those with one answer; a stream must do so
/// itself.
fn deadline<T>(request: &Request<T>) -> Option<Instant> {
    request.extensions().get().map(|Deadline(at)| *at)
}

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The same stream, ended with DEADLINE_EXCEEDED at its deadline if the client reads. If it does not, the handler of the call
/// sees to it.
fn until<T: Send + 'static>(deadline: Option<Instant>, items: Items<T>) -> Items<T> {
    let Some(deadline) = deadline else { return items };
    Box::pin(stream::unfold(Some(items), move |items| async move {
        let mut items = items?;
        match timeout_at(deadline, items.next()).await {
            Ok(item) => item.map(|item| (item, Some(items))),
            Err(_) => Some((Err(grpc_over()), None)),
        }
    }))
}
