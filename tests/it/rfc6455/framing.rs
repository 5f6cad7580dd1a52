//! Section 5.1 to 5.3: masking, reserved bits, opcodes, lengths.

use serde_json::Value;

use super::{
    Answer, Bench, Case, chat, check,
    frame::{BINARY, CONTROL, FIN, Length, OPCODES, PING, TEXT, masked, masked_with, unmasked},
    message,
};
use crate::support::TestApp;

// RFC 6455, 5.1: "a server MUST close the connection upon receiving a frame that is not masked", with 1002 if it says why
#[tokio::test]
async fn an_unmasked_frame_closes_with_1002() {
    let frames =
        OPCODES.map(|opcode| Case::closes(format!("opcode {opcode:x}"), unmasked(FIN | opcode, b"hola"), 1002));
    let empty = Case::closes("empty", unmasked(FIN | TEXT, b""), 1002);
    let after_a_good_one = [masked(FIN | PING, b"a"), unmasked(FIN | PING, b"b")].concat();
    let after = [Answer::Pong(b"a".to_vec()), Answer::Close(Some(1002))];
    check(frames.into_iter().chain([empty, Case::new("after a good frame", after_a_good_one, after)])).await;
}

// RFC 6455, 5.2: a reserved bit that no extension gave a meaning fails the connection
#[tokio::test]
async fn a_reserved_bit_closes_with_1002() {
    let bits = (1..8).map(|bits: u8| bits << 4);
    let each = bits.flat_map(|bits| OPCODES.map(|opcode| (bits, opcode)));
    check(each.map(|(bits, opcode)| {
        Case::closes(format!("bits {bits:x}, opcode {opcode:x}"), masked(FIN | bits | opcode, b""), 1002)
    }))
    .await;
}

// RFC 6455, 5.2: an unknown opcode fails the connection
#[tokio::test]
async fn a_reserved_opcode_closes_with_1002() {
    let reserved = (0x3..=0x7).chain(0xb..=0xf);
    let each = reserved.flat_map(|opcode| [0, FIN].map(|fin| (fin, opcode)));
    check(each.map(|(fin, opcode)| {
        Case::closes(format!("fin {fin:x}, opcode {opcode:x}"), masked(fin | opcode, b"hola"), 1002)
    }))
    .await;
}

/// A message of `size` bytes that says something to the room.
fn chat_of(size: usize) -> (Vec<u8>, String) {
    let said: String = ('a'..='z').cycle().take(size - chat("").len()).collect();
    (chat(&said), said)
}

impl Bench {
    /// Writes `parts`, with something else going on in between, and asserts that the room hears `said`.
    async fn says(&mut self, parts: &[&[u8]], said: &str) {
        let mut raw = self.client_in("general").await;
        for part in parts {
            raw.write(part).await;
            // The server has read the part before the next one is written: it did this round trip after it.
            self.bystander.settle().await;
        }
        let heard = self.bystander.next_of_type("chat_message").await;
        assert_eq!(heard["message"], Value::from(said));
    }
}

// RFC 6455, 5.3: the content is what the mask makes of it, whatever the mask and wherever the content ends
#[tokio::test]
async fn every_mask_is_taken_off() {
    let mut bench = Bench::start().await;
    for mask in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0x80, 0, 0, 0x7f], *b"{\"ty"] {
        for size in [64, 65, 66, 67, 71, 126] {
            let (content, said) = chat_of(size);
            let frame = masked_with(mask, Length::shortest(size), FIN | TEXT, &content);
            eprintln!("mask {mask:x?}, {size} bytes");
            bench.says(&[&frame], &said).await;
        }
    }
}

// RFC 6455, 5.2: lengths on both sides of where their form changes. A form that is longer than it must be is a fault of
// the sender that leaves no doubt of what is meant: it is read
#[tokio::test]
async fn every_length_is_read() {
    use Length::{Bits7, Bits16, Bits64};
    let mut bench = Bench::start().await;
    let shortest = [124, 125, 126, 127, 128, 511, 512, 513, 65_535, 65_536, 65_537, 262_144];
    let longer = [(125, Bits16), (64, Bits64), (125, Bits64), (126, Bits64), (65_535, Bits64)];
    for (size, length) in shortest.map(|size| (size, Length::shortest(size))).into_iter().chain(longer) {
        let (content, said) = chat_of(size);
        eprintln!("{size} bytes, {length:?}");
        bench.says(&[&masked_with([1, 2, 3, 4], length, FIN | TEXT, &content)], &said).await;
    }
    for opcode in [TEXT, BINARY] {
        let empty = masked(FIN | opcode, b"");
        bench.check(Case::new("nothing, which is no JSON", empty, [message("error")])).await;
        let longer = masked_with([1, 2, 3, 4], Bits7, FIN | opcode, b"");
        bench.check(Case::new("nothing", longer, [message("error")])).await;
    }
}

// RFC 6455, 5.2 and 7.4.1: what is larger than the server takes closes with 1009, before it is sent; also a length whose
// highest bit is set, which no length may have
#[tokio::test]
async fn a_length_that_is_too_large_closes_with_1009() {
    let head = |length: u64| [&[FIN | TEXT, 0x80 | 127][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
    check(
        [262_145, 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX]
            .map(|length| Case::closes(format!("{length} bytes"), head(length), 1009)),
    )
    .await;
}

// RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less"
#[tokio::test]
async fn a_control_frame_of_126_bytes_closes_with_1002() {
    check(CONTROL.map(|opcode| Case::closes(format!("opcode {opcode:x}"), masked(FIN | opcode, &[b'a'; 126]), 1002)))
        .await;
}

// RFC 6455, 5.2: a frame is what its bytes say, however the network cuts them
#[tokio::test]
async fn a_frame_is_read_however_it_is_chopped() {
    let mut bench = Bench::start().await;
    let (content, said) = chat_of(130);
    for length in [Length::Bits16, Length::Bits64] {
        let frame = masked_with([9, 8, 7, 6], length, FIN | TEXT, &content);
        for cut in 1..frame.len() {
            eprintln!("{length:?}, cut after {cut}");
            let (first, rest) = frame.split_at(cut);
            bench.says(&[first, rest], &said).await;
        }
        let bytes: Vec<_> = frame.chunks(1).collect();
        bench.says(&bytes, &said).await;
    }
}

// RFC 6455, 4.2.2: what the client sent right behind its handshake is not lost
#[tokio::test]
async fn a_frame_that_comes_with_the_handshake_is_read() {
    let app = TestApp::start().await;
    let mut bystander = app.connect("bystander").await;
    let raw = crate::support::RawSocket::connect_with(app.http(), "raw", &masked(FIN | TEXT, &chat("hola"))).await;
    assert_eq!(bystander.next_of_type("chat_message").await["message"], "hola");
    drop(raw);
}
