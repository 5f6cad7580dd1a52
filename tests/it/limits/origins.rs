//! Pages from elsewhere.

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Client, TestApp, open_with};

async fn with_origins(origins: &[&str]) -> TestApp {
    TestApp::start_with(|config| {
        config.gate.allowed_origins = origins.iter().map(|text| text.parse().expect("an origin")).collect();
    })
    .await
}

// a foreign origin on a handshake is 403 with a `{detail}`; the allowed ones, and whoever names none, come in
#[tokio::test]
async fn a_handshake_comes_from_a_page_that_is_allowed() {
    let app = with_origins(&["https://example.com", "https://*.example.org"]).await;
    for origin in ["https://example.com", "https://app.example.org"] {
        let socket = open_with(app.http(), "ana", &[("origin", origin.to_owned())]).await;
        Client::over(socket.unwrap_or_else(|refusal| panic!("{origin}: {refusal:?}"))).await;
    }
    for origin in
        ["https://evil.net", "http://example.com", "https://example.com.evil.net", "https://example.org", "null"]
    {
        let refusal = open_with(app.http(), "ana", &[("origin", origin.to_owned())]).await.expect_err("refused");
        assert_eq!(refusal.status(), 403, "{origin}");
        let body: Value = serde_json::from_slice(refusal.body().as_deref().unwrap_or_default()).expect("JSON");
        assert_eq!(body["detail"], format!("the origin {origin:?} is not allowed here"));
    }
    app.connect("luz").await;
}

// CORS answers the same pages: others may not read an answer, nor send what needs a pre-flight
#[tokio::test]
async fn cors_answers_the_pages_that_are_allowed() {
    let app = with_origins(&["https://example.com"]).await;
    for (origin, allowed) in [("https://example.com", "https://example.com"), ("https://evil.net", "")] {
        for method in [Method::GET, Method::OPTIONS] {
            let request = app.request(method.clone(), "/health").header("origin", origin);
            let request = request.header("access-control-request-method", "GET");
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{method} {origin}");
            assert!(answer.header("vary").contains("origin"), "caches must tell pages apart");
        }
    }
}

// in development without the setting any page may, as always
#[tokio::test]
async fn in_development_any_page_may_connect() {
    let app = TestApp::start().await;
    Client::over(open_with(app.http(), "ana", &[("origin", "https://evil.net".to_owned())]).await.expect("let in"))
        .await;
}
