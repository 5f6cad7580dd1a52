//! How fast a credential may publish, by the settings and by its claim.

use std::time::Duration;

use exposia_notifications::wire::proto::v1::{PublishRequest, publish_result::Outcome};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use super::{once, publish, retry_after};
use crate::{
    gate::{guarded, guarded_with, mint},
    support::{Answer, TOKEN, TestApp},
};

/// A server on which a credential may publish twice an hour.
async fn twice() -> TestApp {
    guarded_with(|config| config.gate.publish_rate = "2/h".parse().expect("a rate")).await
}

fn publisher(claims: Value) -> String {
    let mut all = json!({ "sub": "php", "publish": ["*"] });
    let Value::Object(claims) = claims else { panic!("not an object: {claims}") };
    all.as_object_mut().expect("an object").extend(claims);
    mint(all)
}

fn event(name: &str) -> PublishRequest {
    PublishRequest { event: name.to_owned(), ..Default::default() }
}

// REST says what is left with each answer; above the rate 429 with `Retry-After` and a `{detail}`, and nothing is published
#[tokio::test]
async fn rest_answers_429_above_the_rate() {
    let app = twice().await;
    for left in [1, 0] {
        let answer = publish(&app, TOKEN, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), r#""publish";q=2;w=3600"#);
        assert_eq!(answer.header("ratelimit"), format!(r#""publish";r={left}"#));
    }
    let answer = publish(&app, TOKEN, &[]).await;
    assert_eq!(answer.refused(429), "token-1 may publish at most 2 in 3600s; try again later");
    let seconds = retry_after(&answer);
    assert!(seconds <= 1_800);
    assert_eq!(answer.header("ratelimit-policy"), r#""publish";q=2;w=3600"#);
    assert_eq!(answer.header("ratelimit"), format!(r#""publish";r=0;t={seconds}"#));
    let stats = Answer::to(app.request(reqwest::Method::GET, "/stats").bearer_auth(TOKEN)).await.json();
    assert_eq!((&stats["total_notifications_sent"], &stats["refusals"]["publish_rate"]), (&json!(2), &json!(1)));
}

// gRPC answers RESOURCE_EXHAUSTED with RetryInfo, out of the same bucket
#[tokio::test]
async fn grpc_answers_resource_exhausted_above_the_rate() {
    let app = twice().await;
    let mut client = app.grpc_with(Some(TOKEN)).await;
    client.publish(event("e")).await.expect("the first");
    assert_eq!(publish(&app, TOKEN, &[]).await.status, 200);
    let status = client.publish(event("e")).await.expect_err("the third");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay).expect("a delay");
    assert!(delay > Duration::ZERO && delay <= Duration::from_secs(1_800), "{delay:?}");
}

// a stream goes on: the one request is rejected, in its place, with when to try again
#[tokio::test]
async fn a_stream_rejects_what_is_above_the_rate() {
    let app = twice().await;
    let requests = tokio_stream::iter(["a", "", "b", "c"].map(event));
    let mut client = app.grpc_with(Some(TOKEN)).await;
    let mut results = client.publish_stream(requests).await.expect("a stream").into_inner();
    let mut outcomes = Vec::new();
    while let Some(result) = results.message().await.expect("the stream goes on") {
        assert_eq!(result.index, outcomes.len() as u64);
        outcomes.push(match result.outcome.expect("an outcome") {
            Outcome::Accepted(_) => (Code::Ok, false),
            Outcome::Rejected(rejection) => (Code::from(rejection.code), rejection.retry_after.is_some()),
        });
    }
    let exhausted = (Code::ResourceExhausted, true);
    assert_eq!(outcomes, [(Code::Ok, false), (Code::InvalidArgument, false), exhausted, exhausted]);
}

// credentials do not share; tokens of the same subject do
#[tokio::test]
async fn each_credential_has_its_own_rate() {
    let app = guarded_with(|config| config.gate.publish_rate = once()).await;
    for token in [TOKEN.to_owned(), publisher(json!({})), publisher(json!({ "sub": "java" }))] {
        assert_eq!(publish(&app, &token, &[]).await.status, 200);
        publish(&app, &token, &[]).await.refused(429);
    }
    publish(&app, &publisher(json!({ "jti": "another" })), &[]).await.refused(429);
}

// the claim `rate` goes before the setting, whether it is less or more; one that is no rate makes no token
#[tokio::test]
async fn a_claim_says_how_fast() {
    let app = guarded().await;
    let slow = publisher(json!({ "rate": "1/h" }));
    assert_eq!(publish(&app, &slow, &[]).await.status, 200);
    publish(&app, &slow, &[]).await.refused(429);
    assert_eq!(publish(&app, &publisher(json!({})), &[]).await.header("ratelimit"), "", "without the claim, no limit");
    for rate in [json!("fast"), json!("0/s"), json!(5)] {
        publish(&app, &publisher(json!({ "rate": rate })), &[]).await.refused(401);
    }
    let app = guarded_with(|config| config.gate.publish_rate = once()).await;
    let fast = publisher(json!({ "rate": "50/h" }));
    for left in [49, 48] {
        assert_eq!(publish(&app, &fast, &[]).await.header("ratelimit"), format!(r#""publish";r={left}"#));
    }
}
