//! The law of delivery where sessions, fan-outs and publishers run on several threads, with many of each. There are as many
//! fan-outs as the machine has processors, whatever the runtime has.

use std::collections::BTreeMap;

use exposia_notifications::wire::proto::v1::{PublishRequest, Target, publish_result::Outcome};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, GrpcClient, Socket, TestApp, eventually, open, publish_over_grpc, within};

macro_rules! on_threads {
    ($($module:ident: $threads:tt),*) => {$(
        mod $module {
            #[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn each_notification_comes_once_and_in_order() {
                super::order_and_once().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn whoever_comes_and_goes_gets_everything() {
                super::resume().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn chats_come_in_order_beside_notifications() {
                super::chats_beside().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn what_was_acknowledged_comes_before_the_end() {
                super::drain().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
            async fn of_those_with_one_client_id_the_last_lives() {
                super::replaced().await;
            }
        }
    )*};
}

on_threads!(on_2_threads: 2, on_8_threads: 8);

/// A service in which nobody is told who comes and goes.
async fn start() -> TestApp {
    TestApp::start_with(|config| config.egress.presence_limit = 0).await
}

/// How many rooms there are.
const ROOMS: usize = 6;

/// Which two rooms the event with a number is for; without, it is for everyone.
fn rooms(number: usize) -> Option<[usize; 2]> {
    let room = number % (ROOMS + 1);
    (room < ROOMS).then_some([room, (room + 1) % ROOMS])
}

fn request(number: usize) -> PublishRequest {
    let rooms = rooms(number);
    let names = rooms.into_iter().flatten().map(|room| format!("r{room}")).collect();
    let target = Target { rooms: names, everyone: rooms.is_none(), ..Target::default() };
    PublishRequest { event: "e".into(), target: Some(target), ..PublishRequest::default() }
}

/// Publishes by one stream, asserts that nothing was refused or overtaken, and gives the number of the event at each place.
async fn publish(mut grpc: GrpcClient, numbers: std::ops::Range<usize>) -> BTreeMap<u64, usize> {
    let begin = numbers.start;
    let results = grpc.publish_stream(stream::iter(numbers.map(request))).await.expect("a stream").into_inner();
    let places = results.map(|result| {
        let result = result.expect("the stream goes on");
        let Some(Outcome::Accepted(accepted)) = &result.outcome else { panic!("refused: {result:?}") };
        (accepted.sequence, begin + result.index as usize)
    });
    let places: Vec<_> = places.collect().await;
    assert!(places.is_sorted(), "what a stream sends is not overtaken");
    places.into_iter().collect()
}

async fn order_and_once() {
    const PUBLISHERS: usize = 6;
    const EACH: usize = 400;
    let app = start().await;
    let mut clients = Vec::new();
    for number in 0..4 * ROOMS {
        clients.push((number % ROOMS, app.connect(&format!("c{number}?room=r{}", number % ROOMS)).await));
    }
    let mut publishing = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishing.spawn(publish(app.grpc().await, publisher * EACH..(publisher + 1) * EACH));
    }
    let places: BTreeMap<u64, usize> =
        within("the end of the publishers", publishing.join_all()).await.into_iter().flatten().collect();
    assert!(places.keys().copied().eq(1..=(PUBLISHERS * EACH) as u64), "each has a place of its own");
    let marker = app.mark().await;
    for (room, client) in &mut clients {
        let is_meant = |number: usize| rooms(number).is_none_or(|rooms| rooms.contains(room));
        let meant: Vec<_> = places.iter().filter(|(_, number)| is_meant(**number)).map(|(seq, _)| *seq).collect();
        assert_eq!(client.next_seqs(meant.len()).await, meant);
        client.expect_nothing_before(marker).await;
    }
}

/// Publishes so many events for everyone.
async fn publish_for_everyone(mut grpc: GrpcClient, count: usize) -> usize {
    let request = request(ROOMS);
    let results = grpc.publish_stream(stream::repeat(request).take(count)).await.expect("a stream").into_inner();
    results.map(|result| result.expect("the stream goes on")).count().await
}

/// Reads up to `end`, and after every `part` notifications goes and comes back. Nothing is missing, and nothing comes twice.
async fn come_and_go(mut client: Client, address: (std::net::SocketAddr, String), part: usize, end: u64) {
    let epoch = client.established["epoch"].as_str().expect("an epoch").to_owned();
    let mut last = client.established["seq"].as_u64().expect("a place");
    while last < end {
        let count = part.min(usize::try_from(end - last).expect("a number"));
        let expected: Vec<_> = (last + 1..).take(count).collect();
        assert_eq!(client.next_seqs(count).await, expected);
        last += count as u64;
        drop(client);
        client = Client::connect(address.0, &format!("{}?since={last}&epoch={epoch}", address.1)).await;
        assert_eq!(client.established["recovered"], true, "{}", client.established);
    }
}

async fn resume() {
    const PUBLISHERS: usize = 3;
    const EACH: usize = 1_000;
    let app = start().await;
    let mut coming = JoinSet::new();
    for number in 0..8 {
        let (name, end) = (format!("c{number}"), (PUBLISHERS * EACH) as u64);
        let client = app.connect(&name).await;
        coming.spawn(come_and_go(client, (app.http(), name), 150 + 17 * number, end));
    }
    let mut publishing = JoinSet::new();
    for _ in 0..PUBLISHERS {
        publishing.spawn(publish_for_everyone(app.grpc().await, EACH));
    }
    assert_eq!(within("the end of the publishers", publishing.join_all()).await, [EACH; PUBLISHERS]);
    coming.join_all().await;
}

/// Says `count` things, hears what `others` say, each in its order, and gives the places of the notifications that came.
async fn chat(mut client: Client, count: usize, others: usize, notifications: usize) -> Vec<u64> {
    for number in 0..count {
        client.send(json!({ "type": "chat_message", "message": number.to_string() })).await;
    }
    let (mut heard, mut seqs) = (BTreeMap::<String, usize>::new(), Vec::new());
    while heard.values().sum::<usize>() < others * count || seqs.len() < notifications {
        let message = client.next().await;
        if message["type"] == "chat_message" {
            let next = heard.entry(message["client_id"].as_str().expect("a name").to_owned()).or_default();
            assert_eq!(message["message"], next.to_string(), "{message}");
            *next += 1;
        } else {
            seqs.push(message["seq"].as_u64().unwrap_or_else(|| panic!("no notification: {message}")));
        }
    }
    assert!(heard.len() == others && heard.values().all(|said| *said == count), "{heard:?}");
    seqs
}

async fn chats_beside() {
    const CHATS: usize = 60;
    const CLIENTS: usize = 8;
    const EVENTS: usize = 300;
    let app = start().await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(app.connect(&format!("c{number}?room=plaza")).await);
    }
    let publishing = tokio::spawn(publish_for_everyone(app.grpc().await, EVENTS));
    let mut chatting = JoinSet::new();
    for client in clients {
        chatting.spawn(chat(client, CHATS, CLIENTS - 1, EVENTS));
    }
    for seqs in chatting.join_all().await {
        assert_eq!(seqs, (1..=EVENTS as u64).collect::<Vec<_>>());
    }
    assert_eq!(within("the answers", publishing).await.expect("no panic"), EVENTS);
}

async fn drain() {
    const CLIENTS: usize = 12;
    let app = start().await;
    let mut listening = JoinSet::new();
    for number in 0..CLIENTS {
        listening.spawn(app.connect(&format!("c{number}")).await.listen_to_the_end());
    }
    let (progress, mut published) = mpsc::channel(1);
    let mut publishing = JoinSet::new();
    for _ in 0..4 {
        publishing.spawn(publish_over_grpc(app.grpc().await, request(ROOMS), progress.clone()));
    }
    for _ in 0..200 {
        within("an answer", published.recv()).await.expect("they publish");
    }
    drop(published);
    let running = app.begin_shutdown();
    let accepted = within("the end of the publishers", publishing.join_all()).await.concat();
    let newest = accepted.iter().max().copied().expect("some were accepted");
    for heard in listening.join_all().await {
        // What was on its way when its publisher was let go may have been kept besides.
        assert!(
            heard.len() as u64 >= newest && heard.iter().copied().eq(1..=heard.len() as u64),
            "{newest}: {heard:?}"
        );
    }
    within("the end of the service", running).await.expect("no panic").expect("no failure");
}

/// Reads until it is closed, and asserts that it was replaced and missed nothing while it was there.
async fn until_replaced(mut socket: Socket) {
    let mut last = None;
    loop {
        let message = within("a message", socket.next()).await.expect("a close frame").expect("a frame");
        match message {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                let seq = message["seq"].as_u64().unwrap_or_else(|| panic!("no place: {message}"));
                assert!(last.is_none_or(|last| seq == last + 1), "{last:?}: {message}");
                last = Some(seq);
            }
            Message::Close(frame) => break assert_eq!(u16::from(frame.expect("a code").code), 4001),
            _ => {}
        }
    }
}

async fn replaced() {
    let app = start().await;
    let mut publishing = JoinSet::new();
    let (progress, _) = mpsc::channel(1);
    for _ in 0..4 {
        publishing.spawn(publish_over_grpc(app.grpc().await, request(ROOMS), progress.clone()));
    }
    let (http, mut replaced) = (app.http(), JoinSet::new());
    for _ in 0..20 {
        replaced.spawn(async move {
            let mut socket = open(http, "ana").await.expect("a connection");
            // Its first message or its end: it has taken the place, and the last one comes after it.
            let first = within("a message", socket.next()).await;
            (first, socket)
        });
    }
    let others = within("handshakes", replaced.join_all()).await;
    let last = open(http, "ana").await.expect("a connection");
    let mut ending = JoinSet::new();
    for (first, socket) in others {
        match first.expect("a message").expect("a frame") {
            Message::Text(_) => drop(ending.spawn(until_replaced(socket))),
            Message::Close(frame) => assert_eq!(u16::from(frame.expect("a code").code), 4001),
            other => panic!("{other:?}"),
        }
    }
    within("the end of the others", ending.join_all()).await;
    let mut last = Client::after_first(last);
    let begin = last.next().await["seq"].as_u64().expect("a place");
    assert_eq!(last.next_seqs(500).await, (begin + 1..).take(500).collect::<Vec<_>>());
    app.until_connected(1).await;
    let members = async || (app.stats().await["rooms"] == json!({ "general": 1 })).then_some(());
    eventually("the others are gone", members).await;
    publishing.shutdown().await;
}
