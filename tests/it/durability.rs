//! What a publisher may ask for less of: keeping, and time.

use exposia_notifications::{
    journal::Engine,
    wire::proto::v1::{Durability, PublishRequest, SubscribeRequest, Target, publish_request::Body},
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{Answer, TestApp, eventually, timeless, within};

/// Publishes to the room `a` with further fields, and gives the answer.
async fn publish_with(app: &TestApp, fields: Value) -> Value {
    let mut body = json!({"event": "e", "payload": {}, "target": {"rooms": ["a"]}});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let answer = app.notify(body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

// README, Publish: `durability: "ephemeral"` delivers to whoever is connected and keeps nothing: no `seq`, no replay
#[tokio::test]
async fn an_ephemeral_event_reaches_whoever_is_connected_and_is_kept_nowhere() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?room=a&rooms=b&user_id=7").await;
    let epoch = ana.established["epoch"].as_str().expect("an epoch").to_owned();
    let target = json!({"rooms": ["a", "b"], "users": ["7"], "everyone": true});
    let answer = publish_with(&app, json!({"durability": "ephemeral", "target": target})).await;
    assert_eq!((&answer["sequence"], &answer["receivers"]), (&json!(0), &json!(1)));
    assert_eq!(answer["durability"], "ephemeral");
    let notification = timeless(ana.next().await);
    let expected =
        json!({"type": "system_notification", "event": "e", "payload": {}, "source": "unknown", "id": answer["id"]});
    assert_eq!(notification, expected);
    ana.expect_nothing_before(app.mark().await).await;

    let history = app.get("/history").await.json();
    assert_eq!(history["total"], 1, "the marker alone: {history}");
    let mut again = app.connect(&format!("ana?room=a&since=0&epoch={epoch}")).await;
    assert_eq!(again.established["replayed"], 1);
    assert_eq!(again.next().await["event"], "marker");
}

// proto, Subscribe: an EPHEMERAL notification has no sequence
#[tokio::test]
async fn services_receive_ephemeral_events_too() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut stream = grpc.subscribe(everything).await.expect("a stream").into_inner();
    let target = Target { rooms: vec!["a".into()], ..Default::default() };
    let request = PublishRequest {
        event: "e".into(),
        target: Some(target.clone()),
        durability: Durability::Ephemeral.into(),
        ..Default::default()
    };
    let answer = grpc.publish(request).await.expect("accepted").into_inner();
    assert_eq!((answer.sequence, answer.durability()), (0, Durability::Ephemeral));
    let notification = within("a notification", stream.message()).await.expect("a notification").expect("one");
    assert_eq!((notification.sequence, &notification.id), (0, &answer.id));
    assert_eq!((notification.event.as_str(), notification.audience), ("e", Some(target)));
}

// however many are published at once: a stream whose client reads takes them between the batches
#[tokio::test]
async fn a_service_that_reads_gets_every_ephemeral_event_of_a_burst() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut stream = grpc.subscribe(everything).await.expect("a stream").into_inner();
    let request = |number: usize| PublishRequest {
        event: format!("e-{number}"),
        body: Some(Body::PayloadJson(format!(r#"{{"text":"{}"}}"#, "x".repeat(30_000)).into())),
        durability: Durability::Ephemeral.into(),
        ..Default::default()
    };
    let requests = tokio_stream::iter((0..100).map(request).collect::<Vec<_>>());
    let publishing = async {
        let mut results = grpc.publish_stream(requests).await.expect("a stream").into_inner();
        while within("a result", results.message()).await.expect("a result").is_some() {}
    };
    let reading = async {
        for number in 0..100 {
            let notification = within("a notification", stream.message()).await.expect("it goes on").expect("one");
            assert_eq!(notification.event, format!("e-{number}"));
        }
    };
    tokio::join!(publishing, reading);
}

// README, Publish: the answer says what the notification does survive
#[tokio::test]
async fn the_answer_says_what_was_achieved() {
    let app = TestApp::start().await;
    for (wanted, on_disk) in
        [(json!(null), "fsync"), (json!("memory"), "process"), (json!("process"), "process"), (json!("fsync"), "fsync")]
    {
        let answer = publish_with(&app, json!({ "durability": wanted })).await;
        // A journal in memory can do no more.
        let achieved = if TestApp::ENGINE == Engine::Memory { "memory" } else { on_disk };
        assert_eq!(answer["durability"], achieved, "wanted: {wanted}");
    }
}

// README, Publish: `ttl`: later it is neither replayed nor delivered
#[tokio::test]
async fn what_is_of_no_use_any_more_is_not_replayed() {
    let app = TestApp::start().await;
    let ana = app.connect("ana?room=a").await;
    let epoch = ana.established["epoch"].as_str().expect("an epoch").to_owned();
    ana.close().await;
    publish_with(&app, json!({"ttl": 0.05})).await;
    let lasting = publish_with(&app, json!({"ttl": 3600})).await;
    let expired = async || (app.get("/history").await.json()["total"] == 1).then_some(());
    eventually("the first one expires", expired).await;
    let mut ana = app.connect(&format!("ana?room=a&since=0&epoch={epoch}")).await;
    assert_eq!((&ana.established["recovered"], &ana.established["replayed"]), (&json!(true), &json!(1)));
    ana.expect_nothing_before(lasting["sequence"].as_u64().expect("a place")).await;
    ana.expect_nothing_before(app.mark().await).await;
}

// README, Publish: what cannot be is refused, and the field is named
#[tokio::test]
async fn a_bad_durability_or_time_is_refused() {
    let app = TestApp::start().await;
    for (field, wrong) in [
        ("durability", json!("paper")),
        ("durability", json!(1)),
        ("ttl", json!(0)),
        ("ttl", json!(-1)),
        ("ttl", json!("60")),
        ("ttl", json!(1e300)),
    ] {
        let body = json!({"event": "e", "payload": {}, field: wrong});
        assert_eq!(app.notify(body.to_string()).await.refused(422)[0]["loc"], json!(["body", field]), "{body}");
    }
    let keyed = json!({"event": "e", "payload": {}, "durability": "ephemeral"}).to_string();
    let keyed = app.request(Method::POST, "/notify").bearer_auth("dev").header("idempotency-key", "k").body(keyed);
    Answer::to(keyed).await.refused(409);

    let mut grpc = app.grpc().await;
    let ttl = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let event = || PublishRequest { event: "e".into(), ..Default::default() };
    for (request, field) in [
        (PublishRequest { durability: 99, ..event() }, "durability"),
        (PublishRequest { ttl: ttl(0), ..event() }, "ttl"),
        (PublishRequest { ttl: ttl(-1), ..event() }, "ttl"),
        (PublishRequest { ttl: ttl(i64::MAX), ..event() }, "ttl"),
    ] {
        let refused = grpc.publish(request).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_error_details();
        assert_eq!(details.bad_request().expect("a bad request").field_violations[0].field, field);
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
}
