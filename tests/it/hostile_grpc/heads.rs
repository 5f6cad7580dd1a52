//! What the head of a call decides.

use futures_util::future::join_all;
use http::{Method, Request, Response};
use prost::Message;
use serde_json::json;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};

use tower::ServiceExt;

use super::{PUBLISH, PUBLISH_STREAM, event};
use crate::{
    gate::{guarded, mint},
    support::{Call, TOKEN, TestApp, announced, framed, within},
};

/// What answers anybody.
const OPEN: [&str; 4] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

// a message that is too large for health and reflection is refused as soon as its length is known, whoever sends it
#[tokio::test]
async fn health_and_reflection_take_small_messages_only() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    for path in OPEN {
        for token in [None, Some(TOKEN)] {
            let call = Call::begin(&channel, path, token);
            call.send(announced(4 * 1024 + 1).to_vec()).await;
            let status = call.status().await;
            assert_eq!(status.code(), Code::ResourceExhausted, "{path}: {status}");
            assert!(status.message().contains("4096"), "{path}: {status}");
        }
    }
    let health = HealthCheckRequest { service: "s".repeat(4 * 1024 - 3) };
    assert_eq!(health.encoded_len(), 4 * 1024);
    let call = Call::begin(&channel, OPEN[0], None);
    call.send(framed(&health)).await;
    assert_eq!(call.end().await.code(), Code::NotFound, "the largest that may be is read");
}

// whoever has no credential has few calls open: the oldest gives way, and a check gets through
#[tokio::test]
async fn of_the_calls_without_a_credential_the_oldest_gives_way() {
    const OF_CONNECTION: usize = 8;
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let known = Call::begin(&channel, OPEN[1], Some(TOKEN));
    known.send(framed(&HealthCheckRequest::default())).await;
    let mut known = known.ended().await;
    known.piece().await;
    let mut watching = Vec::new();
    for _ in 0..OF_CONNECTION {
        let watch = Call::begin(&channel, OPEN[1], None);
        watch.send(framed(&HealthCheckRequest::default())).await;
        let mut watch = watch.ended().await;
        watch.piece().await;
        watching.push(watch);
    }
    let mut health = HealthClient::new(channel.clone());
    within("an answer", health.check(HealthCheckRequest::default())).await.expect("healthy");
    let oldest = watching.remove(0).status().await;
    assert_eq!(oldest.code(), Code::ResourceExhausted, "{oldest}");
    // What was begun and not sent gives way as well.
    for _ in 0..3 * OF_CONNECTION {
        let unfinished = Call::begin(&channel, OPEN[0], None);
        unfinished.send(announced(100).to_vec()).await;
        drop(unfinished);
        within("an answer", health.check(HealthCheckRequest::default())).await.expect("healthy");
    }
    let refusals = app.stats().await["refusals"]["stranger_calls"].as_u64();
    assert!(refusals.is_some_and(|count| count > 0), "{refusals:?}");
    drop(known);
}

// credential, method and right are judged before a byte of a message has come
#[tokio::test]
async fn who_may_not_is_told_before_a_message_comes() {
    let app = guarded().await;
    let channel = app.channel().await;
    let subscriber = mint(json!({ "sub": "ana" }));
    let admin = mint(json!({ "sub": "root", "admin": true }));
    let service = |method: &str| format!("exposia.notifications.v1.NotificationService/{method}");
    let cases = [
        ("Publish", None, Code::Unauthenticated),
        ("NoSuchMethod", None, Code::Unauthenticated),
        ("Publish", Some("wrong"), Code::Unauthenticated),
        ("Subscribe", Some("wrong"), Code::Unauthenticated),
        ("Publish", Some(&subscriber), Code::PermissionDenied),
        ("PublishStream", Some(&subscriber), Code::PermissionDenied),
        ("ExplainRoute", Some(&subscriber), Code::PermissionDenied),
        ("GetStats", Some(&subscriber), Code::PermissionDenied),
        ("RevokeUser", Some(&subscriber), Code::PermissionDenied),
        ("Disconnect", Some(&subscriber), Code::PermissionDenied),
        ("PublishStream", Some(&admin), Code::PermissionDenied),
        ("NoSuchMethod", Some(&subscriber), Code::Unimplemented),
    ];
    for (method, token, code) in cases {
        let status = Call::begin(&channel, &service(method), token).status().await;
        assert_eq!(status.code(), code, "{method}: {status}");
    }
    let status = Call::begin(&channel, "no.such.Service/Method", None).status().await;
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    // Whoever may is waited for.
    let publisher = mint(json!({ "sub": "php", "publish": ["*"] }));
    let call = Call::begin(&channel, PUBLISH, Some(&publisher));
    call.send(framed(&event("e"))).await;
    assert_eq!(call.end().await.code(), Code::Ok);
    let call = Call::begin(&channel, PUBLISH_STREAM, Some(&publisher));
    call.send(framed(&event("e"))).await;
    assert_eq!(call.end().await.code(), Code::Ok);
}

/// Sends an event to `path`, and gives the answer.
async fn send(channel: &Channel, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let request = Request::builder().method(method).uri(format!("http://x/{path}")).header("te", "trailers");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = Body::new(http_body_util::Full::new(framed(&event("e")).into()));
    let answering = channel.clone().oneshot(request.body(body).expect("a request"));
    within("an answer", answering).await.expect("an answer")
}

// the protocol of gRPC over HTTP/2: a call is a POST of application/grpc, and its metadata has the credential
#[tokio::test]
async fn what_is_no_call_is_refused_and_its_token_counts_in_the_metadata_only() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let (kind, bearer) = (("content-type", "application/grpc"), ("authorization", "Bearer dev"));
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let response = send(&channel, method.clone(), PUBLISH, &[kind, bearer]).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"POST".parse().expect("text")),
            "{method}"
        );
    }
    for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/grpcs", ""] {
        let response = send(&channel, Method::POST, PUBLISH, &[("content-type", kind), bearer]).await;
        assert_eq!(response.status(), 415, "{kind}");
    }
    assert_eq!(send(&channel, Method::POST, PUBLISH, &[bearer]).await.status(), 415);
    let query = format!("{PUBLISH}?token=dev");
    for (path, header) in [(PUBLISH, ("x-token", "dev")), (&query, ("accept", "*/*"))] {
        let response = send(&channel, Method::POST, path, &[kind, header]).await;
        let status = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(status.code(), Code::Unauthenticated, "{path}: {header:?}");
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
    for kind in ["application/grpc", "application/grpc+proto"] {
        let response = send(&channel, Method::POST, PUBLISH, &[("content-type", kind), bearer]).await;
        assert_eq!(response.status(), 200, "{kind}");
        assert!(Status::from_header_map(response.headers()).is_none_or(|status| status.code() == Code::Ok), "{kind}");
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 2);
}

// who begins many calls and takes nothing of their answers cannot be ended call by call: its connection is closed
#[tokio::test]
async fn whoever_takes_nothing_without_a_credential_is_hung_up_on() {
    const MAY_STAY: usize = 262;
    let app = TestApp::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", app.grpc_address())).expect("an address");
    let channel = within("a connection", endpoint.initial_stream_window_size(0).connect()).await.expect("it listens");
    let symbol = MessageRequest::FileContainingSymbol("exposia.notifications.v1.NotificationService".to_owned());
    let request = ServerReflectionRequest { message_request: Some(symbol), ..Default::default() };
    let ask = || async {
        let call = Call::begin(&channel, OPEN[2], None);
        call.send(framed(&request)).await;
        call
    };
    let oldest = ask().await.answer().await;
    let mut unread = Vec::new();
    for _ in 0..MAY_STAY {
        unread.push(ask().await.answer().await);
    }
    let one_too_many = join_all((0..10).map(|_| ask())).await;
    let closed = oldest.status().await;
    assert_ne!(closed.code(), Code::ResourceExhausted, "nothing can be said to it: {closed}");
    let mut health = HealthClient::new(app.channel().await);
    within("an answer", health.check(HealthCheckRequest::default())).await.expect("healthy");
    drop((unread, one_too_many));
}
