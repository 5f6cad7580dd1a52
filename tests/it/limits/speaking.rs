//! What a WebSocket client holds of the service while it speaks: bytes of messages that it does not finish, and for how long.

use std::{num::NonZeroUsize, time::Duration};

use exposia_notifications::config::Config;
use serde_json::json;

use crate::{
    rfc6455::frame::{CONTINUATION, FIN, PING, TEXT, masked},
    support::{Frame, RawSocket, TestApp, eventually},
};

/// How much anybody at one address may hold.
const SHARE: usize = 64 * 1024;

fn small_share(config: &mut Config) {
    config.gate.unfinished_bytes = NonZeroUsize::new(2 * SHARE).expect("not zero");
}

/// A message with a part of `length` bytes, and the rest of it.
fn cut(length: usize) -> (Vec<u8>, Vec<u8>) {
    let mut message = br#"{"type":"ping"}"#.to_vec();
    message.resize(length + 1, b' ');
    let whole = masked(FIN | TEXT, &message);
    (whole[..length].to_vec(), whole[length..].to_vec())
}

/// A client that heard that it is connected.
async fn connect(app: &TestApp, name: &str) -> RawSocket {
    let mut raw = RawSocket::connect(app.http(), &format!("{name}?room={name}")).await;
    assert!(matches!(raw.next().await, Frame::Text(_)));
    raw
}

// two who hold more together than their address may: one of them is closed with 4100, the other finishes; then there is room again
#[tokio::test]
async fn unfinished_messages_have_one_share_and_give_it_back() {
    let app = TestApp::start_with(small_share).await;
    let (mut ana, mut luz) = (connect(&app, "ana").await, connect(&app, "luz").await);
    let (beginning, rest) = cut(SHARE * 2 / 3);
    ana.write(&beginning).await;
    luz.write(&beginning).await;
    let (code, mut other) = tokio::select! {
        code = ana.close_code() => (code, luz),
        code = luz.close_code() => (code, ana),
    };
    assert_eq!(code, 4100);
    other.write(&rest).await;
    assert!(matches!(other.next().await, Frame::Text(text) if text.contains("pong")));
    let stats = app.stats().await;
    assert_eq!(stats["refusals"]["unfinished_bytes"], 1, "{}", stats["refusals"]);
    let mut number = 0;
    eventually("room for another", async || {
        number += 1;
        let mut next = connect(&app, &format!("next-{number}")).await;
        next.write_some(&beginning).await;
        next.write_some(&rest).await;
        matches!(next.next().await, Frame::Text(text) if text.contains("pong")).then_some(())
    })
    .await;
}

// what is unpacked counts as what it takes here: a few bytes of the wire and the room to unpack them
#[tokio::test]
async fn an_unfinished_compressed_message_counts_as_what_it_takes() {
    let app = TestApp::start_with(|config| {
        config.gate.unfinished_bytes = NonZeroUsize::new(SHARE / 2).expect("not zero");
        config.egress.permessage_deflate = true;
    })
    .await;
    let (mut ana, _) = RawSocket::connect_offering(app.http(), "ana", "permessage-deflate", b"").await;
    // An empty block; nothing comes of it.
    let beginning = masked(TEXT | 0x40, &[0, 0, 0, 0xff, 0xff]);
    ana.write(&[beginning, masked(CONTINUATION, &[0, 0, 0, 0xff, 0xff])].concat()).await;
    assert_eq!(ana.close_code().await, 4100);
}

// a message that is not finished in MESSAGE_TIMEOUT closes the connection with 4101, whether the client is silent or sends a little
// now and again; one that finished what it said may wait as long as it likes
#[tokio::test]
async fn a_message_is_finished_in_time() {
    let app = TestApp::start_with(|config| config.gate.message_timeout = Duration::from_millis(200)).await;
    let mut ana = connect(&app, "ana").await;
    ana.write(&[masked(TEXT, br#"{"type""#), masked(FIN | CONTINUATION, br#":"ping"}"#)].concat()).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
    let (beginning, _) = cut(1_000);
    let mut silent = connect(&app, "silent").await;
    silent.write(&beginning).await;
    assert_eq!(silent.close_code().await, 4101);
    let mut slow = connect(&app, "slow").await;
    slow.write(&beginning[..10]).await;
    assert_eq!(slow.close_code_while_sending(b"x").await, 4101);
    let mut in_fragments = connect(&app, "in-fragments").await;
    in_fragments.write(&masked(TEXT, b"{")).await;
    assert_eq!(in_fragments.close_code_while_sending(&masked(CONTINUATION, b"")).await, 4101);
    let mut in_a_head = connect(&app, "in-a-head").await;
    in_a_head.write(&[0x81]).await;
    assert_eq!(in_a_head.close_code().await, 4101);
    ana.write(&masked(FIN | TEXT, br#"{"type":"ping"}"#)).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
}

// a message that comes in pieces and is short is not counted: its client finishes it when there is room for nothing more
#[tokio::test]
async fn short_messages_are_finished_whatever_others_hold() {
    let app = TestApp::start_with(|config| config.gate.unfinished_bytes = NonZeroUsize::MIN).await;
    let mut ana = connect(&app, "ana").await;
    let beginning = |length: usize| [masked(TEXT, &vec![b' '; length]), masked(FIN | PING, b"here")].concat();
    let end = masked(FIN | CONTINUATION, br#"{"type":"ping"}"#);
    ana.write(&beginning(16_000)).await;
    assert_eq!(ana.next().await, Frame::Pong(b"here".to_vec()));
    ana.write(&end).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
    ana.write(&beginning(17_000)).await;
    assert_eq!(ana.close_code().await, 4100);
}

// a client that takes nothing is not listened to once its queue is full; that is no time of the message it began
#[tokio::test]
async fn a_message_has_all_its_time_while_its_client_is_listened_to() {
    let app = TestApp::start_with(|config| {
        config.gate.message_timeout = Duration::from_millis(500);
        config.egress.send_queue_bytes = NonZeroUsize::new(4_096).expect("not zero");
    })
    .await;
    let mut ana = RawSocket::connect_narrow(app.http(), "ana?room=a", b"").await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("connection_established")));
    let mut message = br#"{"type":"ping"}"#.to_vec();
    message.resize(200_000, b' ');
    let message = masked(FIN | TEXT, &message);
    let (beginning, rest) = message.split_at(1_000);
    ana.write(beginning).await;
    // Its beginning is read before this is answered.
    app.stats().await;
    app.publish_to(json!({ "rooms": ["a"] }), "e", json!({ "text": "x".repeat(400_000) })).await;
    let mut silent = connect(&app, "silent").await;
    silent.write(beginning).await;
    assert_eq!(silent.close_code().await, 4101, "as much time is over as a message has");
    assert!(matches!(ana.next_while_sending(rest).await, Frame::Text(text) if text.contains("system_notification")));
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
}

// what came with the handshake is not announced again: it is heard all the same, when the queue is no longer full
#[tokio::test]
async fn what_came_with_the_handshake_is_heard_behind_a_full_queue() {
    const ASKED: u8 = 100;
    const LARGE: usize = 3;
    let app = TestApp::start_with(|config| {
        config.egress.send_queue_bytes = NonZeroUsize::new(4_096).expect("not zero");
    })
    .await;
    let epoch = app.connect("luz").await.established["epoch"].as_str().expect("a text").to_owned();
    for _ in 0..LARGE {
        app.publish_to(json!({ "everyone": true }), "e", json!({ "text": "x".repeat(400_000) })).await;
    }
    let asked: Vec<_> = (0..ASKED).flat_map(|number| masked(FIN | PING, &[number])).collect();
    let mut ana = RawSocket::connect_narrow(app.http(), &format!("ana?since=0&epoch={epoch}"), &asked).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("connection_established")));
    let (mut came, mut answered) = (0, 0);
    while came < LARGE || answered < ASKED {
        match ana.next().await {
            Frame::Text(text) if text.contains("system_notification") => came += 1,
            frame => {
                assert!(came > 0, "its queue was full");
                assert_eq!(frame, Frame::Pong(vec![answered]));
                answered += 1;
            }
        }
    }
}
