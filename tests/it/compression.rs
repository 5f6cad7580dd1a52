//! `permessage-deflate` (RFC 7692) where the settings have it on: with clients that agree to it, and with all the others.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};

use crate::{
    rfc6455::frame::{CONTINUATION, FIN, PING, TEXT, masked},
    support::{Frame, RawSocket, TestApp},
};

/// Says of the first frame of a message that it is compressed.
const COMPRESSED: u8 = 0x40;

/// What a compressed message ends with, unsaid.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

async fn start() -> TestApp {
    TestApp::start_with(|config| config.egress.permessage_deflate = true).await
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(text.len() + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(text, &mut deflated, FlushCompress::Sync).expect("compressed");
    deflated.truncate(deflated.len() - TAIL.len());
    deflated
}

fn inflate(deflated: &[u8]) -> String {
    let mut inflated = Vec::with_capacity(1 << 20);
    let whole = [deflated, &TAIL].concat();
    Decompress::new(false).decompress_vec(&whole, &mut inflated, FlushDecompress::Sync).expect("compressed");
    String::from_utf8(inflated).expect("UTF-8")
}

/// A client that compresses.
async fn connect(app: &TestApp, address: &str) -> RawSocket {
    let (mut raw, chosen) = RawSocket::connect_offering(app.http(), address, OFFER, b"").await;
    assert_eq!(chosen.as_deref(), Some(AGREED));
    let established = plain(raw.next().await);
    assert_eq!(established["type"], "connection_established");
    raw
}

fn plain(frame: Frame) -> Value {
    let Frame::Text(text) = frame else { panic!("not a plain message: {frame:?}") };
    serde_json::from_str(&text).expect("JSON")
}

fn long_payload(number: u32) -> Value {
    json!({ "number": number, "text": "una presentación como las demás, ".repeat(20) })
}

// a subscriber that agreed gets each notification compressed by itself, and it says the same as to everybody else
#[tokio::test]
async fn a_compressed_notification_says_the_same() {
    let app = start().await;
    let mut others = app.connect("others?room=admin").await;
    let mut raw = connect(&app, "compresses?room=admin").await;
    for number in 0..3 {
        app.publish_to(json!({ "rooms": ["admin"] }), "a.b", long_payload(number)).await;
        let Frame::Compressed(deflated) = raw.next().await else { panic!("not compressed") };
        let text = inflate(&deflated);
        assert!(deflated.len() * 3 < text.len(), "{} of {} bytes", deflated.len(), text.len());
        let notification = others.next_of_type("system_notification").await;
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), notification);
    }
}

// events that are kept nowhere are compressed, too
#[tokio::test]
async fn a_compressed_event_that_passes_by_says_the_same() {
    let app = start().await;
    let mut others = app.connect("others").await;
    let mut raw = connect(&app, "compresses").await;
    let body = json!({ "event": "a.b", "payload": long_payload(0), "durability": "ephemeral" });
    app.notify(body.to_string()).await;
    let Frame::Compressed(deflated) = raw.next().await else { panic!("not compressed") };
    let notification = others.next_of_type("system_notification").await;
    assert_eq!(serde_json::from_str::<Value>(&inflate(&deflated)).expect("JSON"), notification);
}

// what a client missed is read for it alone, and is not compressed
#[tokio::test]
async fn what_a_client_missed_comes_as_it_is() {
    let app = start().await;
    let before = app.mark().await;
    let missed = app.publish_to(json!({ "rooms": ["admin"] }), "a.b", long_payload(1)).await;
    let epoch = missed["id"].as_str().and_then(|id| id.rsplit_once('-')).expect("an id").0;
    let back = format!("back?room=admin&since={before}&epoch={epoch}");
    let (mut back, _) = RawSocket::connect_offering(app.http(), &back, OFFER, b"").await;
    assert_eq!(plain(back.next().await)["replayed"], 1);
    assert_eq!(plain(back.next().await)["seq"], missed["sequence"]);
}

// a compressed message of a client is understood, however it comes, and what is not compressed as well
#[tokio::test]
async fn what_a_client_compresses_is_understood() {
    let app = start().await;
    let mut others = app.connect("others").await;
    let mut raw = connect(&app, "compresses").await;
    let chat = json!({ "type": "chat_message", "message": "hola a todos, ".repeat(100) });
    let deflated = deflate(chat.to_string().as_bytes());
    let (start, end) = deflated.split_at(deflated.len() / 2);
    let whole = masked(FIN | COMPRESSED | TEXT, &deflated);
    let parts = [
        masked(COMPRESSED | TEXT, start),
        masked(FIN | PING, b"?"),
        masked(CONTINUATION, end),
        masked(FIN | CONTINUATION, b""),
    ];
    let uncompressed = masked(FIN | TEXT, chat.to_string().as_bytes());
    for sends in [whole.clone(), parts.concat(), uncompressed, whole] {
        for piece in sends.chunks(11) {
            raw.write(piece).await;
        }
        assert_eq!(others.next_of_type("chat_message").await["message"], chat["message"]);
    }
    assert_eq!(raw.next().await, Frame::Pong(b"?".to_vec()));
}

// a message is understood also when the session has gone to sleep over its beginning, wherever that ends
#[tokio::test]
async fn a_compressed_message_may_come_in_two_halves() {
    let app = start().await;
    let mut raw = connect(&app, "compresses").await;
    let message = masked(FIN | COMPRESSED | TEXT, &deflate(br#"{"type":"ping"}"#));
    for (start, end) in (1..message.len()).map(|cut| message.split_at(cut)) {
        // The answer to this ping says that the beginning behind it was read.
        raw.write(&[&masked(FIN | PING, b"?"), start].concat()).await;
        assert_eq!(raw.next().await, Frame::Pong(b"?".to_vec()));
        raw.write(end).await;
        assert_eq!(plain(raw.next().await)["type"], "pong");
    }
}

// several at once are several messages, also in the same breath as the handshake
#[tokio::test]
async fn compressed_messages_that_come_together_are_told_apart() {
    let app = start().await;
    let pings = masked(FIN | COMPRESSED | TEXT, &deflate(br#"{"type":"ping"}"#)).repeat(3);
    let (mut raw, _) = RawSocket::connect_offering(app.http(), "compresses", OFFER, &pings).await;
    assert_eq!(plain(raw.next().await)["type"], "connection_established");
    raw.write(&pings).await;
    for _ in 0..6 {
        assert_eq!(plain(raw.next().await)["type"], "pong");
    }
}

// what is unpacked to more than a message may have, or cannot be unpacked, ends that connection and harms no other
#[tokio::test]
async fn bombs_and_broken_messages_close_the_connection() {
    let app = start().await;
    let mut others = app.connect("others").await;
    let bomb = deflate(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 256 * 1024, "it comes well below the limit");
    let hello = deflate(br#"{"type":"ping"}"#);
    let [early, late] = [COMPRESSED | TEXT, FIN | COMPRESSED | CONTINUATION].map(|first| masked(first, &hello));
    let nothing = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(10_000);
    let endless = [masked(COMPRESSED | TEXT, &nothing), masked(CONTINUATION, &nothing).repeat(20)].concat();
    let cases = [
        ("a bomb", masked(FIN | COMPRESSED | TEXT, &bomb), 1009),
        ("no compression", masked(FIN | COMPRESSED | TEXT, &[7; 9]), 1002),
        ("a continuation that says it is compressed", [early.clone(), late].concat(), 1002),
        ("a message within a message", [early, masked(FIN | TEXT, b"{}")].concat(), 1002),
        ("a compressed ping", masked(FIN | COMPRESSED | PING, &hello), 1002),
        ("nothing, without end", endless, 1009),
        ("another reserved bit", masked(FIN | 0x20 | TEXT, b"{}"), 1002),
        ("text that is no UTF-8", masked(FIN | COMPRESSED | TEXT, &deflate(b"\xff\xfe")), 1007),
    ];
    for (what, sends, code) in cases {
        eprintln!("{what}");
        let mut raw = connect(&app, "compresses?room=alone").await;
        // The server may hang up before it has read all of it.
        raw.write_some(&sends).await;
        assert_eq!(raw.close_code().await, code);
        let marker = app.mark().await;
        assert_eq!(others.next_of_type("system_notification").await["seq"], marker);
    }
}

// an offer that cannot be met leaves a connection without compression
#[tokio::test]
async fn an_offer_that_cannot_be_met_is_declined() {
    let app = start().await;
    let offer = "permessage-deflate; server_max_window_bits=9";
    let (mut raw, chosen) = RawSocket::connect_offering(app.http(), "declined?room=admin", offer, b"").await;
    assert_eq!(chosen, None);
    assert_eq!(plain(raw.next().await)["type"], "connection_established");
    app.publish_to(json!({ "rooms": ["admin"] }), "a.b", long_payload(0)).await;
    assert_eq!(plain(raw.next().await)["type"], "system_notification");
    raw.write(&masked(FIN | COMPRESSED | TEXT, &deflate(br#"{"type":"ping"}"#))).await;
    assert_eq!(raw.close_code().await, 1002);
}
