//! The service behind the distribution's nginx, HAProxy and Caddy: what it answers is what clients read.

mod caddy;
mod grpc;
mod haproxy;
mod nginx;
mod watched;

use std::{
    fs::{self, File},
    net::SocketAddr,
    num::NonZeroUsize,
    path::Path,
    process::Stdio,
    time::Duration,
};

use exposia_notifications::config::Config;
use reqwest::Client;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    gate::{guarded_with, mint},
    support::{InHand, TOKEN, TestApp, eventually, free_addresses, own_host, scratch, within},
};

/// How often each request is made.
const TIMES: usize = 40;

/// Longer than a service has to drain here.
const HOUR: Duration = Duration::from_secs(3_600);

/// A proxy in front of a service.
struct Proxy {
    address: SocketAddr,
    _process: Child,
    folder: TempDir,
}

/// The file in a proxy's folder with what it says.
const LOG: &str = "log";

impl Proxy {
    /// Starts `program` in a folder of its own, where it is to listen on an address. `configure` writes what it reads there and
    /// gives its arguments.
    async fn start(program: &str, configure: impl FnOnce(&Path, SocketAddr) -> Vec<String>) -> Self {
        let folder = scratch();
        let [address] = free_addresses(own_host());
        let mut command = Command::new(program);
        command.args(configure(folder.path(), address)).env("HOME", folder.path()).env_remove("XDG_CONFIG_HOME");
        let log = File::create(folder.path().join(LOG)).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let process = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        eventually("the proxy listens", async || TcpStream::connect(address).await.ok()).await;
        Self { address, _process: process, folder }
    }

    /// The statuses that are read when `path` is posted to with bodies of many sizes, again and again.
    async fn statuses(&self, path: &str, token: &str) -> Vec<u16> {
        let client = Client::new();
        let mut statuses = Vec::new();
        for number in 0..TIMES {
            let size = [17, 64, 200, 900][number % 4] * 1024;
            let body = json!({ "event": "e", "payload": { "filler": "x".repeat(size) } }).to_string();
            let request = client.post(format!("http://{}{path}", self.address)).bearer_auth(token).body(body);
            let answering = async { Ok::<_, reqwest::Error>(request.send().await?.status()) };
            statuses.push(within("an answer", answering).await.expect("an answer").as_u16());
        }
        statuses
    }

    /// Asserts that every such answer has `status`.
    async fn assert_all(&self, path: &str, token: &str, status: u16) {
        let statuses = self.statuses(path, token).await;
        assert!(statuses.iter().all(|read| *read == status), "{path}, {status}: {statuses:?}");
    }
}

/// A token for one publish an hour, which another one with the same `sub` would take from it.
fn limited(sub: &str) -> String {
    mint(json!({ "sub": sub, "publish": ["*"], "rate": "1/h" }))
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).expect("a file");
    text_of(&file).to_owned()
}

/// A service that knows JWTs, and drains for as long as a request is in hand.
async fn service() -> TestApp {
    service_with(|_| {}).await
}

/// The same that takes bodies of 16 KiB at the most.
async fn small_service() -> TestApp {
    service_with(|config| config.ingress.max_body_bytes = NonZeroUsize::new(16 * 1024).expect("a size")).await
}

async fn service_with(change: impl FnOnce(&mut Config)) -> TestApp {
    guarded_with(|config| {
        (config.shutdown_grace, config.ingress.body_timeout) = (HOUR, HOUR);
        change(config);
    })
    .await
}

/// Asserts that what the service refuses before the body is there, or while it comes, is read through `proxy` with its status.
async fn assert_refusals_are_read(proxy: &Proxy) {
    proxy.assert_all("/notify", "wrong", 401).await;
    proxy.assert_all("/nothing", TOKEN, 404).await;
    proxy.assert_all("/health", TOKEN, 405).await;
    // Without the right to publish, and with one for other events.
    proxy.assert_all("/notify", &mint(json!({ "sub": "ana" })), 403).await;
    proxy.assert_all("/notify", &mint(json!({ "sub": "ana", "publish": ["tarea.*"] })), 403).await;
    let statuses = proxy.statuses("/notify", &limited(&proxy.address.to_string())).await;
    assert!(statuses[0] == 200 && statuses[1..].iter().all(|status| *status == 429), "{statuses:?}");
}

/// Drains `app`, which is behind `proxy`, for as long as `asserting` takes.
async fn while_it_drains(app: TestApp, proxy: &Proxy, asserting: impl AsyncFnOnce(&Proxy)) {
    let in_hand = InHand::begin(app.http()).await;
    let http = app.http();
    let running = app.begin_shutdown();
    let client = Client::new();
    eventually("draining", async || {
        let health = client.get(format!("http://{http}/health")).send().await.expect("an answer");
        (health.status() == 503).then_some(())
    })
    .await;
    asserting(proxy).await;
    in_hand.finish().await;
    within("the end", running).await.expect("no panic").expect("a good end");
}
