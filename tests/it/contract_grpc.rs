//! The gRPC part of the wire contract.

use std::{num::NonZeroUsize, time::Duration};

use exposia_notifications::{
    app::App,
    config::Config,
    journal::Engine,
    wire::proto::v1::{
        self, PublishRequest, PublishResult, SubscribeRequest, Target,
        notification_service_client::NotificationServiceClient, publish_request::Body, publish_result::Outcome,
    },
};
use futures_util::{StreamExt, stream};
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use super::support::{GrpcClient, TestApp, assert_recent, within};

const SERVICE: &str = "exposia.notifications.v1.NotificationService";

fn event(name: &str) -> PublishRequest {
    PublishRequest { event: name.into(), ..Default::default() }
}

/// An event with the text of a JSON object.
fn with_json(name: &str, payload: &str) -> PublishRequest {
    PublishRequest { body: Some(Body::PayloadJson(payload.to_owned().into())), ..event(name) }
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn structure(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, kind)| (name.to_owned(), value(kind))).collect() }
}

fn with_struct(name: &str, payload: Struct) -> PublishRequest {
    PublishRequest { body: Some(Body::Payload(payload)), ..event(name) }
}

fn rooms(names: &[&str]) -> Target {
    Target { rooms: names.iter().map(ToString::to_string).collect(), ..Default::default() }
}

/// The fields that a status says are wrong.
fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

async fn publish(grpc: &mut GrpcClient, request: PublishRequest) -> v1::PublishResponse {
    within("an answer", grpc.publish(request)).await.expect("accepted").into_inner()
}

/// What is the same in two notifications with the same content.
fn content(notification: &str) -> &str {
    notification.split_once(r#","timestamp":"#).expect("a timestamp").0
}

// wire-contract, gRPC: `Publish` answers `id`, `sequence`, `receivers`
#[tokio::test]
async fn publish_answers_and_delivers() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut grpc = app.grpc().await;
    let answer = publish(&mut grpc, with_json("metrica.creada", r#"{"a":1}"#)).await;
    assert_eq!((answer.sequence, answer.receivers, answer.duplicate), (1, 1, false));
    let notification = ana.next().await;
    assert_eq!((&notification["id"], &notification["seq"]), (&json!(answer.id), &json!(1)));
    assert_eq!((&notification["payload"], &notification["source"]), (&json!({"a": 1}), &json!("unknown")));
    assert_recent(&notification["timestamp"]);
    publish(&mut grpc, event("sin.cuerpo")).await;
    assert_eq!(ana.next().await["payload"], json!({}));
}

// wire-contract, gRPC: a `Struct` number 123 is `123`; what a subscriber receives is byte for byte what `POST /notify` with the
// same content gives
#[tokio::test]
async fn a_struct_arrives_as_the_same_json_does() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut grpc = app.grpc().await;
    let list = ListValue { values: vec![value(Kind::NullValue(0)), value(Kind::BoolValue(true))] };
    let payload = structure([
        ("entero", Kind::NumberValue(123.0)),
        ("fraccion", Kind::NumberValue(1.5)),
        ("grande", Kind::NumberValue(9_007_199_254_740_991.0)),
        ("lista", Kind::ListValue(list)),
        ("negativo", Kind::NumberValue(-7.0)),
        ("objeto", Kind::StructValue(structure([("ñ", Kind::StringValue("áé \"漢字\" 😀\n".into()))]))),
        ("texto", Kind::StringValue("123".into())),
    ]);
    let json = concat!(
        r#"{"entero":123,"fraccion":1.5,"grande":9007199254740991,"lista":[null,true],"negativo":-7,"#,
        r#""objeto":{"ñ":"áé \"漢字\" 😀\n"},"texto":"123"}"#
    );
    publish(&mut grpc, with_struct("e", payload)).await;
    publish(&mut grpc, with_json("e", json)).await;
    assert_eq!(app.notify(format!(r#"{{"event":"e","payload":{json}}}"#)).await.status, 200);
    let (from_struct, from_json, from_rest) = (ana.next_text().await, ana.next_text().await, ana.next_text().await);
    assert!(content(&from_struct).ends_with(json), "{from_struct}");
    assert_eq!(content(&from_struct), content(&from_rest));
    assert_eq!(content(&from_json), content(&from_rest));
}

// wire-contract, gRPC: `payload_json` arrives as it was written
#[tokio::test]
async fn payload_json_arrives_byte_for_byte() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut grpc = app.grpc().await;
    for payload in [r#"{"z":1.50,"a":123456789012345678901234567890,"a":-0}"#, "{ \"\\u00f1\" : null }\n"] {
        publish(&mut grpc, with_json("e", payload)).await;
        let text = ana.next_text().await;
        assert!(content(&text).ends_with(payload), "{text}");
    }
}

// wire-contract, gRPC: `source`, `timestamp` and `target` of a `PublishRequest`
#[tokio::test]
async fn source_timestamp_and_target_are_honoured() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?room=a&user_id=7").await;
    let mut luz = app.connect("luz?room=b").await;
    let mut grpc = app.grpc().await;
    let request = PublishRequest {
        source: "presentaciones-php".into(),
        timestamp: Some(Timestamp { seconds: 1_736_418_600, nanos: 500_000_000 }),
        target: Some(Target { users: vec!["7".into()], ..rooms(&["a", "c"]) }),
        ..event("presentacion.creada")
    };
    assert_eq!(publish(&mut grpc, request).await.receivers, 1);
    let notification = ana.next().await;
    assert_eq!(notification["source"], "presentaciones-php");
    assert_eq!(notification["timestamp"], "2025-01-09T10:30:00.500Z");
    let marker = app.mark().await;
    ana.expect_nothing_before(marker).await;
    luz.expect_nothing_before(marker).await;
}

// wire-contract, gRPC: INVALID_ARGUMENT for an empty event or bad JSON; BadRequest names the field
#[tokio::test]
async fn a_bad_request_names_its_field() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let nobody = Some(Target::default());
    let hollow = Struct { fields: [("a".to_owned(), Value { kind: None })].into() };
    let cases = [
        (event(""), "event"),
        (event(&"x".repeat(257)), "event"),
        (PublishRequest { source: "x".repeat(257), ..event("e") }, "source"),
        (PublishRequest { idempotency_key: "x".repeat(257), ..event("e") }, "idempotency_key"),
        (PublishRequest { timestamp: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..event("e") }, "timestamp"),
        (PublishRequest { timestamp: Some(Timestamp { seconds: 0, nanos: -1 }), ..event("e") }, "timestamp"),
        (with_json("e", ""), "payload_json"),
        (with_json("e", "hola"), "payload_json"),
        (with_json("e", "[]"), "payload_json"),
        (with_json("e", r#"{"a":NaN}"#), "payload_json"),
        (with_json("e", r#"{"a":1e400}"#), "payload_json"),
        (with_json("e", r#"{"a":"\ud800"}"#), "payload_json"),
        (with_json("e", &format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200))), "payload_json"),
        (
            PublishRequest { body: Some(Body::PayloadJson(b"{\"a\":\"\xff\"}".to_vec().into())), ..event("e") },
            "payload_json",
        ),
        (with_struct("e", structure([("a", Kind::NumberValue(f64::NAN))])), "payload"),
        (with_struct("e", structure([("a", Kind::NumberValue(f64::INFINITY))])), "payload"),
        (with_struct("e", hollow), "payload"),
        (PublishRequest { target: nobody, ..event("e") }, "target"),
        (PublishRequest { target: Some(rooms(&[""])), ..event("e") }, "target"),
        (PublishRequest { target: Some(rooms(&["x"; 101])), ..event("e") }, "target"),
        (with_json("metrica.creada", &json!({"temaId": "x".repeat(200)}).to_string()), "payload_json"),
        (with_struct("metrica.creada", structure([("temaId", Kind::StringValue("x".repeat(200)))])), "payload"),
    ];
    for (request, field) in cases {
        let refused = grpc.publish(request.clone()).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument, "{request:?}: {refused}");
        assert_eq!(fields(&refused), [field], "{request:?}");
        assert!(!refused.message().is_empty());
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
}

/// A structure with this many levels.
fn deep(levels: usize) -> Struct {
    (1..levels).fold(Struct::default(), |inner, _| structure([("a", Kind::StructValue(inner))]))
}

// deep nesting gets a clear answer, never an internal error
#[tokio::test]
async fn a_struct_that_is_too_deep_is_an_invalid_argument() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    publish(&mut grpc, with_struct("e", deep(20))).await;
    let refused = grpc.publish(with_struct("e", deep(200))).await.expect_err("too deep");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

// wire-contract, gRPC: UNAUTHENTICATED without `authorization: Bearer <token>`
#[tokio::test]
async fn every_call_needs_the_token() {
    let app = TestApp::start().await;
    let mut anonymous = NotificationServiceClient::new(app.channel().await);
    let mut wrong = NotificationServiceClient::with_interceptor(app.channel().await, |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", "Bearer wrong".parse().expect("a value"));
        Ok(request)
    });
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let refusals = [
        anonymous.publish(event("e")).await.map(drop),
        anonymous.publish_stream(stream::iter([event("e")])).await.map(drop),
        anonymous.subscribe(everything.clone()).await.map(drop),
        anonymous.get_history(v1::GetHistoryRequest::default()).await.map(drop),
        anonymous.get_stats(v1::GetStatsRequest::default()).await.map(drop),
        anonymous.explain_route(v1::ExplainRouteRequest { event: "e".into(), ..Default::default() }).await.map(drop),
        wrong.publish(event("e")).await.map(drop),
        wrong.publish_stream(stream::iter([event("e")])).await.map(drop),
        wrong.subscribe(everything).await.map(drop),
    ];
    for (call, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(refusal.expect_err("no token").code(), Code::Unauthenticated, "call {call}");
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
}

// wire-contract, gRPC: RESOURCE_EXHAUSTED for too large; the default limit is 1 MiB
#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let of_size = |size: usize| with_json("e", &format!(r#"{{"a":"{}"}}"#, "x".repeat(size)));
    publish(&mut grpc, of_size(1024 * 1024 - 64)).await;
    for size in [1024 * 1024, 3 * 1024 * 1024, 6 * 1024 * 1024] {
        let refused = grpc.publish(of_size(size)).await.expect_err("too large");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{size}: {refused}");
    }
    publish(&mut grpc, event("e")).await;
}

// `idempotency_key` in gRPC, also against `POST /notify`
#[tokio::test]
async fn a_retry_under_its_key_is_answered_and_not_delivered() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut grpc = app.grpc().await;
    let keyed = |payload| PublishRequest { idempotency_key: "k".into(), ..with_json("e", payload) };
    let first = publish(&mut grpc, keyed("{}")).await;
    let retry = publish(&mut grpc, keyed("{}")).await;
    assert_ne!(first.durability(), v1::Durability::Unspecified);
    assert_eq!(retry, v1::PublishResponse { receivers: 0, duplicate: true, ..first.clone() });
    let conflict = grpc.publish(keyed(r#"{"a":1}"#)).await.expect_err("another content");
    assert_eq!(conflict.code(), Code::AlreadyExists);
    let rest = app.request(reqwest::Method::POST, "/notify").bearer_auth("dev").header("idempotency-key", "k");
    let rest = crate::support::Answer::to(rest.body(r#"{"event":"e","payload":{}}"#)).await.json();
    assert_eq!((&rest["id"], &rest["duplicate"]), (&json!(first.id), &json!(true)));
    assert_eq!(ana.next_seqs(1).await, [first.sequence]);
    ana.expect_nothing_before(app.mark().await).await;
}

/// Sends the requests over one stream, all of them before it reads an answer, and gives the results.
async fn publish_all(grpc: &mut GrpcClient, requests: Vec<PublishRequest>) -> Vec<PublishResult> {
    let publishing = async {
        let results = grpc.publish_stream(stream::iter(requests)).await.expect("a stream").into_inner();
        results.map(|result| result.expect("the stream goes on")).collect().await
    };
    within("the end of the stream", publishing).await
}

fn accepted(result: &PublishResult) -> &v1::PublishResponse {
    match &result.outcome {
        Some(Outcome::Accepted(accepted)) => accepted,
        outcome => panic!("{}: {outcome:?}", result.index),
    }
}

fn rejected(result: &PublishResult) -> Code {
    match &result.outcome {
        Some(Outcome::Rejected(rejection)) => {
            assert!(!rejection.message.is_empty());
            Code::from(rejection.code)
        }
        outcome => panic!("{}: {outcome:?}", result.index),
    }
}

// wire-contract, gRPC: `PublishStream`: one result for each request, in order; pipelined
#[tokio::test]
async fn thousands_may_be_under_way_before_the_first_answer() {
    const COUNT: usize = 5_000;
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let (requests, queue) = mpsc::channel(COUNT);
    let mut grpc = app.grpc().await;
    let mut results = grpc.publish_stream(ReceiverStream::new(queue)).await.expect("a stream").into_inner();
    for number in 0..COUNT {
        requests.try_send(with_json("e", &json!({ "n": number }).to_string())).expect("room");
    }
    for index in 0..COUNT {
        let result = within("a result", results.message()).await.expect("the stream goes on").expect("a result");
        assert_eq!((result.index, accepted(&result).sequence), (index as u64, index as u64 + 1));
    }
    // The stream is still open: an answer does not wait for its end.
    requests.send(event("e")).await.expect("the stream is open");
    let last = within("a result", results.message()).await.expect("the stream goes on").expect("a result");
    assert_eq!(last.index, COUNT as u64);
    drop(requests);
    assert!(within("the end", results.message()).await.expect("a good end").is_none());
    assert_eq!(ana.next_seqs(COUNT + 1).await, (1..=COUNT as u64 + 1).collect::<Vec<_>>());
}

// wire-contract, gRPC: in `PublishStream` a bad message is rejected by itself; the stream and the others go on
#[tokio::test]
async fn a_bad_message_of_a_stream_is_rejected_by_itself() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut grpc = app.grpc().await;
    let too_large = with_json("e", &format!(r#"{{"a":"{}"}}"#, "x".repeat(2 * 1024 * 1024)));
    let keyed = |payload| PublishRequest { idempotency_key: "k".into(), ..with_json("e", payload) };
    let requests = vec![
        event("e"),
        event(""),
        with_json("e", "hola"),
        event("e"),
        too_large,
        PublishRequest { target: Some(Target::default()), ..event("e") },
        with_json("e", &json!({"temaId": "x".repeat(200)}).to_string()),
        keyed("{}"),
        keyed("{}"),
        keyed(r#"{"a":1}"#),
        event("e"),
    ];
    let results = publish_all(&mut grpc, requests).await;
    assert_eq!(results.iter().map(|result| result.index).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
    let sequences = [0, 3, 7, 8, 10].map(|index| accepted(&results[index]).sequence);
    assert_eq!(sequences, [1, 2, 3, 3, 4]);
    assert_eq!([7, 8].map(|index| accepted(&results[index]).duplicate), [false, true]);
    for index in [1, 2, 5, 6] {
        assert_eq!(rejected(&results[index]), Code::InvalidArgument, "{index}");
    }
    assert_eq!(rejected(&results[4]), Code::ResourceExhausted);
    assert_eq!(rejected(&results[9]), Code::AlreadyExists);
    assert_eq!(ana.next_seqs(4).await, [1, 2, 3, 4]);
}

// wire-contract, gRPC: in `PublishStream` a bad message is rejected by itself, also one that cannot be decoded
#[tokio::test]
async fn a_struct_of_a_stream_that_is_too_deep_to_be_read_is_rejected_with_what_is_wrong() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let results = publish_all(&mut grpc, vec![event("e"), with_struct("e", deep(200)), event("e")]).await;
    assert_eq!([0, 2].map(|index| accepted(&results[index]).sequence), [1, 2]);
    assert_eq!(rejected(&results[1]), Code::InvalidArgument);
}

// wire-contract, gRPC: RESOURCE_EXHAUSTED for too large: also where a stream ends over it
#[tokio::test]
async fn a_stream_with_a_message_far_over_the_limit_says_so() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let far_too_large = with_json("e", &format!(r#"{{"a":"{}"}}"#, "x".repeat(6 * 1024 * 1024)));
    let mut results =
        grpc.publish_stream(stream::iter([event("e"), far_too_large])).await.expect("a stream").into_inner();
    let first = within("a result", results.message()).await.expect("the first one is good").expect("a result");
    assert_eq!(accepted(&first).sequence, 1);
    match within("a result", results.message()).await {
        Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        Ok(result) => assert_eq!(rejected(&result.expect("a result")), Code::ResourceExhausted),
    }
}

// idempotency holds within one stream
#[tokio::test]
async fn duplicates_within_a_stream_are_delivered_once() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut grpc = app.grpc().await;
    let requests = (0..600).map(|n| PublishRequest { idempotency_key: format!("k{}", n % 3), ..event("e") }).collect();
    let results = publish_all(&mut grpc, requests).await;
    for result in &results {
        let (answer, n) = (accepted(result), result.index);
        assert_eq!((answer.sequence, answer.duplicate), (n % 3 + 1, n >= 3), "{n}");
        let first = accepted(&results[(n % 3) as usize]);
        assert_eq!((&answer.id, answer.durability), (&first.id, first.durability), "{n}");
        assert_ne!(answer.durability(), v1::Durability::Unspecified);
    }
    assert_eq!(ana.next_seqs(3).await, [1, 2, 3]);
    ana.expect_nothing_before(app.mark().await).await;
}

/// The next notification of a subscription.
async fn next(notifications: &mut Streaming<v1::Notification>) -> v1::Notification {
    within("a notification", notifications.message()).await.expect("the stream goes on").expect("a notification")
}

async fn next_sequences(notifications: &mut Streaming<v1::Notification>, count: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    for _ in 0..count {
        sequences.push(next(notifications).await.sequence);
    }
    sequences
}

async fn publish_to(grpc: &mut GrpcClient, target: Target) -> u64 {
    publish(grpc, PublishRequest { target: Some(target), ..event("e") }).await.sequence
}

fn everyone() -> Target {
    Target { everyone: true, ..Default::default() }
}

fn users(names: &[&str]) -> Target {
    Target { users: names.iter().map(ToString::to_string).collect(), ..Default::default() }
}

// wire-contract, gRPC: `Subscribe`, by rooms, users, or everything
#[tokio::test]
async fn services_follow_rooms_users_or_everything() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let request = |rooms: &[&str], users: &[&str], everything| SubscribeRequest {
        rooms: rooms.iter().map(ToString::to_string).collect(),
        users: users.iter().map(ToString::to_string).collect(),
        everything,
        since: None,
    };
    let mut of_rooms = grpc.subscribe(request(&["a", "b"], &[], false)).await.expect("a stream").into_inner();
    let mut of_users = grpc.subscribe(request(&[], &["7"], false)).await.expect("a stream").into_inner();
    let mut of_all = grpc.subscribe(request(&[], &[], true)).await.expect("a stream").into_inner();
    let targets = [
        rooms(&["a"]),
        users(&["7"]),
        rooms(&["c"]),
        everyone(),
        Target { users: vec!["7".into()], ..rooms(&["a", "b"]) },
    ];
    for target in targets {
        publish_to(&mut grpc, target).await;
    }
    assert_eq!(next_sequences(&mut of_rooms, 3).await, [1, 4, 5]);
    assert_eq!(next_sequences(&mut of_users, 3).await, [2, 4, 5]);
    assert_eq!(next_sequences(&mut of_all, 5).await, [1, 2, 3, 4, 5]);
    let marker = app.mark().await;
    for subscription in [&mut of_rooms, &mut of_users, &mut of_all] {
        assert_eq!(next(subscription).await.sequence, marker);
    }
}

// wire-contract, gRPC: what a `Subscribe` stream carries
#[tokio::test]
async fn a_subscriber_gets_the_notification_as_it_was_published() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut stream = grpc.subscribe(everything).await.expect("a stream").into_inner();
    let text =
        r#"{"event":"e","payload":{"z":1.50,"a":null},"source":"yo","timestamp":"ayer","target":{"rooms":["a"]}}"#;
    let answer = app.notify(text).await.json();
    let notification = next(&mut stream).await;
    let expected = v1::Notification {
        id: answer["id"].as_str().expect("an id").into(),
        sequence: 1,
        epoch: notification.epoch.clone(),
        event: "e".into(),
        payload_json: r#"{"z":1.50,"a":null}"#.into(),
        timestamp: "ayer".into(),
        source: "yo".into(),
        audience: Some(rooms(&["a"])),
    };
    assert_eq!(notification, expected);
    assert!(!notification.epoch.is_empty());
}

/// Subscribes to everything from a position on.
async fn since(grpc: &mut GrpcClient, sequence: u64, epoch: &str) -> Result<Streaming<v1::Notification>, Status> {
    let since = v1::Position { sequence, epoch: epoch.into() };
    let request = SubscribeRequest { everything: true, since: Some(since), ..Default::default() };
    grpc.subscribe(request).await.map(tonic::Response::into_inner)
}

// wire-contract, gRPC: `Subscribe` resumes: what was missed comes first; OUT_OF_RANGE when it is gone
#[tokio::test]
async fn a_subscriber_resumes_from_its_position() {
    let app = TestApp::start_with(|config| config.journal.max_entries = NonZeroUsize::new(5).expect("five")).await;
    let mut grpc = app.grpc().await;
    for _ in 0..8 {
        app.mark().await;
    }
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let response = grpc.subscribe(everything).await.expect("a stream");
    assert_eq!(response.metadata().get("x-sequence").expect("a header"), "8");
    let epoch = response.metadata().get("x-epoch").expect("a header").to_str().expect("text").to_owned();

    let mut stream = since(&mut grpc, 3, &epoch).await.expect("4 to 8 are kept");
    app.mark().await;
    assert_eq!(next_sequences(&mut stream, 6).await, [4, 5, 6, 7, 8, 9]);
    // 5 to 9 are kept now.
    for (sequence, epoch) in [(3, epoch.as_str()), (0, &epoch), (100, &epoch), (8, "other"), (8, "")] {
        let refused = since(&mut grpc, sequence, epoch).await.expect_err("gone, or never there");
        assert_eq!(refused.code(), Code::OutOfRange, "{sequence} {epoch}");
        assert_eq!(fields(&refused), ["since"], "{sequence} {epoch}");
        assert_eq!(refused.get_details_error_info().is_some(), sequence < 4, "{sequence} {epoch}");
    }
}

// proto, Subscribe: one that comes too late for the journal is told where it can go on
#[tokio::test]
async fn a_subscriber_that_is_too_late_goes_on_behind_what_is_gone() {
    let app = TestApp::start_with(|config| config.journal.max_entries = NonZeroUsize::new(5).expect("five")).await;
    let mut grpc = app.grpc().await;
    for _ in 0..8 {
        app.mark().await;
    }
    let epoch = app.connect("ana").await.established["epoch"].as_str().expect("an epoch").to_owned();
    let refused = since(&mut grpc, 1, &epoch).await.expect_err("2 and 3 are gone");
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!((refused.code(), info.reason.as_str()), (Code::OutOfRange, "TOO_OLD"));
    let place = |name: &str| info.metadata[name].parse::<u64>().expect("a place");
    assert_eq!((place("from"), place("to"), place("oldest")), (2, 3, 4));
    let mut stream = since(&mut grpc, place("to"), &epoch).await.expect("it goes on");
    assert_eq!(next_sequences(&mut stream, 5).await, [4, 5, 6, 7, 8]);
}

// wire-contract, gRPC: a `Subscribe` without anything to follow is INVALID_ARGUMENT
#[tokio::test]
async fn a_subscription_names_what_it_follows() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let refused = grpc.subscribe(SubscribeRequest::default()).await.expect_err("nothing to follow");
    assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec!["rooms".to_owned()]));
    for (rooms, users, field) in [(vec![String::new()], vec![], "rooms"), (vec![], vec!["a\nb".to_owned()], "users")] {
        let request = SubscribeRequest { rooms, users, ..Default::default() };
        let refused = grpc.subscribe(request).await.expect_err("a bad name");
        assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

// a lagging subscriber is filled from the journal
#[tokio::test]
async fn a_slow_subscriber_gets_everything() {
    let app = TestApp::start_with(|config| config.egress.send_queue_bytes = NonZeroUsize::MIN).await;
    let mut grpc = app.grpc().await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut stream = grpc.subscribe(everything).await.expect("a stream").into_inner();
    let filler = json!({ "filler": "x".repeat(4096) }).to_string();
    let results = publish_all(&mut grpc, vec![with_json("e", &filler); 3_000]).await;
    assert_eq!(results.len(), 3_000);
    assert_eq!(next_sequences(&mut stream, 3_000).await, (1..=3_000).collect::<Vec<_>>());
}

// proto, Subscribe: before what the journal no longer holds a stream ends with DATA_LOSS, and it says how to go on
#[tokio::test]
async fn a_subscriber_too_slow_for_the_journal_is_told_so() {
    let app = TestApp::start_with(|config| {
        config.egress.send_queue_bytes = NonZeroUsize::MIN;
        config.journal.max_entries = NonZeroUsize::new(10).expect("ten");
    })
    .await;
    let mut grpc = app.grpc().await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut stream = grpc.subscribe(everything).await.expect("a stream").into_inner();
    let filler = json!({ "filler": "x".repeat(4096) }).to_string();
    publish_all(&mut grpc, vec![with_json("e", &filler); 3_000]).await;
    let mut last = 0;
    let end = loop {
        match within("a notification", stream.message()).await {
            Ok(notification) => {
                let sequence = notification.expect("the stream does not end well").sequence;
                assert_eq!(sequence, last + 1);
                last = sequence;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::DataLoss);
    let details = end.get_error_details();
    let gap = details.error_info().expect("an ErrorInfo");
    assert_eq!((gap.reason.as_str(), &gap.metadata["from"]), ("GAP", &(last + 1).to_string()));
    let to: u64 = gap.metadata["to"].parse().expect("a number");
    assert!((last + 1..3_000).contains(&to), "{to}");
}

async fn history(grpc: &mut GrpcClient, request: v1::GetHistoryRequest) -> v1::GetHistoryResponse {
    within("a page", grpc.get_history(request)).await.expect("a page").into_inner()
}

/// The sequences of all pages, with how many pages there were.
async fn pages(grpc: &mut GrpcClient, mut request: v1::GetHistoryRequest) -> (Vec<u64>, usize) {
    let (mut sequences, mut count) = (Vec::new(), 0);
    loop {
        let page = history(grpc, request.clone()).await;
        count += 1;
        sequences.extend(page.notifications.iter().map(|notification| notification.sequence));
        if !page.has_more {
            return (sequences, count);
        }
        match request.newest_first {
            true => request.before_sequence = page.next_sequence,
            false => request.after_sequence = page.next_sequence,
        }
    }
}

// `GetHistory`, paged, by audience and position, forwards and backwards
#[tokio::test]
async fn history_is_read_page_by_page() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    assert_eq!(history(&mut grpc, v1::GetHistoryRequest::default()).await.newest_sequence, 0);
    for number in 1..=10_u64 {
        let target = if number.is_multiple_of(2) { rooms(&["par"]) } else { users(&["impar"]) };
        publish_to(&mut grpc, target).await;
    }
    let by = |request: v1::GetHistoryRequest| v1::GetHistoryRequest { page_size: 3, ..request };
    let all: Vec<u64> = (1..=10).collect();
    assert_eq!(pages(&mut grpc, by(v1::GetHistoryRequest::default())).await, (all.clone(), 4));
    let backwards = by(v1::GetHistoryRequest { newest_first: true, ..Default::default() });
    assert_eq!(pages(&mut grpc, backwards).await, (all.iter().rev().copied().collect(), 4));
    let even = by(v1::GetHistoryRequest { audience: Some(rooms(&["par", "otra"])), ..Default::default() });
    assert_eq!(pages(&mut grpc, even).await, (vec![2, 4, 6, 8, 10], 2));
    let odd = v1::GetHistoryRequest { audience: Some(users(&["impar"])), newest_first: true, ..Default::default() };
    assert_eq!(pages(&mut grpc, odd).await, (vec![9, 7, 5, 3, 1], 1));
    let between = v1::GetHistoryRequest { after_sequence: 3, before_sequence: 8, ..Default::default() };
    assert_eq!(pages(&mut grpc, by(between)).await, (vec![4, 5, 6, 7], 2));
    let empty_target = v1::GetHistoryRequest { audience: Some(Target::default()), ..Default::default() };
    assert_eq!(pages(&mut grpc, empty_target).await.0, all);
    let nobody = v1::GetHistoryRequest { audience: Some(rooms(&["nadie"])), ..Default::default() };
    assert_eq!(pages(&mut grpc, nobody).await, (vec![], 1));
}

// `GetHistory` from a time on; what a time means is in the journal's suite
#[tokio::test]
async fn history_is_read_from_a_time_on() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    publish_to(&mut grpc, users(&["ana"])).await;
    let from = |seconds, nanos| v1::GetHistoryRequest {
        since_time: Some(prost_types::Timestamp { seconds, nanos }),
        ..Default::default()
    };
    assert_eq!(history(&mut grpc, from(1_000_000_000, 0)).await.notifications.len(), 1);
    assert_eq!(history(&mut grpc, from(100_000_000_000, 0)).await.notifications.len(), 0);
    let refused = grpc.get_history(from(0, -1)).await;
    assert_eq!(fields(&refused.expect_err("no time")), ["since_time"]);
}

// proto, GetHistory: the bounds of the journal, the page size, the form of a notification
#[tokio::test]
async fn a_page_says_what_the_journal_holds() {
    let app = TestApp::start_with(|config| config.journal.max_entries = NonZeroUsize::new(5).expect("five")).await;
    let mut grpc = app.grpc().await;
    for _ in 0..8 {
        publish(&mut grpc, with_json("e", r#"{"a":1.50}"#)).await;
    }
    let page = history(&mut grpc, v1::GetHistoryRequest::default()).await;
    assert_eq!((page.oldest_sequence, page.newest_sequence, page.has_more), (4, 8, false));
    assert_eq!(page.notifications.len(), 5);
    assert_eq!(page.notifications[0].payload_json, r#"{"a":1.50}"#);
    assert_eq!(page.notifications[0].epoch, page.epoch);
    let refused = grpc.get_history(v1::GetHistoryRequest { page_size: 1_001, ..Default::default() }).await;
    assert_eq!(fields(&refused.expect_err("too many")), ["page_size"]);
}

// wire-contract, gRPC: `GetStats`
#[tokio::test]
async fn stats_are_those_of_the_http_endpoint() {
    let app = TestApp::start().await;
    let _ana = app.connect("ana?user_id=7&room=a&rooms=b").await;
    app.mark().await;
    let stats = app.grpc().await.get_stats(v1::GetStatsRequest::default()).await.expect("an answer").into_inner();
    assert_eq!((stats.total_connections, stats.total_notifications_sent), (1, 1));
    assert_eq!((stats.oldest_sequence, stats.newest_sequence), (1, 1));
    assert_eq!(stats.rooms, [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
    let client = &stats.clients[0];
    assert_eq!((client.client_id.as_str(), client.user_id.as_str(), client.room.as_str()), ("ana", "7", "a"));
    assert_eq!(client.rooms, ["a", "b"]);
    assert!(client.connected_at.is_some());
}

// wire-contract, gRPC: the standard service `grpc.health.v1.Health`; not serving while draining
#[tokio::test]
async fn health_is_serving_and_then_not() {
    let app = TestApp::start().await;
    let mut health = HealthClient::new(app.channel().await);
    for service in ["", SERVICE] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.expect("an answer");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "otro".into() }).await.expect_err("no such service");
    assert_eq!(unknown.code(), Code::NotFound);

    let mut changes =
        health.watch(HealthCheckRequest { service: SERVICE.into() }).await.expect("a stream").into_inner();
    let first = within("a status", changes.message()).await.expect("a status").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    let running = app.begin_shutdown();
    let second = within("a status", changes.message()).await.expect("a status").expect("a status");
    assert_eq!(second.status(), ServingStatus::NotServing);
    drop((changes, health));
    within("the end", running).await.expect("no panic").expect("no failure");
}

// serving only once every listener is up: who asks earlier waits for the answer
#[tokio::test]
async fn who_asks_before_it_runs_hears_that_it_serves() {
    let mut config = Config::defaults();
    config.listen.host = "127.0.0.1".into();
    (config.listen.port, config.listen.grpc_port) = (0, 0);
    config.journal.engine = Engine::Memory;
    let app = App::build(config).await.expect("the ports are free");
    let stream = tokio::net::TcpStream::connect(app.http_address()).await.expect("the listener is bound");
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", app.grpc_address()));
    let channel = endpoint.expect("an address").connect_lazy();
    let check = tokio::spawn(async move { HealthClient::new(channel).check(HealthCheckRequest::default()).await });
    let (stop, asked) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(Box::pin(app.run(async { drop(asked.await) })));
    let answer = within("an answer", check).await.expect("no panic").expect("an answer");
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    drop((stop, stream));
    within("the end", running).await.expect("no panic").expect("no failure");
}

// wire-contract, gRPC: server reflection (v1 and v1alpha) is on
#[tokio::test]
async fn reflection_v1_describes_the_service() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let app = TestApp::start().await;
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol(SERVICE.into())];
    let mut client = ServerReflectionClient::new(app.channel().await);
    let answers = client.server_reflection_info(stream::iter(requests.map(ask))).await.expect("a stream").into_inner();
    let answers: Vec<_> =
        answers.map(|answer| answer.expect("an answer").message_response.expect("a message")).collect().await;
    let [MessageResponse::ListServicesResponse(list), MessageResponse::FileDescriptorResponse(files)] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&SERVICE), "{names:?}");
    assert!(!files.file_descriptor_proto.is_empty());
}

// wire-contract, gRPC: server reflection (v1 and v1alpha) is on
#[tokio::test]
async fn reflection_v1alpha_describes_the_service() {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let app = TestApp::start().await;
    let request = MessageRequest::FileContainingSymbol(SERVICE.into());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(app.channel().await);
    let mut answers = client.server_reflection_info(stream::iter([request])).await.expect("a stream").into_inner();
    let answer = within("an answer", answers.message()).await.expect("an answer").expect("an answer");
    assert!(matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
}

// a per-call deadline is honoured
#[tokio::test]
async fn a_stream_ends_at_its_deadline() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let mut request = Request::new(SubscribeRequest { everything: true, ..Default::default() });
    request.set_timeout(Duration::from_millis(300));
    let mut stream = grpc.subscribe(request).await.expect("a stream").into_inner();
    let end = within("the deadline", stream.message()).await.expect_err("the deadline");
    assert_eq!(end.code(), Code::DeadlineExceeded);

    let (requests, queue) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(queue));
    request.set_timeout(Duration::from_millis(300));
    let mut results = grpc.publish_stream(request).await.expect("a stream").into_inner();
    requests.send(event("e")).await.expect("the stream is open");
    let first = within("a result", results.message()).await.expect("in time").expect("a result");
    assert_eq!(accepted(&first).sequence, 1);
    let end = within("the deadline", results.message()).await.expect_err("the deadline");
    assert_eq!(end.code(), Code::DeadlineExceeded);
}

// wire-contract, gRPC: RESOURCE_EXHAUSTED when too fast, with a retry hint
#[tokio::test]
async fn a_full_queue_asks_to_come_back() {
    let app = TestApp::start_with(|config| {
        // A publish may not wait at all, and a large event takes the whole queue.
        config.broker.publish_timeout = Duration::ZERO;
        config.broker.publish_queue = NonZeroUsize::MIN;
        config.broker.publish_queue_bytes = NonZeroUsize::MIN;
    })
    .await;
    let grpc = app.grpc().await;
    let publishing = (0..200).map(|_| {
        let mut grpc = grpc.clone();
        async move { grpc.publish(event("e")).await }
    });
    let answers = within("the answers", futures_util::future::join_all(publishing)).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty(), "the queue never was full, so nothing was tested");
    for refusal in refused {
        assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
        assert!(refusal.get_error_details().retry_info().is_some(), "{refusal:?}");
    }
}

// wire-contract, gRPC: UNAVAILABLE while shutting down, with a retry hint
#[tokio::test]
async fn a_stream_is_told_that_the_server_goes_away() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut notifications = grpc.subscribe(everything).await.expect("a stream").into_inner();
    let (requests, queue) = mpsc::channel(1);
    let mut results = grpc.publish_stream(ReceiverStream::new(queue)).await.expect("a stream").into_inner();
    requests.send(event("e")).await.expect("the stream is open");
    let first = within("a result", results.message()).await.expect("the stream goes on").expect("a result");
    assert_eq!(accepted(&first).sequence, 1);
    assert_eq!(next(&mut notifications).await.sequence, 1);

    let running = app.begin_shutdown();
    for end in [
        within("the end", notifications.message()).await.map(drop).expect_err("the end"),
        within("the end", results.message()).await.map(drop).expect_err("the end"),
    ] {
        assert_eq!(end.code(), Code::Unavailable, "{end}");
        assert!(end.get_error_details().retry_info().is_some_and(|info| info.retry_delay.is_some()), "{end:?}");
    }
    drop((requests, grpc));
    within("the end", running).await.expect("no panic").expect("no failure");
}
