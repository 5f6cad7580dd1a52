//! A subscription ends when it must, whether or not its client reads.

use std::{num::NonZeroUsize, time::Duration};

use chrono::Utc;
use exposia_notifications::{
    config::Config,
    wire::proto::v1::{GetHistoryRequest, Position, RevokeUserRequest, SubscribeRequest},
};
use serde_json::{Value, json};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{SUBSCRIBE, large};
use crate::{
    gate::{guarded_with, mint},
    support::{Answering, Call, TOKEN, TestApp, eventually, framed, within},
};

/// A user has one subscription at a time.
async fn start(change: impl FnOnce(&mut Config)) -> TestApp {
    guarded_with(|config| {
        config.gate.max_connections_per_user = NonZeroUsize::MIN;
        change(config);
    })
    .await
}

/// A connection that takes little of an answer that it does not read.
async fn narrow(app: &TestApp) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", app.grpc_address())).expect("an address");
    within("a connection", endpoint.initial_stream_window_size(65_535).connect()).await.expect("the listener is up")
}

fn ana(claims: &Value) -> String {
    let mut all = json!({ "sub": "ana" });
    all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
    mint(all)
}

async fn subscribe(channel: &Channel, token: &str, metadata: &[(&str, &str)]) -> Answering {
    let call = Call::begin_with(channel, SUBSCRIBE, Some(token), metadata);
    let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
    call.send(framed(&request)).await;
    call.ended().await
}

/// Publishes more than a client takes that does not read.
async fn publish_much(app: &TestApp) {
    let mut grpc = app.grpc().await;
    for _ in 0..4 {
        within("an answer", grpc.publish(large(100 * 1024))).await.expect("accepted");
    }
}

/// Waits until the user's place is free.
async fn until_free(app: &TestApp) {
    let later = ana(&json!({ "iat": Utc::now().timestamp() + 2 }));
    eventually("the place is free", async || {
        let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
        app.grpc_with(Some(&later)).await.subscribe(request).await.ok()
    })
    .await;
}

// `RevokeUser`, while nobody reads
#[tokio::test]
async fn a_revoked_subscriber_that_does_not_read_is_out() {
    let app = start(|_| {}).await;
    let channel = narrow(&app).await;
    let unread = subscribe(&channel, &ana(&json!({})), &[]).await;
    publish_much(&app).await;
    let request = RevokeUserRequest { user_id: "ana".to_owned(), ..Default::default() };
    app.grpc_with(Some(TOKEN)).await.revoke_user(request).await.expect("done");
    until_free(&app).await;
    assert_eq!(unread.status().await.code(), Code::Unauthenticated);
}

// SLOW_TIMEOUT: nothing was taken although something waits
#[tokio::test]
async fn a_subscriber_that_does_not_read_is_too_slow() {
    let app = start(|config| config.egress.slow_timeout = Duration::from_millis(100)).await;
    let channel = narrow(&app).await;
    let unread = subscribe(&channel, &ana(&json!({})), &[]).await;
    publish_much(&app).await;
    until_free(&app).await;
    let status = unread.status().await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("SLOW_TIMEOUT"), "{status}");
    // Whoever waits for something is not slow.
    let token = mint(json!({ "sub": "luis" }));
    let mut silent = subscribe(&channel, &token, &[]).await;
    let unread = subscribe(&channel, &ana(&json!({})), &[]).await;
    publish_much(&app).await;
    silent.piece().await;
    drop(unread);
}

// the deadline of the call, while nobody reads
#[tokio::test]
async fn a_subscription_that_nobody_reads_ends_at_its_deadline() {
    let app = start(|_| {}).await;
    let channel = narrow(&app).await;
    let unread = subscribe(&channel, &ana(&json!({})), &[("grpc-timeout", "300m")]).await;
    publish_much(&app).await;
    until_free(&app).await;
    assert_eq!(unread.status().await.code(), Code::DeadlineExceeded);
}

// the end of a token, while nobody reads
#[tokio::test]
async fn a_subscription_that_nobody_reads_ends_with_its_token() {
    let app = start(|_| {}).await;
    publish_much(&app).await;
    let channel = narrow(&app).await;
    let epoch = app.grpc().await.get_history(GetHistoryRequest::default()).await.expect("history").into_inner().epoch;
    let expired = ana(&json!({ "exp": Utc::now().timestamp() + 1 }));
    let call = Call::begin(&channel, SUBSCRIBE, Some(&expired));
    let since = Position { sequence: 0, epoch };
    let request = SubscribeRequest { rooms: vec!["general".to_owned()], since: Some(since), ..Default::default() };
    call.send(framed(&request)).await;
    let unread = call.ended().await;
    until_free(&app).await;
    assert_eq!(unread.status().await.code(), Code::Unauthenticated);
}

// what a subscription that was ended holds is counted, and its connection is closed when nobody takes it
#[tokio::test]
async fn what_nobody_takes_of_a_subscription_that_is_over_is_counted_and_let_go() {
    let app = start(|config| {
        config.gate.unfinished_bytes = NonZeroUsize::new(1024 * 1024).expect("not zero");
        config.egress.slow_timeout = Duration::from_millis(200);
    })
    .await;
    let endpoint = Endpoint::from_shared(format!("http://{}", app.grpc_address())).expect("an address");
    let channel = within("a connection", endpoint.initial_stream_window_size(0).connect()).await.expect("it listens");
    let unread = subscribe(&channel, &ana(&json!({})), &[]).await;
    let mut grpc = app.grpc().await;
    // One is on its way, the other waits.
    for _ in 0..2 {
        within("an answer", grpc.publish(large(400 * 1024))).await.expect("accepted");
    }
    // More than a user may hold is unread, so the place is kept until the connection is closed.
    let status = unread.status().await;
    assert!(!status.message().contains("SLOW_TIMEOUT"), "nothing can be said to it: {status}");
    until_free(&app).await;
}
