//! Wrong tokens: an address that sends too many is not listened to for a while.

use std::time::Duration;

use exposia_notifications::wire::proto::v1::{GetHistoryRequest, GetStatsRequest};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

use super::{once, publish, retry_after};
use crate::{
    gate::{guarded_with, mint},
    support::{Client, TOKEN, open_with},
};

// above the rate 429 with `Retry-After`, RESOURCE_EXHAUSTED with RetryInfo; a right token passes, and whoever sends none is
// served
#[tokio::test]
async fn too_many_wrong_tokens_are_too_many_on_every_transport() {
    let app = guarded_with(|config| config.gate.auth_failure_rate = once()).await;
    publish(&app, "wrong", &[]).await.refused(401);
    let answer = publish(&app, "wrong", &[]).await;
    assert_eq!(answer.refused(429), "too many wrong tokens came from this address; try again later");
    assert!(retry_after(&answer) <= 3_600);
    let status = app.grpc_with(Some("wrong")).await.get_history(GetHistoryRequest::default()).await;
    let status = status.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay).expect("a delay");
    assert!(delay > Duration::from_secs(1) && delay <= Duration::from_secs(3_600), "{delay:?}");
    let handshake = open_with(app.http(), "ana", &[("authorization", "Bearer wrong".to_owned())]).await;
    assert_eq!(handshake.expect_err("refused").status(), 429);
    for token in [TOKEN, &mint(json!({ "sub": "php", "publish": ["*"] }))] {
        assert_eq!(publish(&app, token, &[]).await.status, 200);
        app.grpc_with(Some(token)).await.get_stats(GetStatsRequest::default()).await.expect("let in");
        open_with(app.http(), "ana", &[("authorization", format!("Bearer {token}"))]).await.expect("let in");
    }
    assert_eq!(app.get("/health").await.status, 200);
    app.get("/stats").await.refused(401);
}

// a token that the issuer signed is no guess, and none at all is none
#[tokio::test]
async fn expired_tokens_and_missing_ones_are_no_guesses() {
    let app = guarded_with(|config| config.gate.auth_failure_rate = once()).await;
    let expired = mint(json!({ "sub": "php", "publish": ["*"], "exp": 1_000_000_000 }));
    let malformed = mint(json!({ "sub": "php", "publish": "*" }));
    for _ in 0..3 {
        publish(&app, &expired, &[]).await.refused(401);
        publish(&app, &malformed, &[]).await.refused(401);
        app.get("/stats").await.refused(401);
    }
    assert_eq!(publish(&app, TOKEN, &[]).await.status, 200);
}

// what `refresh` brings is a token like any other
#[tokio::test]
async fn wrong_tokens_on_an_open_connection_count() {
    let app = guarded_with(|config| config.gate.auth_failure_rate = once()).await;
    let token = mint(json!({ "sub": "ana" }));
    let socket = open_with(app.http(), "ana", &[("authorization", format!("Bearer {token}"))]).await.expect("let in");
    let mut ana = Client::over(socket).await;
    for _ in 0..2 {
        assert_eq!(ana.ask(json!({ "type": "refresh", "token": "wrong" })).await["type"], "error");
    }
    publish(&app, "wrong", &[]).await.refused(429);
}

// `off` counts nothing
#[tokio::test]
async fn without_a_rate_nothing_is_counted() {
    let app = guarded_with(|config| config.gate.auth_failure_rate = "off".parse().expect("a limit")).await;
    for _ in 0..3 {
        publish(&app, "wrong", &[]).await.refused(401);
    }
    assert_eq!(publish(&app, TOKEN, &[]).await.status, 200);
}
