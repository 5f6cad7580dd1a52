//! A running service and the verbs that the promises are told in.
//!
//! Nothing here sleeps. What must come is awaited, for [`PATIENCE`] at the most; what must not come is proved absent by
//! something that was sent after it and arrives first.

mod calls;
pub(crate) mod floods;
mod in_hand;
mod own_host;
mod process;
mod raw;
mod socket;

use std::{fmt::Debug, marker::PhantomData, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use exposia_notifications::{
    app::{App, Workers},
    clock::{Clock, System},
    config::Config,
    journal::{Engine, Journal},
    wire::proto::v1::{PublishRequest, notification_service_client::NotificationServiceClient},
};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

pub(crate) use calls::{Answering, Call, announced, framed};
pub(crate) use in_hand::InHand;
pub(crate) use own_host::{free_addresses, own_host};
pub(crate) use process::{Server, run_in, run_limited, run_to_end, run_with_input, scratch};
pub(crate) use raw::{Frame, RawSocket, drip, exchange, send_then_read};
pub(crate) use socket::{Client, Socket, open, open_with, refusal};

/// How long anything may take before the test fails. Nothing waits for it in a test that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The clients of the tests answer pings only while they are read from, so that the service is not to ping those of a test
/// that is about something else.
const NO_PINGS: Duration = Duration::from_secs(60 * 60);

/// The token of a server with default settings.
pub(crate) const TOKEN: &str = "dev";

/// The outcome of `future`, which must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(outcome) = timeout(PATIENCE, future).await else { panic!("did not happen within {PATIENCE:?}: {what}") };
    outcome
}

/// Asks `probe` until it answers.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let mut between = tokio::time::interval(Duration::from_millis(5));
    let asking = async {
        loop {
            between.tick().await;
            if let Some(found) = probe().await {
                return found;
            }
        }
    };
    within(what, asking).await
}

/// Looks at `value` until `is_right` says that it is, and gives the last one otherwise.
pub(crate) async fn comes_to<T>(mut value: impl FnMut() -> T, is_right: impl Fn(&T) -> bool) -> Result<T, T> {
    let mut between = tokio::time::interval(Duration::from_millis(5));
    let ends = Instant::now() + PATIENCE;
    loop {
        between.tick().await;
        let seen = value();
        if is_right(&seen) {
            return Ok(seen);
        }
        if Instant::now() > ends {
            return Err(seen);
        }
    }
}

/// The default settings, but for free ports and an `engine` that keeps its journal below `folder`.
fn settings(engine: Engine, folder: &Path) -> Config {
    let mut config = Config::defaults();
    config.listen.host = "127.0.0.1".to_owned();
    config.listen.port = 0;
    config.listen.grpc_port = 0;
    config.journal.engine = engine;
    config.journal.data_dir = folder.join("data");
    config.egress.ping_interval = NO_PINGS;
    config
}

/// Where the journal of a service is kept.
pub(crate) trait Store: Debug {
    /// The engine.
    const ENGINE: Engine;
}

/// In a file, as it is wherever the service is deployed.
#[derive(Debug)]
pub(crate) enum OnDisk {}

/// In memory.
#[derive(Debug)]
pub(crate) enum InMemory {}

impl Store for OnDisk {
    const ENGINE: Engine = Engine::Sqlite;
}

impl Store for InMemory {
    const ENGINE: Engine = Engine::Memory;
}

/// The service as the tests have it.
pub(crate) type TestApp = Running<OnDisk>;

/// The service, running in this process on free ports. Its journal has a folder of its own, which goes when the service has ended.
#[derive(Debug)]
pub(crate) struct Running<S> {
    http: SocketAddr,
    grpc: SocketAddr,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
    workers: Workers,
    http_client: reqwest::Client,
    store: PhantomData<S>,
}

/// A gRPC client that sends the token.
pub(crate) type GrpcClient = NotificationServiceClient<InterceptedService<Channel, WithToken>>;
type WithToken = fn(Request<()>) -> Result<Request<()>, Status>;

impl<S: Store> Running<S> {
    /// The engine of its journal.
    pub(crate) const ENGINE: Engine = S::ENGINE;

    /// Starts it with the default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts it with the settings that `change` makes of the default ones.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_by(Arc::new(System::default()), change).await
    }

    /// The same by the time of `clock`.
    pub(crate) async fn start_by(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Config)) -> Self {
        let app = Self::launch_by(clock, change, |_| {}).await;
        eventually("healthy", async || (app.get("/health").await.status == 200).then_some(())).await;
        app
    }

    /// Starts it, does something with what was built before it runs, and does not wait until it is healthy.
    pub(crate) async fn launch_with(change: impl FnOnce(&mut Config), prepare: impl FnOnce(&mut App)) -> Self {
        Self::launch_by(Arc::new(System::default()), change, prepare).await
    }

    /// The same by the time of `clock`.
    pub(crate) async fn launch_by(
        clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut Config),
        prepare: impl FnOnce(&mut App),
    ) -> Self {
        let folder = scratch();
        let mut config = settings(S::ENGINE, folder.path());
        change(&mut config);
        let mut app = App::build_with(config, clock).await.expect("the settings are good and the ports are free");
        prepare(&mut app);
        Self::run(app, folder)
    }

    /// Starts it on this journal, whatever the settings say.
    pub(crate) async fn start_on(journal: Arc<dyn Journal>) -> Self {
        let folder = scratch();
        let settings = settings(S::ENGINE, folder.path());
        let app = App::build_on(settings, async { Ok(journal) }, Arc::new(System::default())).await;
        let app = Self::run(app.expect("the settings are good and the ports are free"), folder);
        eventually("healthy", async || (app.get("/health").await.status == 200).then_some(())).await;
        app
    }

    fn run(app: App, folder: TempDir) -> Self {
        let workers = app.workers();
        let (http, grpc) = (app.http_address(), app.grpc_address());
        let (shutdown, asked) = oneshot::channel();
        let serving = Box::pin(app.run(async { drop(asked.await) }));
        let running = tokio::spawn(async move {
            let outcome = serving.await;
            drop(folder);
            outcome
        });
        let http_client = reqwest::Client::new();
        Self { http, grpc, shutdown, running, workers, http_client, store: PhantomData }
    }

    /// Where HTTP and WebSocket are.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where gRPC is.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Asks the service to end.
    pub(crate) fn begin_shutdown(self) -> JoinHandle<anyhow::Result<()>> {
        self.shutdown.send(()).expect("the service runs");
        self.running
    }

    /// What it watches.
    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let outcome = within("the end of the service", self.running).await.expect("no panic");
        // Without this it would be asked to end.
        drop(self.shutdown);
        outcome
    }

    /// A request without credentials.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http_client.request(method, format!("http://{}{path}", self.http))
    }

    /// Reads a page without credentials.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// Sends `body` to `path` with the token.
    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::to(self.request(Method::POST, path).bearer_auth(TOKEN).body(body)).await
    }

    /// Sends `body` to `POST /notify`, whatever it is.
    pub(crate) async fn notify(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.post("/notify", body).await
    }

    /// Publishes what the rules route, and gives the answer.
    pub(crate) async fn publish(&self, event: &str, payload: Value) -> Value {
        self.accepted(&json!({ "event": event, "payload": payload })).await
    }

    /// Publishes to a target, and gives the answer.
    pub(crate) async fn publish_to(&self, target: Value, event: &str, payload: Value) -> Value {
        self.accepted(&json!({ "event": event, "payload": payload, "target": target })).await
    }

    async fn accepted(&self, body: &Value) -> Value {
        let answer = self.notify(body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Publishes something for everyone and gives its `seq`: whatever was delivered before it has come when this comes.
    pub(crate) async fn mark(&self) -> u64 {
        let answer = self.publish_to(json!({ "everyone": true }), "marker", json!({})).await;
        answer["sequence"].as_u64().expect("a sequence")
    }

    /// Connects by WebSocket to `/ws/{address}`; the client has its first message, and the others have been told.
    pub(crate) async fn connect(&self, address: &str) -> Client {
        Client::connect(self.http, address).await
    }

    /// A gRPC client.
    pub(crate) async fn grpc(&self) -> GrpcClient {
        let channel = self.channel().await;
        NotificationServiceClient::with_interceptor(channel, with_token as WithToken)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// A gRPC client that sends this token, or none.
    pub(crate) async fn grpc_with(
        &self,
        token: Option<&str>,
    ) -> NotificationServiceClient<InterceptedService<Channel, WithAny>> {
        let credentials = token.map_or(WithAny(None), WithAny::token);
        NotificationServiceClient::with_interceptor(self.channel().await, credentials)
    }

    /// A gRPC connection without credentials.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("an address");
        within("a gRPC connection", endpoint.connect()).await.expect("the listener is up")
    }

    /// The statistics.
    pub(crate) async fn stats(&self) -> Value {
        self.get("/stats").await.json()
    }

    /// Waits until `count` clients are connected.
    pub(crate) async fn until_connected(&self, count: usize) {
        let probe = async || (self.stats().await["total_connections"] == count).then_some(());
        eventually("that many are connected", probe).await;
    }
}

/// Sends these credentials with each call.
#[derive(Debug, Clone)]
pub(crate) struct WithAny(Option<tonic::metadata::AsciiMetadataValue>);

impl WithAny {
    pub(crate) fn token(token: &str) -> Self {
        Self(Some(format!("Bearer {token}").parse().expect("a header value")))
    }
}

impl tonic::service::Interceptor for WithAny {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(credentials) = &self.0 {
            request.metadata_mut().insert("authorization", credentials.clone());
        }
        Ok(request)
    }
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of an interceptor")]
fn with_token(mut request: Request<()>) -> Result<Request<()>, Status> {
    let credentials = format!("Bearer {TOKEN}").parse().expect("a header value");
    request.metadata_mut().insert("authorization", credentials);
    Ok(request)
}

/// Publishes an event again and again until the service goes away, and gives the places that it was told. After each there is
/// something in `progress`, while anybody takes it.
pub(crate) async fn publish_over_grpc(
    mut grpc: GrpcClient,
    event: PublishRequest,
    progress: mpsc::Sender<()>,
) -> Vec<u64> {
    let mut accepted = Vec::new();
    loop {
        match within("an answer", grpc.publish(event.clone())).await {
            Ok(answer) => accepted.push(answer.into_inner().sequence),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                return accepted;
            }
        }
        let _ = progress.send(()).await;
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Sends a request and reads the answer.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let exchange = async {
            let response = request.send().await.expect("an answer");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Self { status, headers, body: response.bytes().await.expect("a body").into() }
        };
        within("an answer over HTTP", exchange).await
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Asserts that this is an error with `status` and a JSON body `{detail}`, and gives the detail.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        let fields: Vec<_> = body.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["detail"]);
        assert!(self.header("content-type").starts_with("application/json"));
        body["detail"].clone()
    }
}

/// Asserts that `value` is a time in RFC 3339, in UTC with `Z`, and not long ago.
#[track_caller]
pub(crate) fn assert_recent(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("not a text: {value}"));
    assert!(text.ends_with('Z') && text.as_bytes()[10] == b'T', "not RFC 3339 in UTC: {text}");
    let time: chrono::DateTime<chrono::Utc> = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    let age = chrono::Utc::now().signed_duration_since(time);
    assert!(age.num_seconds().abs() < 120, "not of now: {text}");
}

/// `value` without its `timestamp`, which was checked to be one of now.
#[track_caller]
pub(crate) fn timeless(mut value: Value) -> Value {
    let timestamp = value.as_object_mut().and_then(|fields| fields.remove("timestamp"));
    assert_recent(&timestamp.unwrap_or_else(|| panic!("no timestamp: {value}")));
    value
}
