//! How fast a WebSocket client may send messages.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    rfc6455::frame::{FIN, TEXT, fragments, masked},
    support::{Frame, RawSocket, TestApp, timeless},
};

const TOO_MANY: &str = "Demasiados mensajes: este no se ha atendido; espera un momento";

/// A server on which clients have this rate, and are not asked for pongs, which would count.
async fn paced(rate: &str) -> TestApp {
    TestApp::start_with(|config| {
        config.egress.message_rate = rate.parse().expect("a rate");
        config.egress.ping_interval = Duration::from_secs(3_600);
    })
    .await
}

// a message too many gets an `error` and is not done; other connections have their own rate
#[tokio::test]
async fn a_message_too_many_is_not_done() {
    let app = paced("2/h").await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    assert_eq!(luz.next().await["client_id"], "ana");
    ana.send(json!({ "type": "chat_message", "message": "one" })).await;
    assert_eq!(luz.next().await["message"], "one");
    let refused = ana.ask(json!({ "type": "chat_message", "message": "two" })).await;
    assert_eq!((&refused["type"], &refused["message"]), (&json!("error"), &json!(TOO_MANY)));
    luz.expect_nothing_before(app.mark().await).await;
    assert_eq!(ana.next().await["type"], "system_notification", "the connection stays");
    assert_eq!(app.stats().await["refusals"]["message_rate"], 1);
}

// whoever goes on is closed with 4008, whatever it sends: pings and pongs count as much as texts
#[tokio::test]
async fn a_flood_is_closed_with_4008() {
    let app = paced("1/h").await;
    // Masked with zeros: a text, a ping, and a pong.
    for frame in [&b"\x81\x82\0\0\0\0{}"[..], b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"] {
        let mut ana = RawSocket::connect(app.http(), "ana").await;
        ana.write(&frame.repeat(101)).await;
        ana.write(b"\x81\x80\0\0\0\0").await;
        assert_eq!(ana.close_code().await, 4008);
    }
}

// `off` takes whatever comes
#[tokio::test]
async fn without_a_rate_every_message_is_taken() {
    let app = paced("off").await;
    let mut ana = app.connect("ana").await;
    for _ in 0..1_500 {
        ana.send(json!({ "type": "ping" })).await;
    }
    for _ in 0..1_500 {
        assert_eq!(ana.next().await["type"], "pong");
    }
}

/// The type of the next message, and its text.
async fn next(raw: &mut RawSocket) -> (String, Value) {
    let Frame::Text(text) = raw.next().await else { panic!("not a message") };
    let message: Value = serde_json::from_str(&text).expect("JSON");
    (message["type"].as_str().expect("a type").to_owned(), message["message"].clone())
}

// README, Limits: a message counts as one for each started 4 KiB, and one more for each fragment after its first
#[tokio::test]
async fn long_messages_and_fragments_count_as_several() {
    let app = paced("10/h").await;
    let ping = |length| format!("{:length$}", r#"{"type":"ping"}"#).into_bytes();
    let long = masked(FIN | TEXT, &ping(8 * 4_096 + 1));
    let short = ping(20);
    let in_pieces = fragments(TEXT, &short.chunks(2).collect::<Vec<_>>()).concat();
    for (counts_nine, name) in [(long, "long"), (in_pieces, "in-pieces")] {
        let mut ana = RawSocket::connect(app.http(), &format!("{name}?room={name}")).await;
        assert_eq!(next(&mut ana).await.0, "connection_established");
        ana.write(&counts_nine.repeat(2)).await;
        ana.write(&masked(FIN | TEXT, &short)).await;
        assert_eq!(next(&mut ana).await.0, "pong", "{name}");
        assert_eq!(next(&mut ana).await, ("error".to_owned(), json!(TOO_MANY)), "{name}");
    }
}

// README, Messages: the text of a chat message has at most `MAX_CHAT_BYTES`; the connection stays
#[tokio::test]
async fn chat_that_is_too_long_is_not_passed_on() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    assert_eq!(luz.next().await["client_id"], "ana");
    let longest = "x".repeat(16_384);
    let refused = ana.ask(json!({ "type": "chat_message", "message": format!("{longest}x") })).await;
    let error = json!({ "type": "error", "message": "El mensaje es demasiado largo: admite como máximo 16384 bytes" });
    assert_eq!(timeless(refused), error);
    ana.send(json!({ "type": "chat_message", "message": longest })).await;
    assert_eq!(luz.next().await["message"], *longest);
}
