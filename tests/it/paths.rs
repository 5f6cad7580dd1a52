//! Paths, methods and hosts as people and proxies send them.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, TestApp, exchange, refusal};

// a slash at the end of a path changes nothing, as it did not with the Python service
#[tokio::test]
async fn a_slash_at_the_end_of_a_path_means_nothing() {
    let app = TestApp::start().await;
    let body = json!({ "event": "e", "payload": {}, "target": { "everyone": true } }).to_string();
    for path in ["/notify/?token=dev", "/notify//?x=/&token=dev", "/test-notification/", "/routes/explain/?token=dev"] {
        let answer = Answer::to(app.request(Method::POST, path).body(body.clone())).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    for path in ["/health/", "/stats/", "/history/?limit=1", "/openapi.json/", "/console/client.js/", "/"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
    }
    for path in ["/nothing/", "//", "/ws/"] {
        app.get(path).await.refused(404);
    }
    app.get("/notify/").await.refused(405);
    assert_eq!(refusal(app.http(), "ana/").await.status(), 404, "a handshake never was sent elsewhere");
}

// `OPTIONS` says which methods there are, to load balancers that ask by it whether the service is there, too
#[tokio::test]
async fn options_are_told_without_a_token() {
    let app = TestApp::start().await;
    for (path, methods) in
        [("/", "GET,HEAD"), ("/health", "GET,HEAD"), ("/notify", "POST"), ("/notify/", "POST"), ("/ws/ana", "GET,HEAD")]
    {
        let answer = Answer::to(app.request(Method::OPTIONS, path)).await;
        assert_eq!((answer.status, answer.header("allow"), answer.text()), (204, methods, ""), "{path}");
    }
    Answer::to(app.request(Method::OPTIONS, "/nothing")).await.refused(404);
    for request in ["OPTIONS / HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"] {
        let answer = exchange(app.http(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 204 ") || answer.starts_with("HTTP/1.0 204 "), "{request}: {answer}");
        assert!(answer.contains("\r\nallow: GET"), "{request}: {answer}");
    }
    let preflight = app.request(Method::OPTIONS, "/notify").header("origin", "https://example.com");
    let preflight = Answer::to(preflight.header("access-control-request-method", "POST")).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, "*"));
}

// HTTP/1.1 names its host, once; HTTP/1.0 need not
#[tokio::test]
async fn a_request_names_one_host() {
    let app = TestApp::start().await;
    for (version, hosts, status) in [
        ("1.1", "", 400),
        ("1.1", "Host: x\r\nHost: x\r\n", 400),
        ("1.1", "Host: x\r\nHost: y\r\n", 400),
        ("1.0", "Host: x\r\nHost: y\r\n", 400),
        ("1.1", "Host: x\r\n", 200),
        ("1.0", "", 200),
    ] {
        let request = format!("GET /health HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        let answer = exchange(app.http(), request.as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{request}: {answer}");
        assert_eq!(answer.contains("the header Host"), status == 400, "{request}: {answer}");
    }
}
