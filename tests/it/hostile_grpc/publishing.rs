//! A stream that publishes ends with the right to publish.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use exposia_notifications::{
    clock::Manual,
    wire::proto::v1::{GetStatsRequest, PublishRequest, PublishResult, RevokeUserRequest, publish_result::Outcome},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{PUBLISH_STREAM, event};
use crate::{
    gate::{guarded, guarded_by, mint},
    support::{Call, TOKEN, TestApp, eventually, within},
};

/// A stream that publishes, and has published one event.
struct Publishing {
    requests: mpsc::Sender<PublishRequest>,
    results: Streaming<PublishResult>,
}

impl Publishing {
    async fn begin(app: &TestApp, token: &str) -> Self {
        let (requests, queue) = mpsc::channel(10);
        let opening = async { app.grpc_with(Some(token)).await.publish_stream(ReceiverStream::new(queue)).await };
        let results = within("a stream", opening).await.expect("let in").into_inner();
        let mut publishing = Self { requests, results };
        publishing.send().await;
        assert!(matches!(publishing.next().await.expect("a result").outcome, Some(Outcome::Accepted(_))));
        publishing
    }

    async fn send(&self) {
        // Whether it was taken, the results tell.
        let _ = within("sending", self.requests.send(event("e"))).await;
    }

    async fn next(&mut self) -> Result<PublishResult, Status> {
        within("a result", self.results.message()).await.map(|result| result.expect("the stream does not end well"))
    }
}

fn publisher(claims: &Value) -> String {
    let mut all = json!({ "sub": "php", "publish": ["*"] });
    all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
    mint(all)
}

async fn revoke(app: &TestApp, request: RevokeUserRequest) {
    app.grpc_with(Some(TOKEN)).await.revoke_user(request).await.expect("done");
}

fn of_user() -> RevokeUserRequest {
    RevokeUserRequest { user_id: "php".to_owned(), ..Default::default() }
}

/// How much was published.
async fn count(app: &TestApp) -> u64 {
    let stats = app.grpc_with(Some(TOKEN)).await.get_stats(GetStatsRequest::default()).await.expect("statistics");
    stats.into_inner().total_notifications_sent
}

// `RevokeUser`: streams with UNAUTHENTICATED, at once; nothing more is accepted, and another's stream goes on
#[tokio::test]
async fn a_stream_of_a_revoked_publisher_ends_at_once() {
    let app = guarded().await;
    let mut kept = Publishing::begin(&app, &publisher(&json!({ "sub": "java" }))).await;
    let of_token = RevokeUserRequest { token_id: "lost".to_owned(), ..Default::default() };
    for request in [of_token, of_user()] {
        let mut publishing = Publishing::begin(&app, &publisher(&json!({ "jti": request.token_id }))).await;
        let before = count(&app).await;
        revoke(&app, request).await;
        let ended = publishing.next().await.expect_err("ended");
        assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
        publishing.send().await;
        assert_eq!(count(&app).await, before);
    }
    kept.send().await;
    assert_eq!(kept.next().await.expect("goes on").index, 1);
}

// what was accepted before is told first, also to a client that did not read meanwhile, and what comes after is not accepted
#[tokio::test]
async fn the_results_of_what_was_accepted_come_before_the_end() {
    const MANY: u64 = 100;
    let app = guarded().await;
    let mut publishing = Publishing::begin(&app, &publisher(&json!({}))).await;
    for _ in 0..MANY {
        publishing.send().await;
    }
    let accepted = async || (count(&app).await == MANY + 1).then_some(());
    eventually("all are accepted", accepted).await;
    revoke(&app, of_user()).await;
    publishing.send().await;
    for index in 1..=MANY {
        let result = publishing.next().await.expect("a result");
        assert!(result.index == index && matches!(result.outcome, Some(Outcome::Accepted(_))), "{result:?}");
    }
    let ended = publishing.next().await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert_eq!(count(&app).await, MANY + 1);
}

// each event is judged by the time at which it is read
#[tokio::test]
async fn a_token_that_expires_publishes_no_more() {
    let clock = Arc::new(Manual::new(Utc::now()));
    let app = guarded_by(Arc::clone(&clock) as _, |_| {}).await;
    let mut publishing = Publishing::begin(&app, &publisher(&json!({}))).await;
    clock.step(TimeDelta::hours(2));
    publishing.send().await;
    let ended = publishing.next().await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert_eq!(count(&app).await, 1);
}

// a stream ends with its token although nothing comes: here one that is over, and believed for the sake of clocks that differ
#[tokio::test]
async fn a_silent_stream_ends_with_its_token() {
    let app = guarded().await;
    let token = publisher(&json!({ "exp": Utc::now().timestamp() - 1 }));
    let channel = app.channel().await;
    let status = Call::begin(&channel, PUBLISH_STREAM, Some(&token)).status().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

// a stream whose client neither sends nor reads ends at its deadline
#[tokio::test]
async fn a_silent_stream_ends_at_its_deadline() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let call = Call::begin_with(&channel, PUBLISH_STREAM, Some(TOKEN), &[("grpc-timeout", "50m")]);
    assert_eq!(call.status().await.code(), Code::DeadlineExceeded);
}
