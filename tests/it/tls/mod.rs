//! TLS on both listeners.

pub(crate) mod authority;
mod clients;
mod early;
mod grpc;
mod hostile;
mod https;
mod log;
mod mtls;
mod reload;
mod resumption;
mod settings;
mod trust;
mod validity;
mod wss;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use exposia_notifications::{
    clock::{Clock, System},
    config::Config,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::client_async;

use crate::support::{Client, TOKEN, TestApp, eventually, scratch, within};
use authority::{Authority, Pair};

/// The names of the protocols in a handshake.
const HTTP_2: &str = "h2";
const HTTP_1: &str = "http/1.1";

/// A service that speaks TLS, with a certificate of an authority of its own.
struct TlsApp {
    app: TestApp,
    authority: Authority,
    files: Files,
}

/// The files with a server's certificate and key.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    folder: TempDir,
}

impl Files {
    fn with(pair: &Pair) -> Self {
        let folder = scratch();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        pair.write(&certificate, &key);
        Self { certificate, key, folder }
    }

    /// The settings that name them.
    fn settings(&self) -> [(&str, &str); 2] {
        [
            ("TLS_CERT_FILE", self.certificate.to_str().expect("text")),
            ("TLS_KEY_FILE", self.key.to_str().expect("text")),
        ]
    }
}

/// A TLS connection, in a box because it is large.
pub(crate) type Encrypted = Box<TlsStream<TcpStream>>;

/// A WebSocket client over TLS.
type TlsClient = Client<Encrypted>;

impl TlsApp {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_by(Arc::new(System::default()), change).await
    }

    /// The same by the time of `clock`.
    async fn start_by(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::new();
        let files = Files::with(&authority.server());
        let settings = |config: &mut Config| {
            config.listen.tls.tls_cert_file = Some(files.certificate.clone());
            config.listen.tls.tls_key_file = Some(files.key.clone());
            change(config);
        };
        let app = TestApp::launch_by(clock, settings, |_| {}).await;
        let app = Self { app, authority, files };
        eventually("healthy", async || (app.get("/health").await.0 == 200).then_some(())).await;
        app
    }

    /// A TLS connection to the HTTP listener.
    async fn connect(&self, protocols: &[&str]) -> Encrypted {
        let config = self.authority.trusting(protocols);
        connect(self.app.http(), config).await.expect("a handshake")
    }

    /// Reads a page over HTTP/1.1 and gives status and body.
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = request(self.connect(&[HTTP_1]).await, Method::GET, path, "").await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).expect("JSON"))
    }

    /// Publishes for everyone and gives the place.
    async fn publish(&self, payload: Value) -> u64 {
        let body = json!({ "event": "e", "payload": payload, "target": { "everyone": true } }).to_string();
        let response = request(self.connect(&[HTTP_1]).await, Method::POST, "/notify", &body).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let answer: Value = serde_json::from_slice(response.body()).expect("JSON");
        answer["sequence"].as_u64().expect("a place")
    }

    /// Connects by WebSocket to `/ws/{address}`.
    async fn subscribe(&self, address: &str) -> TlsClient {
        let stream = self.connect(&[HTTP_1]).await;
        let url = format!("wss://localhost/ws/{address}");
        let (socket, _) = within("a handshake", Box::pin(client_async(url, stream))).await.expect("a WebSocket");
        Client::over(socket).await
    }

    async fn until_connected(&self, count: usize) {
        let probe = async || (self.get("/stats").await.1["total_connections"] == count).then_some(());
        eventually("that many are connected", probe).await;
    }
}

/// Shakes hands.
pub(crate) async fn connect(address: SocketAddr, config: ClientConfig) -> std::io::Result<Encrypted> {
    let tcp = within("a connection", TcpStream::connect(address)).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = Box::pin(TlsConnector::from(Arc::new(config)).connect(name, tcp));
    within("a handshake", connecting).await.map(Box::new)
}

/// The certificate that was shown on a connection.
pub(crate) fn shown_on(stream: &Encrypted) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone()
}

/// Sends one request with the token, in the protocol that was agreed upon.
pub(crate) async fn request(stream: Encrypted, method: Method, path: &str, body: &str) -> Response<Bytes> {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2.as_bytes());
    let request = Request::builder().method(method).uri(format!("https://localhost{path}")).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {TOKEN}"));
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
    let exchange = async {
        let response = if is_http2 {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let (head, body) = response.expect("an answer").into_parts();
        Response::from_parts(head, body.collect().await.expect("a body").to_bytes())
    };
    within("an answer", Box::pin(exchange)).await
}
