//! The binary as a process, on ports that it keeps over a restart.

use std::{
    ffi::OsString,
    fmt::Display,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command as StdCommand, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use exposia_notifications::wire::proto::v1::{
    GetHistoryRequest, Notification, notification_service_client::NotificationServiceClient,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};
use tonic::{Request, Status, metadata::MetadataValue, service::interceptor::InterceptedService, transport::Channel};

use crate::support::{free_addresses, own_host};

/// A gRPC client that shows the token of development.
pub(super) type Client =
    NotificationServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

fn with_token(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("authorization", MetadataValue::from_static("Bearer dev"));
    Ok(request)
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must come.
pub(super) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

/// Where a service lives: its data and its ports.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) data: PathBuf,
    http: SocketAddr,
    grpc: SocketAddr,
    settings: Vec<(&'static str, &'static str)>,
    /// What else is in the environment of its process.
    environment: Vec<(&'static str, OsString)>,
    /// What starts its process, where that is not done directly.
    starter: &'static [&'static str],
}

impl Home {
    pub(super) fn new(data: &Path, settings: &[(&'static str, &'static str)]) -> Self {
        let [http, grpc] = free_addresses(own_host());
        Self { data: data.to_owned(), http, grpc, settings: settings.to_vec(), environment: Vec::new(), starter: &[] }
    }

    /// The same with nothing in it yet, in a folder of its own.
    pub(super) fn scratch(settings: &[(&'static str, &'static str)]) -> (TempDir, Self) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Self::new(&folder.path().join("data"), settings);
        (folder, home)
    }

    /// The same service with other data.
    pub(super) fn moved(&self, data: &Path) -> Self {
        Self { data: data.to_owned(), ..self.clone() }
    }

    /// The same service with more in the environment of its process.
    pub(super) fn with(&self, environment: impl IntoIterator<Item = (&'static str, OsString)>) -> Self {
        let mut home = self.clone();
        home.environment.extend(environment);
        home
    }

    /// The same service, which the permissions of files bind although root starts it.
    pub(super) fn bound_by_permissions(&self) -> Self {
        Self { starter: &["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown"], ..self.clone() }
    }

    /// Changes a setting.
    pub(super) fn set(&mut self, name: &'static str, value: &'static str) {
        self.settings.push((name, value));
    }

    pub(super) fn file(&self) -> PathBuf {
        self.data.join("notifications.db")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.data.join("notifications.db-wal")
    }

    pub(super) fn http(&self) -> String {
        self.http.to_string()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> StdCommand {
        let words = self.starter.iter().copied().chain([env!("CARGO_BIN_EXE_exposia-notifications")]);
        let mut words = words.chain(arguments.iter().copied());
        let mut command = StdCommand::new(words.next().expect("there is the binary"));
        command
            .args(words)
            .current_dir(self.data.parent().expect("a parent"))
            .env_clear()
            .env("JOURNAL", "sqlite")
            .env("HOST", self.http.ip().to_string())
            .env("DATA_DIR", &self.data)
            .envs([("PORT", self.http.port().to_string()), ("GRPC_PORT", self.grpc.port().to_string())])
            .envs(self.settings.iter().copied())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary until it ends by itself.
    pub(super) async fn run(&self, arguments: &[&str]) -> Output {
        let running = Command::from(self.command(arguments)).kill_on_drop(true).output();
        within("the end of the process", running).await.expect("the binary runs")
    }

    /// Runs a service that must refuse to start, and gives its last words.
    pub(super) async fn refusal(&self) -> String {
        let output = self.run(&[]).await;
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{said}");
        said.trim_end().to_owned()
    }

    /// Starts a service and waits until it serves.
    pub(super) async fn start(&self) -> Service {
        self.try_start().await.unwrap_or_else(|said| panic!("the service did not start: {said:?}"))
    }

    /// The same; if the process ends before it serves, what it said.
    pub(super) async fn try_start(&self) -> Result<Service, Vec<String>> {
        let mut process = self.spawn(Stdio::piped());
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let say = |log: &Mutex<Vec<_>>, line| log.lock().expect("no panic").push(line);
        within("the start", async {
            while let Some(line) = lines.next_line().await.expect("a log") {
                let serves = line.ends_with("serving");
                say(&log, line);
                if serves {
                    return Ok(());
                }
            }
            Err(log.lock().expect("no panic").clone())
        })
        .await?;
        let (mut reading, said) = (JoinSet::new(), Arc::clone(&log));
        reading.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                say(&said, line);
            }
        });
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address");
        let grpc = NotificationServiceClient::with_interceptor(endpoint.connect_lazy(), with_token as _);
        Ok(Service { home: self.clone(), process, grpc, rest: reqwest::Client::new(), log, _reading: reading })
    }

    /// Starts a service and publishes `count` events, each under a key, so that every part of the file is written to.
    pub(super) async fn filled(&self, count: usize) -> Service {
        let service = self.start().await;
        for n in 0..count {
            let (status, answer) = service.publish_keyed(n).await;
            assert_eq!(status, 200, "{answer}");
        }
        service
    }

    /// Starts a process and waits for nothing.
    pub(super) fn spawn(&self, stderr: Stdio) -> Child {
        Command::from(self.command(&[])).stderr(stderr).kill_on_drop(true).spawn().expect("the binary runs")
    }
}

/// A service that runs.
pub(super) struct Service {
    home: Home,
    process: Child,
    pub(super) grpc: Client,
    pub(super) rest: reqwest::Client,
    log: Arc<Mutex<Vec<String>>>,
    /// Reads on, so that the process never waits for somebody to read what it says.
    _reading: JoinSet<()>,
}

impl Service {
    /// Where it lives.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// `SIGKILL`.
    pub(super) async fn kill(mut self) {
        self.process.kill().await.expect("kills");
    }

    /// `SIGTERM`, and a good end.
    pub(super) async fn stop(mut self) {
        self.terminate().await;
        let status = self.ended().await;
        assert!(status.success(), "{status}");
    }

    /// The one end or the other.
    pub(super) async fn end(self, killed: bool) {
        if killed { self.kill().await } else { self.stop().await }
    }

    /// `SIGTERM`.
    pub(super) async fn terminate(&self) {
        terminate(&self.process).await;
    }

    /// Waits for the end of the process.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        within("the end", self.process.wait()).await.expect("ends")
    }

    /// What it has said up to now.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    /// Publishes over REST and gives the status and the body of the answer.
    pub(super) async fn notify(&self, body: &Value, key: Option<&str>) -> reqwest::Result<(u16, Value)> {
        notify(&self.rest, &self.home.http(), body, key).await
    }

    /// Publishes something for everyone that must be accepted, and gives its place.
    pub(super) async fn publish(&self, marker: &str) -> u64 {
        let (status, answer) = self.notify(&event(marker), None).await.expect("an answer");
        assert_eq!(status, 200, "{answer}");
        answer["sequence"].as_u64().expect("a place")
    }

    /// Publishes `e{n}` for everyone, always under the same key, and gives the status and the body of the answer.
    pub(super) async fn publish_keyed(&self, n: impl Display) -> (u16, Value) {
        self.notify(&event(&format!("e{n}")), Some(&format!("key-{n}"))).await.expect("an answer")
    }

    /// Publishes a body of JSON, byte for byte, and gives the status and the body of the answer.
    pub(super) async fn send(&self, body: String, key: Option<&str>) -> (u16, Value) {
        let request = self.rest.post(format!("http://{}/notify", self.home.http())).body(body);
        answer(request.header("Content-Type", "application/json"), key).await.expect("an answer")
    }

    /// The answer to `GET /health`.
    pub(super) async fn health(&self) -> (u16, Value) {
        let answer = self.rest.get(format!("http://{}/health", self.home.http())).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// All that the journal holds, oldest first, and its epoch.
    pub(super) async fn history(&self) -> (Vec<Notification>, String) {
        self.history_after(0).await
    }

    /// The same, of what lies after a place.
    pub(super) async fn history_after(&self, mut after_sequence: u64) -> (Vec<Notification>, String) {
        let mut client = self.grpc.clone();
        let mut all = Vec::new();
        loop {
            let request = GetHistoryRequest { after_sequence, page_size: 1_000, ..GetHistoryRequest::default() };
            let page = within("a page", client.get_history(request)).await.expect("a page").into_inner();
            all.extend(page.notifications);
            after_sequence = page.next_sequence;
            if !page.has_more {
                return (all, page.epoch);
            }
        }
    }
}

/// `SIGTERM`.
pub(super) async fn terminate(process: &Child) {
    let id = process.id().expect("it runs").to_string();
    let sent = Command::new("kill").arg(id).status().await.expect("kill runs");
    assert!(sent.success());
}

/// Publishes over REST and gives the status and the body of the answer.
pub(super) async fn notify(
    client: &reqwest::Client,
    address: &str,
    body: &Value,
    key: Option<&str>,
) -> reqwest::Result<(u16, Value)> {
    answer(client.post(format!("http://{address}/notify")).json(body), key).await
}

/// Sends a request with the token of development, and perhaps a key.
async fn answer(mut request: reqwest::RequestBuilder, key: Option<&str>) -> reqwest::Result<(u16, Value)> {
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = request.bearer_auth("dev").send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// An event for everyone, known by its marker.
pub(super) fn event(marker: &str) -> Value {
    json!({ "event": "test.event", "payload": { "marker": marker }, "target": { "everyone": true } })
}

/// The marker of a notification.
pub(super) fn marker(notification: &Notification) -> String {
    let payload: Value = serde_json::from_slice(&notification.payload_json).expect("JSON");
    payload["marker"].as_str().expect("a marker").to_owned()
}
