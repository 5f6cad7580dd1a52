//! The law of delivery: a connection receives the notifications of its audiences in order, each once, whoever publishes
//! however much at the same time, and however often it comes and goes.

use std::{collections::BTreeMap, num::NonZeroUsize};

use exposia_notifications::wire::proto::v1::{PublishRequest, SubscribeRequest, Target, publish_result::Outcome};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::support::{Client, GrpcClient, TestApp, publish_over_grpc, within};

/// The targets that publishers take turns with, each with whether `ana` and `luz` are meant.
fn targets() -> Vec<(Target, bool, bool)> {
    let target = |users: &[&str], rooms: &[&str], everyone| Target {
        users: users.iter().map(ToString::to_string).collect(),
        rooms: rooms.iter().map(ToString::to_string).collect(),
        everyone,
    };
    vec![
        (target(&[], &[], true), true, true),
        (target(&["7"], &[], false), true, false),
        (target(&[], &["a"], false), true, false),
        (target(&[], &["b"], false), true, true),
        (target(&["7"], &["a", "b"], false), true, true),
        (target(&["7", "8"], &["a"], true), true, true),
        (target(&["9"], &["c"], false), false, false),
    ]
}

/// Publishes `count` events over one stream, asserts that their places are in the order in which they were sent, and gives
/// which target each place has.
async fn publish_by_grpc(mut grpc: GrpcClient, count: usize) -> BTreeMap<u64, usize> {
    let targets = targets();
    let choice = |number: usize| number % targets.len();
    let requests: Vec<_> = (0..count)
        .map(|number| PublishRequest {
            event: "e".into(),
            target: Some(targets[choice(number)].0.clone()),
            ..Default::default()
        })
        .collect();
    let results = grpc.publish_stream(stream::iter(requests)).await.expect("a stream").into_inner();
    let places = results.map(|result| {
        let result = result.expect("the stream goes on");
        let Some(Outcome::Accepted(accepted)) = result.outcome else { panic!("refused: {result:?}") };
        (accepted.sequence, choice(result.index as usize))
    });
    let places: Vec<_> = places.collect().await;
    assert!(places.is_sorted_by(|(earlier, _), (later, _)| earlier < later), "what a stream sends is not overtaken");
    places.into_iter().collect()
}

/// Publishes `count` events one by one, and gives which target each place has.
async fn publish_by_rest(publisher: reqwest::RequestBuilder, count: usize) -> BTreeMap<u64, usize> {
    let targets = targets();
    let mut places = BTreeMap::new();
    for number in 0..count {
        let choice = number % targets.len();
        let (Target { users, rooms, everyone }, ..) = &targets[choice];
        let target = json!({"users": users, "rooms": rooms, "everyone": everyone});
        let body = json!({"event": "e", "payload": {}, "target": target}).to_string();
        let request = publisher.try_clone().expect("no stream").bearer_auth("dev").body(body);
        let answer = crate::support::Answer::to(request).await;
        places.insert(answer.json()["sequence"].as_u64().expect("accepted"), choice);
    }
    places
}

/// Lets several publishers publish at the same time, and asserts that each subscriber receives what is for it.
async fn assert_order_and_once(send_queue_bytes: usize) {
    let send_queue_bytes = NonZeroUsize::new(send_queue_bytes).expect("not zero");
    let app = TestApp::start_with(|config| config.egress.send_queue_bytes = send_queue_bytes).await;
    let mut ana = app.connect("ana?user_id=7&room=a&rooms=b").await;
    let mut luz = app.connect("luz?user_id=8&room=b").await;
    ana.next_of_type("user_joined").await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let service = app.grpc().await.subscribe(everything).await.expect("a stream").into_inner();

    let mut publishing = JoinSet::new();
    for _ in 0..3 {
        publishing.spawn(publish_by_grpc(app.grpc().await, 1_000));
        publishing.spawn(publish_by_rest(app.request(reqwest::Method::POST, "/notify"), 200));
    }
    let places: BTreeMap<u64, usize> =
        within("the end of the publishers", publishing.join_all()).await.into_iter().flatten().collect();
    assert_eq!(places.keys().copied().collect::<Vec<_>>(), (1..=3_600).collect::<Vec<_>>());

    let targets = targets();
    let due = |is_meant: fn(&(Target, bool, bool)) -> bool| -> Vec<u64> {
        places.iter().filter(|(_, choice)| is_meant(&targets[**choice])).map(|(place, _)| *place).collect()
    };
    let (for_ana, for_luz) = (due(|target| target.1), due(|target| target.2));
    assert_eq!(ana.next_seqs(for_ana.len()).await, for_ana);
    assert_eq!(luz.next_seqs(for_luz.len()).await, for_luz);
    let marker = app.mark().await;
    ana.expect_nothing_before(marker).await;
    luz.expect_nothing_before(marker).await;
    let received = service.take(3_601).map(|notification| notification.expect("a notification").sequence);
    let received: Vec<u64> = within("everything", received.collect()).await;
    assert_eq!(received, (1..=marker).collect::<Vec<_>>());
}

// architecture, law 2: in order and once, over several audiences, under concurrent publishers
#[tokio::test(flavor = "multi_thread")]
async fn each_notification_comes_once_and_in_order() {
    assert_order_and_once(256 * 1024).await;
}

// architecture, laws 2 and 3: the same for subscribers that always lag
#[tokio::test(flavor = "multi_thread")]
async fn each_notification_comes_once_and_in_order_to_those_who_lag() {
    assert_order_and_once(1).await;
}

// wire-contract, gRPC: a connection that is in two of the audiences receives a notification once
#[tokio::test]
async fn a_notification_to_several_audiences_comes_once() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?user_id=7&room=a&rooms=b").await;
    let target = json!({"users": ["7", "8"], "rooms": ["a", "b", "c"], "everyone": true});
    let answer = app.publish_to(target, "e", json!({})).await;
    assert_eq!(answer["receivers"], 1);
    ana.expect_nothing_before(answer["sequence"].as_u64().expect("a place")).await;
    ana.expect_nothing_before(app.mark().await).await;
}

/// Reads `count` notifications, all of which must come right after `last`, and gives the last of them.
async fn read_on(client: &mut Client, last: u64, count: usize) -> u64 {
    let seqs = client.next_seqs(count).await;
    let expected: Vec<u64> = (last + 1..).take(count).collect();
    assert_eq!(seqs, expected);
    last + count as u64
}

// architecture, law 4: subscribe first, then read the journal, then drop what both gave
#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_and_goes_under_load_gets_exactly_what_was_missed() {
    const COUNT: u64 = 20_000;
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?user_id=7").await;
    let epoch = ana.established["epoch"].as_str().expect("an epoch").to_owned();
    let mut grpc = app.grpc().await;
    let (has_resumed, resumed) = oneshot::channel::<()>();
    let mut has_resumed = Some(has_resumed);
    let mut publishing = JoinSet::new();
    publishing.spawn(async move {
        let to = |number: u64| match number % 3 {
            0 => Target { users: vec!["7".into()], ..Default::default() },
            1 => Target { rooms: vec!["general".into()], ..Default::default() },
            _ => Target { everyone: true, rooms: vec!["general".into()], users: vec!["7".into()] },
        };
        let request =
            move |number: u64| PublishRequest { event: "e".into(), target: Some(to(number)), ..Default::default() };
        // However fast the load is, there is more of it when somebody has resumed for the first time.
        let rest = stream::once(resumed).flat_map(move |_| stream::iter((COUNT / 2..COUNT).map(request)));
        let requests = stream::iter((0..COUNT / 2).map(request)).chain(rest);
        let results = grpc.publish_stream(requests).await.expect("a stream").into_inner();
        results.map(|result| result.expect("the stream goes on")).count().await
    });
    let mut last = 0;
    let mut resumed_under_load = 0;
    while last < COUNT {
        let due = usize::try_from(COUNT - last).expect("a number");
        last = read_on(&mut ana, last, due.min(400)).await;
        drop(ana);
        ana = app.connect(&format!("ana?user_id=7&since={last}&epoch={epoch}")).await;
        assert_eq!(ana.established["recovered"], true);
        let live_from = ana.established["seq"].as_u64().expect("a place");
        assert_eq!(ana.established["replayed"], live_from - last);
        resumed_under_load += u32::from(live_from < COUNT);
        drop(has_resumed.take());
    }
    assert!(resumed_under_load > 0, "the load was over too soon, so nothing was tested");
    assert_eq!(publishing.join_all().await, [usize::try_from(COUNT).expect("a number")]);
    ana.expect_nothing_before(app.mark().await).await;
}

// architecture, law 4, for those who come for the first time: from the position that they are told on, nothing is missing
#[tokio::test(flavor = "multi_thread")]
async fn whoever_connects_under_load_gets_everything_from_then_on() {
    let app = TestApp::start().await;
    let everyone = Target { everyone: true, ..Default::default() };
    let event = PublishRequest { event: "e".into(), target: Some(everyone), ..Default::default() };
    let (progress, _) = mpsc::channel(1);
    // Without an end: they are stopped when everyone has connected. Each waits for its answers, so that clients can keep up.
    let mut publishing = JoinSet::new();
    for _ in 0..4 {
        publishing.spawn(publish_over_grpc(app.grpc().await, event.clone(), progress.clone()));
    }
    for number in 0..200 {
        let mut client = app.connect(&format!("client-{number}?room={number}")).await;
        let live_from = client.established["seq"].as_u64().expect("a place");
        read_on(&mut client, live_from, 20).await;
    }
    publishing.shutdown().await;
}

// README, limits: a client that lags is listened to, also when that has no end
#[tokio::test(flavor = "multi_thread")]
async fn whoever_lags_for_as_long_as_the_load_lasts_is_listened_to() {
    let app = TestApp::start_with(|config| config.egress.send_queue_bytes = NonZeroUsize::MIN).await;
    let target = Target { everyone: true, ..Default::default() };
    let event = PublishRequest { event: "e".into(), target: Some(target), ..Default::default() };
    let mut publishing = JoinSet::new();
    for _ in 0..4 {
        let (mut grpc, events) = (app.grpc().await, stream::repeat(event.clone()));
        publishing.spawn(async move {
            let results = grpc.publish_stream(events).await.expect("a stream").into_inner();
            results.for_each(|result| async { drop(result.expect("the stream goes on")) }).await;
        });
    }
    // It hears the answer to a ping before it is connected.
    let mut ana = app.connect("ana").await;
    ana.settle().await;
    ana.send_message(Message::Close(Some(CloseFrame { code: 1000.into(), reason: "".into() }))).await;
    assert_eq!(ana.close_code().await, 1000);
    ana.ends().await;
    publishing.shutdown().await;
}
