//! The service on an engine that it does not know: one file, and the line that hands it over. What the embedded engines never do,
//! this one does, and every subscriber is told.

mod moody;

use std::sync::{Arc, atomic::Ordering};

use exposia_notifications::wire::proto::v1;
use moody::Moody;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{Answer, Client, TOKEN, TestApp, timeless, within};

/// The service on an engine of this test.
async fn start() -> (TestApp, Arc<Moody>) {
    let engine = Moody::new();
    (TestApp::start_on(Arc::clone(&engine) as _).await, engine)
}

fn everyone() -> Value {
    json!({ "everyone": true })
}

async fn publish(app: &TestApp, count: usize) {
    for _ in 0..count {
        app.publish_to(everyone(), "e", json!({})).await;
    }
}

/// Where a client stands that has seen all up to `seq` of the journal as it is now.
async fn resume(app: &TestApp, ana: &Client, seq: u64) -> Client {
    let epoch = ana.established["epoch"].as_str().expect("an epoch").to_owned();
    app.connect(&format!("ana?since={seq}&epoch={epoch}")).await
}

#[tokio::test]
async fn the_service_runs_on_an_engine_that_is_handed_to_it() {
    let (app, _engine) = start().await;
    let mut ana = app.connect("ana").await;
    let mut luis = app.connect("luis").await;
    let published = app.publish_to(everyone(), "e", json!({})).await;
    let heard = ana.next_of_type("system_notification").await;
    assert_eq!((&heard["seq"], &heard["id"]), (&json!(1), &published["id"]));
    luis.send(json!({ "type": "chat_message", "message": "hola" })).await;
    assert_eq!(ana.next_of_type("chat_message").await["message"], "hola");
    let stats = app.stats().await;
    assert_eq!(stats["total_notifications_sent"], 1);
    let ended = app.begin_shutdown();
    within("the end of the service", ended).await.expect("no panic").expect("no failure");
}

#[tokio::test]
async fn what_did_not_come_by_the_tail_is_read_from_the_journal() {
    let (app, engine) = start().await;
    let mut ana = app.connect("ana").await;
    publish(&app, 2).await;
    assert_eq!(ana.next_seqs(2).await, [1, 2]);
    engine.swallow();
    publish(&app, 3).await;
    engine.fall_behind().await;
    publish(&app, 1).await;
    assert_eq!(ana.next_seqs(4).await, [3, 4, 5, 6]);
}

#[tokio::test]
async fn what_turns_out_to_be_lost_is_told_to_whoever_began_before_it() {
    let (app, engine) = start().await;
    let mut ana = app.connect("ana").await;
    publish(&app, 3).await;
    assert_eq!(ana.next_seqs(3).await, [1, 2, 3]);
    let mut late = app.connect("late").await;
    ana.next_of_type("user_joined").await;
    engine.lose(2..=3).await;
    assert_eq!(ana.next().await, json!({ "type": "gap", "from": 2, "to": 3 }));
    publish(&app, 1).await;
    assert_eq!(ana.next_seqs(1).await, [4]);
    assert_eq!(late.next_seqs(1).await, [4], "it began behind what is lost");
    let mut again = resume(&app, &ana, 1).await;
    assert_eq!(again.established["recovered"], true);
    assert_eq!(again.next().await, json!({ "type": "gap", "from": 2, "to": 3 }));
    assert_eq!(again.next_seqs(1).await, [4]);
}

#[tokio::test]
async fn a_stream_ends_where_something_is_lost_and_goes_on_behind_what_it_got() {
    let (app, engine) = start().await;
    let mut grpc = app.grpc().await;
    let request = v1::SubscribeRequest { everything: true, ..Default::default() };
    let response = grpc.subscribe(request.clone()).await.expect("a stream");
    let epoch = response.metadata().get("x-epoch").expect("an epoch").to_str().expect("text").to_owned();
    let mut stream = response.into_inner();
    publish(&app, 3).await;
    for seq in 1..=3 {
        let notification = within("a notification", stream.message()).await.expect("it goes on").expect("an item");
        assert_eq!(notification.sequence, seq);
    }
    engine.lose(2..=2).await;
    let status = within("the end", stream.message()).await.expect_err("it ends");
    assert_eq!(status.code(), Code::DataLoss, "{status}");
    let details = status.get_error_details();
    let metadata = &details.error_info().expect("an ErrorInfo").metadata;
    assert_eq!((metadata["from"].as_str(), metadata["to"].as_str()), ("2", "3"), "nothing comes twice behind it");
    publish(&app, 1).await;
    let since = Some(v1::Position { sequence: 3, epoch });
    let mut stream = grpc.subscribe(v1::SubscribeRequest { since, ..request }).await.expect("a stream").into_inner();
    let next = within("a notification", stream.message()).await.expect("it goes on").expect("an item");
    assert_eq!(next.sequence, 4);
}

#[tokio::test]
async fn a_journal_that_began_anew_sends_everybody_away_to_find_that_out() {
    let (app, engine) = start().await;
    let mut grpc = app.grpc().await;
    let request = v1::SubscribeRequest { everything: true, ..Default::default() };
    let mut stream = grpc.subscribe(request).await.expect("a stream").into_inner();
    let mut ana = app.connect("ana").await;
    publish(&app, 2).await;
    assert_eq!(ana.next_seqs(2).await, [1, 2]);
    for _ in 0..2 {
        within("a notification", stream.message()).await.expect("it goes on").expect("an item");
    }
    engine.begin_anew().await;
    let reconnect = ana.next().await;
    let (seq, epoch) = (&reconnect["seq"], &reconnect["epoch"]);
    assert_eq!((&reconnect["type"], seq, epoch), (&json!("reconnect"), &json!(2), &ana.established["epoch"]));
    assert!(reconnect["after_ms"].is_u64());
    assert_eq!(ana.close_code().await, 1001);
    let status = within("the end", stream.message()).await.expect_err("it ends");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    publish(&app, 3).await;
    let mut again = resume(&app, &ana, 2).await;
    assert_eq!(again.established["recovered"], false);
    assert_ne!(again.established["epoch"], ana.established["epoch"]);
    publish(&app, 1).await;
    assert_eq!(again.next_seqs(1).await, [4]);
}

#[tokio::test]
async fn who_sends_a_chat_that_cannot_be_relayed_is_told() {
    let (app, engine) = start().await;
    let (mut ana, mut luis) = (app.connect("ana").await, app.connect("luis").await);
    ana.next_of_type("user_joined").await;
    engine.refuses.store(true, Ordering::Relaxed);
    let answer = timeless(ana.ask(json!({ "type": "chat_message", "message": "hola" })).await);
    let message = "El mensaje no se ha podido enviar; inténtalo de nuevo más tarde";
    assert_eq!(answer, json!({ "type": "error", "message": message }));
    let passing = json!({ "event": "e", "payload": {}, "target": everyone(), "durability": "ephemeral" });
    app.notify(passing.to_string()).await.refused(503);
    engine.refuses.store(false, Ordering::Relaxed);
    ana.send(json!({ "type": "chat_message", "message": "otra vez" })).await;
    assert_eq!(luis.next().await["message"], "otra vez");
}

#[tokio::test]
async fn what_may_have_been_kept_is_said_to_be_unknown() {
    let (app, engine) = start().await;
    engine.forgets_to_answer.store(true, Ordering::Relaxed);
    let publish = async || {
        let request = app.request(Method::POST, "/notify").bearer_auth(TOKEN).header("idempotency-key", "k");
        let body = json!({ "event": "e", "payload": {}, "target": everyone() }).to_string();
        Answer::to(request.header(CONTENT_TYPE, "application/json").body(body)).await
    };
    let answer = publish().await;
    assert!(!answer.header("retry-after").is_empty());
    assert!(answer.refused(503).to_string().contains("a retry with the same idempotency key is safe"));
    engine.forgets_to_answer.store(false, Ordering::Relaxed);
    let again = publish().await.json();
    assert_eq!((&again["sequence"], &again["duplicate"]), (&json!(1), &json!(true)));
}
