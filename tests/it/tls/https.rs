//! HTTP over TLS.

use std::time::Duration;

use exposia_notifications::listen::TlsVersion;
use hyper::{Method, Version};
use rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};
use serde_json::json;

use super::{HTTP_1, HTTP_2, TlsApp, connect, request};
use crate::support::{TestApp, exchange, run_to_end, within};

// HTTP/2 by ALPN; whoever does not ask for it gets HTTP/1.1
#[tokio::test]
async fn the_client_chooses_the_version_of_http() {
    let app = TlsApp::start().await;
    let cases: [(&[&str], _, _); 4] = [
        (&[HTTP_2, HTTP_1], Some(HTTP_2), Version::HTTP_2),
        (&[HTTP_2], Some(HTTP_2), Version::HTTP_2),
        (&[HTTP_1], Some(HTTP_1), Version::HTTP_11),
        (&[], None, Version::HTTP_11),
    ];
    for (offered, agreed, version) in cases {
        let stream = app.connect(offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
        let body = json!({ "event": "e", "payload": { "a": 1 }, "target": { "everyone": true } }).to_string();
        let response = request(stream, Method::POST, "/notify", &body).await;
        assert_eq!((response.status().as_u16(), response.version()), (200, version), "{response:?}");
    }
    let stranger = connect(app.app.http(), app.authority.trusting(&["spdy/3"])).await;
    assert!(stranger.is_err(), "there is no protocol that both speak");
}

// modern defaults: TLS 1.2 and 1.3
#[tokio::test]
async fn both_current_versions_of_tls_are_spoken() {
    let app = TlsApp::start().await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = app.authority.trusting_in(&[version], &[HTTP_2]);
        let stream = connect(app.app.http(), config).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        assert_eq!(request(stream, Method::GET, "/health", "").await.status(), 200);
    }
}

// whoever wants the newest version alone gets it, on both listeners
#[tokio::test]
async fn the_oldest_version_of_tls_is_a_setting() {
    let app = TlsApp::start_with(|config| config.listen.tls.tls_min_version = TlsVersion::Tls13).await;
    for (version, is_spoken) in [(&TLS12, false), (&TLS13, true)] {
        for address in [app.app.http(), app.app.grpc_address()] {
            let config = app.authority.trusting_in(&[version], &[HTTP_2]);
            assert_eq!(connect(address, config).await.is_ok(), is_spoken, "{version:?}");
        }
    }
}

// browsers are told for how long to come by https alone, by each answer; without the setting they are told nothing
#[tokio::test]
async fn browsers_are_kept_with_https_where_that_is_asked_for() {
    let year = Duration::from_secs(365 * 86_400);
    for (age, expected) in [(Some(year), Some("max-age=31536000")), (None, None)] {
        let app = TlsApp::start_with(|config| config.listen.tls.hsts_max_age = age).await;
        for (method, path, code) in
            [(Method::GET, "/health", 200), (Method::GET, "/nothing", 404), (Method::POST, "/notify", 400)]
        {
            let response = request(app.connect(&[HTTP_2]).await, method, path, "").await;
            let told = response.headers().get("strict-transport-security").map(|age| age.to_str().expect("text"));
            assert_eq!((response.status().as_u16(), told), (code, expected), "{path}");
        }
    }
}

// nothing says that a WebSocket could come by HTTP/2, and one that does is told how it should come
#[tokio::test]
async fn a_websocket_does_not_come_by_http_2() {
    let app = TlsApp::start().await;
    let response = request(app.connect(&[HTTP_2]).await, Method::GET, "/ws/ana", "").await;
    assert_eq!(response.status(), 426);
}

// a client that speaks plain HTTP where TLS is expected is told so; one that speaks TLS where it is not gets an end
#[tokio::test]
async fn whoever_takes_the_wrong_door_is_shown_out() {
    let encrypted = TlsApp::start().await;
    let answer = exchange(encrypted.app.http(), b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("use https:// or wss://\"}"), "{answer}");
    assert_eq!(exchange(encrypted.app.grpc_address(), b"").await, "");
    let plain = TestApp::start().await;
    for address in [plain.http(), plain.grpc_address()] {
        let outcome = within("an end", connect(address, encrypted.authority.trusting(&[]))).await;
        assert!(outcome.is_err(), "no TLS there");
    }
    assert_eq!(plain.get("/health").await.status, 200);
    assert_eq!(encrypted.get("/health").await.0, 200);
}

// `… health` asks over TLS when the service speaks it, whatever name the certificate is for
#[tokio::test]
async fn the_health_command_speaks_tls() {
    let app = TlsApp::start().await;
    let port = app.app.http().port().to_string();
    let with_tls = [app.files.settings().as_slice(), &[("PORT", &port)]].concat();
    assert_eq!(run_to_end(&["health"], &with_tls).await.status.code(), Some(0));
    let refused = run_to_end(&["health"], &[("PORT", &port)]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("this port speaks TLS"), "{refused:?}");
}
