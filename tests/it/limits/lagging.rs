//! A client that lags is listened to: what it says is heard between the pages of what it missed. Here one has no end of them for a
//! while, each with one notification.

use std::{num::NonZeroUsize, time::Duration};

use exposia_notifications::{
    config::Config,
    wire::proto::v1::{PublishRequest, Target},
};
use futures_util::{StreamExt, stream};

use crate::{
    rfc6455::frame::{CLOSE, FIN, PING, TEXT, masked},
    support::{Frame, RawSocket, TestApp},
};

/// How much each of the rooms `a` and `b` has in the journal, in turns.
const MISSED: usize = 2_000;

/// A service whose journal has that, and the query of a client that missed it.
async fn with_missed(change: impl FnOnce(&mut Config)) -> (TestApp, String) {
    let app = TestApp::start_with(|config| {
        config.egress.send_queue_bytes = NonZeroUsize::MIN;
        change(config);
    })
    .await;
    let event = |number: usize| {
        let room = if number.is_multiple_of(2) { "a" } else { "b" };
        let target = Some(Target { rooms: vec![room.to_owned()], ..Default::default() });
        PublishRequest { event: room.to_owned(), target, ..Default::default() }
    };
    let events = stream::iter((0..2 * MISSED).map(event));
    let results = app.grpc().await.publish_stream(events).await.expect("a stream").into_inner();
    assert_eq!(results.map(|result| result.expect("the stream goes on")).count().await, 2 * MISSED);
    let luz = app.connect("luz").await;
    let epoch = luz.established["epoch"].as_str().expect("a text");
    let query = format!("room=a&rooms=b&since=0&epoch={epoch}");
    luz.close().await;
    (app, query)
}

fn text(message: &str) -> Vec<u8> {
    masked(FIN | TEXT, message.as_bytes())
}

/// How many notifications come before the first frame that is none.
async fn until_another(client: &mut RawSocket) -> (usize, Frame) {
    let mut count = 0;
    loop {
        match client.next().await {
            Frame::Text(text) if text.contains("system_notification") => count += 1,
            frame => return (count, frame),
        }
    }
}

/// A client that says `head` in the same breath as that it missed something; it heard that it is connected.
async fn lagging(app: &TestApp, query: &str, head: &[u8]) -> RawSocket {
    let mut client = RawSocket::connect_with(app.http(), &format!("ana?{query}"), head).await;
    assert!(matches!(client.next().await, Frame::Text(text) if text.contains("connection_established")));
    client
}

#[tokio::test]
async fn whoever_lags_is_answered_in_the_middle_of_what_it_missed() {
    let (app, query) = with_missed(|_| {}).await;
    let asked = [text(r#"{"type":"ping"}"#), masked(FIN | PING, b"here")].concat();
    let mut ana = lagging(&app, &query, &asked).await;
    let (before, answer) = until_another(&mut ana).await;
    assert!(matches!(&answer, Frame::Text(text) if text.contains("pong")), "{answer:?}");
    assert!(before < MISSED, "{before} came before the answer");
    let (between, pong) = until_another(&mut ana).await;
    assert_eq!(pong, Frame::Pong(b"here".to_vec()));
    // Nothing of what it missed is left out for it.
    for _ in before + between..2 * MISSED {
        assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("system_notification")));
    }
    ana.write(&text(r#"{"type":"ping"}"#)).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
}

#[tokio::test]
async fn whoever_lags_and_closes_is_answered_and_hears_nothing_more() {
    let (app, query) = with_missed(|_| {}).await;
    let mut ana = lagging(&app, &query, &masked(FIN | CLOSE, &1000_u16.to_be_bytes())).await;
    let (before, answer) = until_another(&mut ana).await;
    assert_eq!(answer, Frame::Close(Some(1000)));
    assert!(before < MISSED, "{before} came before the answer");
    ana.ends().await;
}

#[tokio::test]
async fn whoever_lags_and_leaves_a_room_misses_nothing_more_of_it() {
    let (app, query) = with_missed(|_| {}).await;
    let mut ana = lagging(&app, &query, &text(r#"{"type":"unsubscribe","room":"b"}"#)).await;
    let (before, answer) = until_another(&mut ana).await;
    assert!(matches!(&answer, Frame::Text(text) if text.contains("unsubscribed")), "{answer:?}");
    assert!(before < MISSED, "{before} came before the answer");
    // Of the others, each second one was for the room that it left.
    for _ in before.div_ceil(2)..MISSED {
        assert!(matches!(ana.next().await, Frame::Text(text) if text.contains(r#""event":"a""#)));
    }
    ana.write(&text(r#"{"type":"ping"}"#)).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
}

#[tokio::test]
async fn whoever_lags_finishes_a_message_in_time_or_is_closed() {
    let (app, query) = with_missed(|config| config.gate.message_timeout = Duration::from_millis(1)).await;
    let mut ana = lagging(&app, &query, &masked(TEXT, b"{")).await;
    let (before, close) = until_another(&mut ana).await;
    assert_eq!(close, Frame::Close(Some(4101)));
    assert!(before < 2 * MISSED, "it was closed when it had caught up");
}
