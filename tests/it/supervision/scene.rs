//! A service with all its parts, and those who use it while one of them ends.

use std::{fs, io::Write, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use exposia_notifications::{
    clock::System,
    config::Config,
    domain::Seq,
    journal::{Engine, Query, Read, Sqlite},
    telemetry::{self, LogHandle},
    wire::proto::v1::GetHistoryRequest,
    worker::InjectedFault,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::mpsc};
use tonic::Streaming;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};
use tracing_appender::non_blocking::NonBlocking;

use crate::{
    support::{GrpcClient, TOKEN, TestApp, eventually, scratch, within},
    tls::{self, authority::Authority},
};

/// A stage of the shutdown that hangs would hold a test up for longer than it waits.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// What is held in memory: little, so that the file is read.
const MEMORY_BYTES: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// A service with every part that the settings can give it, but for TLS.
pub(super) struct Scene {
    pub(super) app: TestApp,
    authority: Option<Authority>,
    data: TempDir,
    log: Mutex<NonBlocking>,
    _log: LogHandle,
}

impl Scene {
    /// Starts it, with more in the journal than in memory.
    pub(super) async fn start() -> Self {
        let scene = Self::launch(None, |_| {}).await;
        eventually("healthy", async || (scene.app.get("/health").await.status == 200).then_some(())).await;
        for _ in 0..20 {
            scene.app.publish("e", serde_json::json!({ "padding": "x".repeat(1_000) })).await;
        }
        scene
    }

    /// The same with TLS and client certificates.
    pub(super) async fn with_tls() -> Self {
        let (folder, authority) = (scratch(), Authority::new());
        let [certificate, key, clients, grants] =
            ["cert.pem", "key.pem", "clients.pem", "grants.toml"].map(|name| folder.path().join(name));
        authority.server().write(&certificate, &key);
        fs::write(&clients, authority.pem()).expect("written");
        fs::write(&grants, "[[grants]]\nsubject = \"a\"\n").expect("written");
        let scene = Self::launch(Some(authority), |config| {
            config.listen.tls.tls_cert_file = Some(certificate);
            config.listen.tls.tls_key_file = Some(key);
            config.listen.tls.mtls_ca_file = Some(clients);
            config.gate.mtls_grants = Some(grants);
        })
        .await;
        eventually("serving", async || (scene.tls_health().await == 200).then_some(())).await;
        scene
    }

    /// The status of health over TLS.
    async fn tls_health(&self) -> u16 {
        let client = self.authority.as_ref().expect("it speaks TLS").trusting(&["http/1.1"]);
        let stream = tls::connect(self.app.http(), client).await.expect("a handshake");
        tls::request(stream, Method::GET, "/health", "").await.status().as_u16()
    }

    async fn launch(authority: Option<Authority>, change: impl FnOnce(&mut Config)) -> Self {
        let data = scratch();
        let (log, _log) = telemetry::written_to(std::io::sink());
        let settings = |config: &mut Config| {
            config.shutdown_grace = GRACE;
            config.journal = journal(&data);
            // Nobody is there: the service serves all the same, and asks again.
            config.gate.jwt_jwks_url = Some("http://127.0.0.1:1/".parse().expect("a URL"));
            change(config);
        };
        let app = TestApp::launch_with(settings, |app| app.watch(_log.worker.clone())).await;
        Self { app, authority, data, log: Mutex::new(log), _log }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.app.workers().names()
    }

    /// Ends a part. The threads need something to do for that; only the log's has nothing here.
    pub(super) fn break_down(&self, name: &str, fault: InjectedFault) {
        self.app.workers().find(name).expect("it is watched").inject(fault);
        self.log.lock().write_all(b"a line\n").expect("it takes lines");
    }

    /// Health as gRPC tells it, whenever it changes.
    pub(super) async fn watch_health(&self) -> Streaming<HealthCheckResponse> {
        let mut client = HealthClient::new(self.app.channel().await);
        let mut changes = client.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
        while within("a status", changes.message()).await.expect("a status").expect("a status").status()
            != ServingStatus::Serving
        {}
        changes
    }

    /// How it ended, and where its journal is.
    pub(super) async fn end(self) -> (anyhow::Result<()>, TempDir) {
        (self.app.end().await, self.data)
    }
}

fn journal(data: &TempDir) -> exposia_notifications::journal::Options {
    let mut options = Config::defaults().journal;
    options.engine = Engine::Sqlite;
    options.data_dir = data.path().to_owned();
    options.memory_bytes = MEMORY_BYTES;
    options
}

/// Waits until gRPC says that the service goes away.
pub(super) async fn until_not_serving(changes: &mut Streaming<HealthCheckResponse>) {
    let status = within("a status", changes.message()).await.expect("a status").expect("a status");
    assert_eq!(status.status(), ServingStatus::NotServing);
}

/// All places that the journal has.
pub(super) async fn kept_in(data: &TempDir) -> Vec<Seq> {
    let journal = Sqlite::open(&journal(data), Arc::new(System::default())).expect("opens");
    let (limit, max_bytes) = (100_000, usize::MAX);
    let query = Query { audiences: None, after: 0, before: None, since: None, limit, max_bytes, newest_first: false };
    let page = journal.read(query).await.expect("can be read");
    assert!(!page.more);
    page.notifications.iter().map(|notification| notification.seq).collect()
}

/// An HTTP connection that lives on when nobody accepts further ones.
pub(super) struct Kept(SendRequest<Full<Bytes>>);

impl Kept {
    pub(super) async fn open(http: SocketAddr) -> Self {
        let stream = TcpStream::connect(http).await.expect("a connection");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self(sender)
    }

    /// Status and body of an answer, which must come.
    pub(super) async fn request(&mut self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "x");
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
        let exchange = async {
            self.0.ready().await.expect("the connection is kept");
            let (head, body) = self.0.send_request(request).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            (head.status.as_u16(), serde_json::from_slice(&body).expect("JSON"))
        };
        within("an answer", exchange).await
    }
}

/// Publishes until it is refused, and gives the places that it was told.
pub(super) async fn publish_over_http(http: SocketAddr, progress: mpsc::Sender<()>) -> Vec<Seq> {
    let (mut kept, mut accepted) = (Kept::open(http).await, Vec::new());
    loop {
        let (status, answer) = kept.request(Method::POST, "/notify", r#"{"event":"e","payload":{}}"#).await;
        if status == 503 {
            return accepted;
        }
        assert_eq!(status, 200, "{answer}");
        accepted.push(answer["sequence"].as_u64().expect("a place"));
        let _ = progress.send(()).await;
    }
}

/// Reads what is no longer in memory, until nobody answers any more.
pub(super) async fn read_the_file(mut grpc: GrpcClient) {
    let request = GetHistoryRequest { page_size: 1, ..GetHistoryRequest::default() };
    while within("an answer", grpc.get_history(request.clone())).await.is_ok() {}
}
