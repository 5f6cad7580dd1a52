//! The clients that people have, over TLS: what they publish is accepted, and what is refused is read as what it is.

use std::{fs, net::SocketAddr, time::Duration};

use exposia_notifications::config::Config;
use hyper::Method;
use serde_json::json;

use super::{HTTP_1, TlsApp, connect, request};
use crate::{
    clients::assert_succeeds_with,
    gate::{SECRET, mint},
    support::{InHand, TOKEN, TestApp, eventually, within},
};

/// Longer than the clients take.
const HOUR: Duration = Duration::from_secs(3_600);

/// A service that knows JWTs, and does not mind how many wrong tokens come from here.
fn guarded(config: &mut Config) {
    config.gate.jwt_secret = Some(SECRET.parse().expect("a secret"));
    config.gate.auth_failure_rate = "off".parse().expect("a rate");
    config.shutdown_grace = HOUR;
    config.ingress.body_timeout = HOUR;
}

/// The status of `GET /health` from a service with the certificate of `app`.
async fn health(app: &TlsApp, http: SocketAddr) -> u16 {
    let stream = connect(http, app.authority.trusting(&[HTTP_1])).await.expect("a handshake");
    request(stream, Method::GET, "/health", "").await.status().as_u16()
}

/// A service beside `app`, with the same certificate.
async fn beside(app: &TlsApp) -> TestApp {
    let settings = |config: &mut Config| {
        config.listen.tls.tls_cert_file = Some(app.files.certificate.clone());
        config.listen.tls.tls_key_file = Some(app.files.key.clone());
        guarded(config);
    };
    let service = TestApp::launch_with(settings, |_| {}).await;
    eventually("healthy", async || (health(app, service.http()).await == 200).then_some(())).await;
    service
}

/// What the suite of clients is told of `app`, and of a service that drains.
fn environment(app: &TlsApp, draining: &TestApp) -> [(&'static str, String); 10] {
    let authority = app.files.folder.path().join("authority.pem");
    fs::write(&authority, app.authority.pem()).expect("written");
    let at = |address: SocketAddr| format!("localhost:{}", address.port());
    [
        ("SUITE", "tls".to_owned()),
        ("CA_FILE", authority.to_str().expect("text").to_owned()),
        ("BASE_URL", format!("https://{}", at(app.app.http()))),
        ("GRPC_ADDR", at(app.app.grpc_address())),
        ("DRAINING_URL", format!("https://{}", at(draining.http()))),
        ("DRAINING_GRPC_ADDR", at(draining.grpc_address())),
        ("TOKEN", TOKEN.to_owned()),
        ("IDLE_TOKEN", mint(json!({ "sub": "ana" }))),
        ("UNFIT_TOKEN", mint(json!({ "sub": "luz", "publish": ["tarea.*"] }))),
        ("LIMITED_TOKEN", mint(json!({ "sub": "eva", "publish": ["*"], "rate": "1/h" }))),
    ]
}

// curl, php-curl, Python's requests, the JDK's client and Node's three, by HTTP/1.1 and HTTP/2; grpcio, grpc-java, grpc-js
#[tokio::test]
#[ignore = "needs python3, node, php and a JDK; scripts/test runs it"]
async fn refusals_are_read_by_the_clients_of_other_languages() {
    let app = TlsApp::start_with(guarded).await;
    let draining = beside(&app).await;
    let environment = environment(&app, &draining);
    let http = draining.http();
    let stream = connect(http, app.authority.trusting(&[HTTP_1])).await.expect("a handshake");
    let in_hand = InHand::over(stream).await;
    let running = draining.begin_shutdown();
    eventually("draining", async || (health(&app, http).await == 503).then_some(())).await;
    let environment = environment.each_ref().map(|(name, value)| (*name, &**value));
    assert_succeeds_with(&environment, ".", "tests/clients/run", &["--deadline", "300"]).await;
    in_hand.finish().await;
    within("the end", running).await.expect("no panic").expect("a good end");
}
