//! The service behind the distribution's nginx and HAProxy: what it answers is what clients read.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::Path,
    process::Stdio,
};

use exposia_notifications::{
    config::Config,
    wire::proto::v1::{PublishRequest, notification_service_client::NotificationServiceClient, publish_request::Body},
};
use reqwest::{Client, Method};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::support::{InHand, TOKEN, TestApp, WithAny, eventually, scratch, within};

/// How often each request is made.
const TIMES: usize = 40;

/// A proxy in front of a service.
struct Proxy {
    address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

impl Proxy {
    /// nginx in front of the HTTP port, keeping its connections. `more` stands in its `location`.
    async fn nginx(app: &TestApp, more: &str) -> Self {
        let http = app.http();
        Self::start("nginx", |folder, address| {
            let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let paths = paths.map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display())).concat();
            let text = format!(
                "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n\
                 http {{ access_log off; client_max_body_size 0;\n{paths}\
                 upstream service {{ server {http}; keepalive 8; }}\n\
                 server {{ listen {address}; location / {{ proxy_pass http://service; proxy_http_version 1.1;\n\
                 proxy_set_header Connection \"\"; {more} }} }} }}\n",
                folder.display(),
            );
            fs::write(folder.join("conf"), text).expect("a file");
            ["-p", text_of(folder), "-c", "conf", "-e", "error.log"].map(str::to_owned).to_vec()
        })
        .await
    }

    /// HAProxy in front of the gRPC port.
    async fn haproxy(app: &TestApp) -> Self {
        let grpc = app.grpc_address();
        Self::start("haproxy", |folder, address| {
            let text = format!(
                "defaults\n mode http\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
                 frontend here\n bind {address} proto h2\n default_backend service\n\
                 backend service\n server one {grpc} proto h2\n"
            );
            fs::write(folder.join("conf"), text).expect("a file");
            vec!["-db".to_owned(), "-f".to_owned(), text_of(&folder.join("conf")).to_owned()]
        })
        .await
    }

    /// Starts `program` in a folder of its own, where it is to listen on an address.
    async fn start(program: &str, configure: impl FnOnce(&Path, SocketAddr) -> Vec<String>) -> Self {
        let folder = scratch();
        let address = free_address();
        let mut command = Command::new(program);
        command.args(configure(folder.path(), address)).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(Stdio::null()).kill_on_drop(true).spawn();
        let process = process.unwrap_or_else(|error| panic!("{program}: {error}"));
        eventually("the proxy listens", async || TcpStream::connect(address).await.ok()).await;
        Self { address, _process: process, _folder: folder }
    }

    /// The statuses that are read when `path` is posted to with bodies of every size, again and again.
    async fn statuses(&self, path: &str, token: &str) -> Vec<u16> {
        let client = Client::new();
        let mut statuses = Vec::new();
        for number in 0..TIMES {
            let size = [17, 64, 200, 1024][number % 4] * 1024;
            let request = client.request(Method::POST, format!("http://{}{path}", self.address)).bearer_auth(token);
            let answering = async { Ok::<_, reqwest::Error>(request.body(vec![b' '; size]).send().await?.status()) };
            statuses.push(within("an answer", answering).await.expect("an answer").as_u16());
        }
        statuses
    }

    /// Asserts that every such answer has `status`.
    async fn assert_all(&self, path: &str, token: &str, status: u16) {
        let statuses = self.statuses(path, token).await;
        assert!(statuses.iter().all(|read| *read == status), "{path}, {status}: {statuses:?}");
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        within("a connection", endpoint.connect()).await.expect("the proxy listens")
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

// nginx makes no 502 of an answer that is ready before the body is there, whether it buffers what it passes on or not
#[tokio::test]
#[ignore = "needs nginx; scripts/test runs it"]
async fn an_early_answer_is_read_through_nginx() {
    let app = TestApp::start_with(|config: &mut Config| {
        config.ingress.max_body_bytes = NonZeroUsize::new(16 * 1024).expect("a size");
    })
    .await;
    for buffering in ["on", "off"] {
        let nginx = Proxy::nginx(&app, &format!("proxy_request_buffering {buffering};")).await;
        nginx.assert_all("/notify", "wrong", 401).await;
        nginx.assert_all("/nothing", TOKEN, 404).await;
        nginx.assert_all("/health", TOKEN, 405).await;
        nginx.assert_all("/notify", TOKEN, 413).await;
    }
}

// the same above the rate
#[tokio::test]
#[ignore = "needs nginx; scripts/test runs it"]
async fn what_is_above_the_rate_is_read_through_nginx() {
    let app = TestApp::start_with(|config| {
        config.gate.publish_rate = "1/h".parse().expect("a rate");
    })
    .await;
    let nginx = Proxy::nginx(&app, "").await;
    let statuses = nginx.statuses("/notify", TOKEN).await;
    assert!(statuses[1..].iter().all(|status| *status == 429), "{statuses:?}");
}

// the same while the service goes away
#[tokio::test]
#[ignore = "needs nginx; scripts/test runs it"]
async fn a_service_that_drains_is_read_through_nginx() {
    let app = TestApp::start().await;
    let nginx = Proxy::nginx(&app, "").await;
    let in_hand = InHand::begin(app.http()).await;
    let running = app.begin_shutdown();
    let client = Client::new();
    eventually("draining", async || {
        let health = client.get(format!("http://{}/health", nginx.address)).send().await.expect("an answer");
        (health.status() == 503).then_some(())
    })
    .await;
    nginx.assert_all("/notify", TOKEN, 503).await;
    in_hand.finish().await;
    within("the end", running).await.expect("no panic").expect("a good end");
}

// a refusal over gRPC that is ready before the message is there is read as what it is, and not as CANCELLED
#[tokio::test]
#[ignore = "needs haproxy; scripts/test runs it"]
async fn an_early_refusal_is_read_through_haproxy() {
    let app = TestApp::start().await;
    let haproxy = Proxy::haproxy(&app).await;
    let channel = haproxy.channel().await;
    for number in 0..TIMES {
        let wrong = WithAny::token("wrong");
        let mut client = NotificationServiceClient::with_interceptor(channel.clone(), wrong);
        let size = [1, 17, 200, 900][number % 4] * 1024;
        let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(size));
        let request =
            PublishRequest { event: "e".into(), body: Some(Body::PayloadJson(payload.into())), ..Default::default() };
        let refused = within("a status", client.publish(request.clone())).await.expect_err("a wrong token");
        assert_eq!(refused.code(), Code::Unauthenticated, "{number}: {refused:?}");
        let requests = tokio_stream::iter(vec![request; 8]);
        let refused = within("a status", client.publish_stream(requests)).await.expect_err("a wrong token");
        assert_eq!(refused.code(), Code::Unauthenticated, "{number}, a stream: {refused:?}");
    }
}
