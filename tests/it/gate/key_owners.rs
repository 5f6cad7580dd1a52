//! Whose an idempotency key is: what two publishers send under one name is not the same event.

use reqwest::Method;
use serde_json::json;

use super::{guarded, guarded_with, mint};
use crate::support::{Answer, TestApp};

/// Publishes a content under a key and gives the status, and whether it was there already.
async fn publish(app: &TestApp, token: &str, key: &str, content: u8) -> (u16, bool) {
    let request = app.request(Method::POST, "/notify").bearer_auth(token).header("idempotency-key", key);
    let body = json!({ "event": "pedido.creado", "payload": { "content": content } }).to_string();
    let answer = Answer::to(request.body(body)).await;
    (answer.status, answer.status == 200 && answer.json()["duplicate"] == true)
}

const NEW: (u16, bool) = (200, false);
const KNOWN: (u16, bool) = (200, true);
const OTHER: (u16, bool) = (409, false);

// keys belong to issuer and subject, whichever token says so; without a subject, to the issuer
#[tokio::test]
async fn two_subjects_may_use_the_same_key() {
    let app = guarded().await;
    let token = |issuer: Option<&str>, subject: Option<&str>, id: &str| {
        mint(json!({ "iss": issuer, "sub": subject, "jti": id, "publish": ["*"] }))
    };
    let owners = [
        (Some("https://a"), Some("pedidos")),
        (Some("https://a"), Some("pagos")),
        (Some("https://b"), Some("pedidos")),
        (Some("https://a"), None),
        (Some("https://b"), None),
        (None, Some("pedidos")),
    ];
    for (content, (issuer, subject)) in (0..).zip(owners) {
        let outcome = publish(&app, &token(issuer, subject, "first"), "pedido-77", content).await;
        assert_eq!(outcome, NEW, "{issuer:?} {subject:?}");
    }
    for (content, (issuer, subject)) in (0..).zip(owners) {
        let renewed = token(issuer, subject, "renewed");
        assert_eq!(publish(&app, &renewed, "pedido-77", content).await, KNOWN, "{issuer:?} {subject:?}");
        assert_eq!(publish(&app, &renewed, "pedido-77", 99).await, OTHER, "{issuer:?} {subject:?}");
    }
    assert_eq!(publish(&app, "dev", "pedido-77", 99).await, NEW, "the static token is somebody else");
}

// a token that is replaced in the middle of a retry doubles nothing
#[tokio::test]
async fn all_static_tokens_are_one_owner() {
    let app = guarded_with(|config| {
        config.gate.tokens = ["old", "new"].map(|token| token.parse().expect("a secret")).into();
    })
    .await;
    assert_eq!(publish(&app, "old", "k", 1).await, NEW);
    assert_eq!(publish(&app, "new", "k", 1).await, KNOWN);
    assert_eq!(publish(&app, "new", "k", 2).await, OTHER);
}

// a key that goes before its window is over is told by health, which stays healthy
#[tokio::test]
async fn the_life_of_a_key_that_goes_too_early_is_told() {
    let app =
        TestApp::start_with(|config| config.journal.idempotency_max_keys = Some(2.try_into().expect("not 0"))).await;
    let life = async || app.get("/health").await.json()["idempotency_key_life_seconds"].clone();
    let stats = async || {
        let stats =
            app.grpc().await.get_stats(exposia_notifications::wire::proto::v1::GetStatsRequest::default()).await;
        stats.expect("statistics").into_inner().idempotency_key_life
    };
    for key in ["a", "b", "b"] {
        publish(&app, "dev", key, 1).await;
    }
    assert_eq!((life().await, stats().await), (json!(null), None));
    assert_eq!(publish(&app, "dev", "c", 1).await, NEW);
    let health = app.get("/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert!(life().await.as_u64().is_some_and(|seconds| seconds < 3_600), "{health}");
    assert!(stats().await.is_some_and(|life| life.seconds < 3_600));
    assert_eq!(publish(&app, "dev", "b", 1).await, KNOWN);
    assert_eq!(publish(&app, "dev", "a", 1).await, NEW);
}
