//! What a request presents, and when it is looked at.

use exposia_notifications::wire::proto::v1::GetStatsRequest;
use reqwest::Method;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;

use super::{SECRET, guarded, guarded_with, mint};
use crate::support::{Answer, Call, Client, Server, TOKEN, TestApp, framed, open_with};

/// A server that takes one wrong token an hour.
async fn strict() -> TestApp {
    guarded_with(|config| config.gate.auth_failure_rate = "1/h".parse().expect("a rate")).await
}

/// Asserts that nobody at this address has sent a wrong token so far.
async fn assert_nobody_guessed(app: &TestApp) {
    let notify = || Answer::to(app.request(Method::POST, "/notify").bearer_auth("wrong"));
    notify().await.refused(401);
    notify().await.refused(429);
}

// who is not asked is not guessing: any page could have its visitors' browsers ask
#[tokio::test]
async fn who_is_not_asked_is_not_guessing() {
    let app = strict().await;
    let paths = ["/health", "/", "/console", "/console/client.js", "/openapi.json", "/no/such/path", "/no/such?x="];
    for path in paths {
        let requests = [
            app.request(Method::GET, &format!("{path}?token=x")),
            app.request(Method::GET, path).header("cookie", "token=of-another-application"),
            app.request(Method::GET, path).bearer_auth("x"),
            app.request(Method::GET, path).header("authorization", "Bearer x").header("authorization", "Bearer y"),
        ];
        for request in requests {
            let expected = if path.starts_with("/no") { 404 } else { 200 };
            assert_eq!(Answer::to(request).await.status, expected, "{path}");
        }
    }
    assert_eq!(Answer::to(app.request(Method::DELETE, "/stats?token=x")).await.status, 405);
    for _ in 0..3 {
        let health = Call::begin(&app.channel().await, "grpc.health.v1.Health/Check", Some("x"));
        // In two pieces, so that something is unfinished.
        let message = framed(&HealthCheckRequest { service: String::new() });
        health.send(message[..2].to_vec()).await;
        health.send(message[2..].to_vec()).await;
        assert_eq!(health.end().await.code(), Code::Ok);
    }
    assert_nobody_guessed(&app).await;
}

// other applications of the host have cookies of that name; quotation marks are no part of a value
#[tokio::test]
async fn every_cookie_is_tried_and_the_others_are_no_guesses() {
    let app = strict().await;
    let token = mint(json!({ "sub": "456" }));
    let ways = [
        vec![("cookie", format!("token=theirs; token={token}"))],
        vec![("cookie", format!("token={token}; token=theirs"))],
        vec![("cookie", format!("theme=dark; token=\"{token}\""))],
        vec![("cookie", "token=theirs".to_owned()), ("cookie", format!("token={token}"))],
        vec![("authorization", "Bearer theirs".to_owned()), ("cookie", format!("token={token}"))],
    ];
    for headers in ways {
        let socket = open_with(app.http(), "ana", &headers).await;
        let ana = Client::over(socket.unwrap_or_else(|refusal| panic!("{headers:?}: {refusal:?}"))).await;
        assert_eq!(ana.established["user_id"], "456", "{headers:?}");
    }
    assert_nobody_guessed(&app).await;
}

// proxies and services differ in which of two counts
#[tokio::test]
async fn a_credential_that_comes_twice_is_refused() {
    let app = guarded().await;
    let twice = |name: &'static str, values: [&str; 2]| values.map(|value| (name, value.to_owned()));
    let bearer = format!("Bearer {TOKEN}");
    let cases = [
        twice("authorization", [&bearer, &bearer]),
        twice("authorization", [&bearer, "Basic eDp5"]),
        twice("authorization", ["Bearer wrong", &bearer]),
        twice("x-token", [TOKEN, TOKEN]),
    ];
    for headers in cases {
        let request = app.request(Method::POST, "/notify").body(r#"{"event":"e","payload":{}}"#);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        assert_eq!(Answer::to(request).await.refused(401), "Token inválido", "{headers:?}");
        assert_eq!(open_with(app.http(), "ana", &headers).await.expect_err("refused").status(), 401, "{headers:?}");
    }
    let path = "exposia.notifications.v1.NotificationService/GetStats";
    let call = Call::begin_with(&app.channel().await, path, Some(TOKEN), &[("authorization", &bearer)]);
    call.send(framed(&GetStatsRequest::default())).await;
    assert_eq!(call.end().await.code(), Code::Unauthenticated);
}

// whoever runs the service is told what is wrong with the token that was tried first
#[tokio::test]
async fn the_log_names_the_first_cause() {
    let mut server = Server::start(&[("JWT_SECRET", SECRET)]).await;
    let stats = || server.request(Method::GET, "/stats");
    let expired = mint(json!({ "sub": "ana", "exp": 1_000_000_000 }));
    let twice = stats().bearer_auth(TOKEN).header("authorization", format!("Bearer {TOKEN}"));
    Answer::to(stats().bearer_auth(expired).header("x-token", "wrong")).await.refused(401);
    Answer::to(twice).await.refused(401);
    let line = server.line_with("bad_token").await;
    assert!(line.contains("it is expired"), "{line}");
    let line = server.line_with("bad_token").await;
    assert!(line.contains("the header Authorization came more than once; send one"), "{line}");
}
