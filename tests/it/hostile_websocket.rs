//! WebSocket clients that break the protocol, or flood it: each gets its stated answer, and the others notice nothing.
//! Every case of RFC 6455 is in `rfc6455`.

use crate::{
    hostile_http::goes_on,
    support::{RawSocket, TestApp, open_with},
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
