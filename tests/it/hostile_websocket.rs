//! WebSocket clients that break the protocol, or flood it: each gets its stated answer, and the others notice nothing.
//! Every case of RFC 6455 is in `rfc6455`.

use std::num::NonZeroUsize;

use serde_json::{Value, json};

use crate::{
    hostile_http::goes_on,
    rfc6455::frame::{CONTINUATION, FIN, TEXT, fragments},
    support::{Client, Frame, RawSocket, TestApp, open_with},
};

/// A frame as clients write it, with a mask that changes nothing.
fn masked(first: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 126).expect("a short frame");
    [&[first, 0x80 | length, 0, 0, 0, 0], content].concat()
}

/// Sends `bytes` on a connection of its own, which must be closed with `code`.
async fn closes(bytes: &[u8], code: u16) {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let mut ana = RawSocket::connect(app.http(), "ana?room=b").await;
    ana.write(bytes).await;
    assert_eq!(ana.close_code().await, code);
    app.until_connected(1).await;
    goes_on(&app, &mut luz).await;
}

// a compression bomb is not unpacked: what was offered is not agreed to, and a compressed message closes with 1002
#[tokio::test]
async fn a_compressed_message_closes_with_1002() {
    let app = TestApp::start().await;
    let offer = [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits".to_owned())];
    drop(open_with(app.http(), "ana", &offer).await.expect("let in, without an extension that was not asked for"));
    // RFC 7692: an empty block after another, all of them one bit of the first frame.
    closes(&masked(0xc1, &[0x00, 0x00, 0x00, 0xff, 0xff].repeat(20)), 1002).await;
}

// text that is no UTF-8 closes with 1007
#[tokio::test]
async fn text_that_is_none_closes_with_1007() {
    closes(&masked(0x81, b"{\"type\":\"p\xc0\xafng\"}"), 1007).await;
}

// a control frame in fragments closes with 1002
#[tokio::test]
async fn a_fragmented_control_frame_closes_with_1002() {
    closes(&[masked(0x09, b"a"), masked(0x80, b"b")].concat(), 1002).await;
}

// a frame without a mask closes with 1002
#[tokio::test]
async fn an_unmasked_frame_closes_with_1002() {
    closes(b"\x81\x0f{\"type\":\"ping\"}", 1002).await;
}

// a frame that says it is larger than anything is not waited for: 1009
#[tokio::test]
async fn a_frame_without_a_bound_closes_with_1009() {
    closes(&[&[0x81, 0xff][..], &(u64::MAX >> 1).to_be_bytes(), &[0; 4]].concat(), 1009).await;
}

// a flood of pings is one of messages: a client that goes on is closed with 4008
#[tokio::test]
async fn a_flood_of_pings_closes_with_4008() {
    let app = TestApp::start_with(|config| config.egress.message_rate = "10/10s".parse().expect("a rate")).await;
    let mut luz = app.connect("luz").await;
    let mut ana = RawSocket::connect(app.http(), "ana?room=b").await;
    ana.write(&masked(0x89, b"p").repeat(1_000)).await;
    assert_eq!(ana.close_code().await, 4008);
    app.until_connected(1).await;
    goes_on(&app, &mut luz).await;
}

// one message that never ends, of fragments with nothing in them or with little, closes with 4008: they count, wherever they are put
// together
#[tokio::test]
async fn a_message_of_too_many_fragments_closes_with_4008() {
    for (first, content) in [(TEXT, &b""[..]), (TEXT, b"a"), (TEXT | 0x40, b""), (TEXT | 0x40, &[0, 0, 0, 0xff, 0xff])]
    {
        let app = TestApp::start_with(|config| config.egress.permessage_deflate = true).await;
        let mut luz = app.connect("luz").await;
        let offer = "permessage-deflate";
        let (mut ana, _) = RawSocket::connect_offering(app.http(), "ana?room=b", offer, b"").await;
        ana.write(&[masked(first, b""), masked(CONTINUATION, content).repeat(1_023)].concat()).await;
        ana.write(&masked(FIN | 0x9, b"still there")).await;
        assert!(matches!(ana.next().await, Frame::Text(_)), "the first message");
        assert_eq!(ana.next().await, Frame::Pong(b"still there".to_vec()));
        ana.write(&masked(CONTINUATION, content)).await;
        assert_eq!(ana.close_code().await, 4008);
        app.until_connected(1).await;
        goes_on(&app, &mut luz).await;
    }
}

// the same in what comes with the handshake, before anybody reads
#[tokio::test]
async fn too_many_fragments_with_the_handshake_close_with_4008() {
    let app = TestApp::start().await;
    let endless = [masked(TEXT, b""), masked(CONTINUATION, b"").repeat(1_024)].concat();
    assert_eq!(RawSocket::connect_with(app.http(), "ana", &endless).await.close_code().await, 4008);
}

// a client that sends the largest message in pieces of 1 KiB is none of those
#[tokio::test]
async fn the_largest_message_may_come_in_small_fragments() {
    let app = TestApp::start().await;
    let mut ana = RawSocket::connect(app.http(), "ana").await;
    let mut message = br#"{"type":"ping"}"#.to_vec();
    message.resize(262_144, b' ');
    let pieces: Vec<_> = message.chunks(1_024).collect();
    ana.write(&fragments(TEXT, &pieces).concat()).await;
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("connection_established")));
    assert!(matches!(ana.next().await, Frame::Text(text) if text.contains("pong")));
}

/// A chat message that says its number and is about a kilobyte long.
fn chat(number: usize) -> Vec<u8> {
    let message = format!("{number:01000}");
    json!({ "type": "chat_message", "message": message }).to_string().into_bytes()
}

// what one client says in one breath is more than may wait for a reader; those who read get all of it
#[tokio::test]
async fn a_burst_of_chat_reaches_everybody_who_reads() {
    const SAID: usize = 100;
    let app = TestApp::start_with(|config| {
        config.egress.send_queue_bytes = NonZeroUsize::new(4_096).expect("not zero");
    })
    .await;
    let mut readers = Vec::new();
    for number in 0..5 {
        readers.push(app.connect(&format!("reader-{number}")).await);
    }
    let mut ana = RawSocket::connect(app.http(), "ana").await;
    let breath: Vec<_> = (0..SAID).flat_map(|number| fragments(TEXT, &[&chat(number)]).concat()).collect();
    ana.write(&breath).await;
    for reader in &mut readers {
        while reader.next().await["client_id"] != "ana" {}
        for number in 0..SAID {
            let said = reader.next().await;
            assert_eq!(
                (&said["type"], said["message"].as_str()),
                (&json!("chat_message"), Some(&*format!("{number:01000}")))
            );
        }
    }
    app.until_connected(6).await;
}

/// Publishes to everybody an event that nobody keeps, large and with a number.
async fn pass_by(app: &TestApp, number: usize) {
    let payload = json!({ "number": number, "text": "x".repeat(900_000) });
    let event = json!({ "event": "e", "payload": payload, "target": { "everyone": true }, "durability": "ephemeral" });
    assert_eq!(app.notify(event.to_string()).await.status, 200);
}

// a reader that does not read is not closed for what nobody keeps: it is told how much it did not get, in the place where that is
// missing, and gets what is kept
#[tokio::test]
async fn what_nobody_keeps_is_dropped_and_told_before_anybody_is_closed() {
    const PUBLISHED: usize = 14;
    let app = TestApp::start().await;
    let mut slow = RawSocket::connect(app.http(), "slow").await;
    let mut luz: Client = app.connect("luz").await;
    for number in 0..PUBLISHED {
        pass_by(&app, number).await;
        assert_eq!(luz.next_of_type("system_notification").await["payload"]["number"], number, "she reads");
    }
    let mark = app.mark().await;
    let (mut heard, mut dropped) = (0, 0);
    loop {
        let Frame::Text(text) = slow.next().await else { panic!("not a message") };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        match message["type"].as_str() {
            Some("dropped") => {
                let fields: Vec<_> = message.as_object().expect("an object").keys().collect();
                assert_eq!(fields, ["count", "timestamp", "type"]);
                dropped += usize::try_from(message["count"].as_u64().expect("a number")).expect("few");
            }
            Some("system_notification") if message["seq"] == mark => break,
            Some("system_notification") => {
                assert_eq!(message["payload"]["number"], heard + dropped, "in its place");
                heard += 1;
            }
            _ => {}
        }
    }
    assert!(dropped > 0, "everything fitted, so nothing was tested");
    assert_eq!(heard + dropped, PUBLISHED);
    luz.expect_nothing_before(mark).await;
    goes_on(&app, &mut luz).await;
}
