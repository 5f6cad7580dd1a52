use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use tungstenite::{Error, WebSocket, protocol::Role};

use super::*;

const MAX: usize = 3 * STEP;

fn deflate(text: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(text.len() + 100);
    Compress::new(Compression::best(), false).compress_vec(text, &mut deflated, flush).expect("compressed");
    match flush {
        FlushCompress::Finish => deflated.push(0),
        _ => deflated.truncate(deflated.len() - TAIL.len()),
    }
    deflated
}

fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    let mask = [7, 0, 255, 31];
    let header =
        FrameHeader { is_final: false, opcode: OpCode::from(first & 0xf), mask: Some(mask), ..Default::default() };
    let mut frame = Vec::new();
    header.format(content.len() as u64, &mut frame).expect("memory takes everything");
    frame[0] = first;
    frame.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What tungstenite makes of `bytes` that come in pieces of the sizes `pieces`, in turn; and what it says in the end.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<tungstenite::Message>, Error) {
    let mut inflate = Inflate::new(MAX);
    let (mut rest, mut sizes) = (bytes, pieces.iter().cycle());
    let (mut plain, mut buffer) = (Vec::new(), [0; 100]);
    let mut over = false;
    while !over && !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().expect("a size")));
        inflate.take(piece);
        rest = after;
        over = loop {
            match inflate.read(&mut buffer) {
                Ok(0) => break false,
                Ok(bytes) => plain.extend_from_slice(&buffer[..bytes]),
                Err(_) => break true,
            }
        };
    }
    assert_eq!(over, !inflate.is_idle(), "whatever is complete leaves nothing behind");
    let config = tungstenite::protocol::WebSocketConfig::default().max_frame_size(Some(MAX));
    let stream = Ended(io::Cursor::new(plain));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(error) => return (messages, error),
        }
    }
}

/// Takes whatever tungstenite answers.
struct Ended(io::Cursor<Vec<u8>>);

impl Read for Ended {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl io::Write for Ended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Said {
    text: String,
    compressed: bool,
    last_block: bool,
    cuts: Vec<usize>,
    pings: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let cuts = proptest::collection::vec(0..300usize, 0..4);
    let parts = ("([a-c]{0,9}|\\PC{0,9}){0,40}", any::<bool>(), any::<bool>(), cuts, any::<bool>());
    parts.prop_map(|(text, compressed, last_block, cuts, pings)| Said { text, compressed, last_block, cuts, pings })
}

impl Said {
    /// The frames, and what is to be heard of them.
    fn frames(&self, bytes: &mut Vec<u8>, heard: &mut Vec<tungstenite::Message>) {
        let flush = if self.last_block { FlushCompress::Finish } else { FlushCompress::Sync };
        let content =
            if self.compressed { deflate(self.text.as_bytes(), flush) } else { self.text.clone().into_bytes() };
        let mut cuts: Vec<_> = self.cuts.iter().map(|cut| cut % (content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        let last = cuts.len() - 2;
        for (number, ends) in cuts.windows(2).enumerate() {
            let first = if number > 0 { 0 } else { 1 | if self.compressed { 0x40 } else { 0 } };
            bytes.extend(frame(first | if number == last { 0x80 } else { 0 }, &content[ends[0]..ends[1]]));
            if self.pings && number < last {
                bytes.extend(frame(0x89, b"?"));
                heard.push(tungstenite::Message::Ping(Bytes::from_static(b"?")));
            }
        }
        heard.push(tungstenite::Message::text(self.text.clone()));
    }
}

proptest! {
    // Whatever is compressed and what is not, wherever it is cut into frames, and into whatever pieces those are torn.
    #[test]
    fn everything_is_heard_as_it_was_said(
        said in proptest::collection::vec(said(), 1..6),
        pieces in proptest::collection::vec(1..700usize, 1..5),
    ) {
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        said.iter().for_each(|said| said.frames(&mut bytes, &mut heard));
        let (messages, end) = read(&bytes, &pieces);
        prop_assert_eq!(messages, heard, "{}", end);
    }

    // However much comes, no more is held than a message and what a few bytes can be unpacked to.
    #[test]
    fn noise_ends_in_an_error_or_is_waited_for(noise in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let mut inflate = Inflate::new(MAX);
        for piece in noise.chunks(7) {
            inflate.take(piece);
            while inflate.read(&mut [0; 100]).is_ok_and(|bytes| bytes > 0) {}
            prop_assert!(inflate.message.as_ref().is_none_or(|message| message.content.len() <= MAX));
        }
    }
}

#[test]
fn what_breaks_the_rules_of_the_extension_ends_reading() {
    let hello = deflate(b"hola", FlushCompress::Sync);
    let cases = [
        ("what is not compressed so", frame(0xc1, &[7, 7, 7])),
        ("a continuation that says it is compressed", [frame(0x41, &hello), frame(0xc0, b"")].concat()),
        ("a continuation with another reserved bit", [frame(0x41, &hello), frame(0xa0, b"")].concat()),
        ("a message within a compressed one", [frame(0x41, &hello), frame(0x81, b"hola")].concat()),
        ("a compressed one within a compressed one", [frame(0x41, &hello), frame(0xc1, &hello)].concat()),
    ];
    for (what, bytes) in cases {
        let mut inflate = Inflate::new(MAX);
        inflate.take(&bytes);
        let error = inflate.read(&mut [0]).expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}");
    }
}

#[test]
fn what_is_unpacked_to_too_much_is_refused_as_too_long() {
    let bomb = deflate(&vec![b'x'; 100 * MAX], FlushCompress::Sync);
    assert!(bomb.len() < MAX);
    let (messages, error) = read(&frame(0xc1, &bomb), &[1_000]);
    assert!(messages.is_empty() && matches!(error, Error::Capacity(_)), "{error}");
    for length in [STEP - 1, STEP, STEP + 1, 2 * STEP, MAX - 1, MAX] {
        let just = deflate(&vec![b'x'; length], FlushCompress::Sync);
        let (messages, _) = read(&frame(0xc1, &just), &[1_000]);
        assert_eq!(messages, [tungstenite::Message::text("x".repeat(length))]);
    }
}

// RFC 7692 has several ways to say nothing, as often as one likes.
#[test]
fn what_is_unpacked_to_nothing_without_end_is_too_long() {
    let nothing = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(100);
    let endless = [frame(0x41, &nothing), frame(0x00, &nothing).repeat(2 * MAX / nothing.len())].concat();
    let (_, error) = read(&endless, &[1_000]);
    assert!(matches!(error, Error::Capacity(_)), "{error}");
    let mut huge = frame(0x41, b"");
    huge[1] |= 127;
    huge.splice(2..2, [0x7f, 0, 0, 0, 0, 0, 0, 0]);
    let (_, error) = read(&huge, &[1_000]);
    assert!(matches!(error, Error::Capacity(_)), "{error}");
}

// However much is packed into what came at once, one message is unpacked at a time.
#[test]
fn no_more_is_unpacked_than_is_read() {
    let bomb = frame(0xc1, &deflate(&[b'x'; MAX], FlushCompress::Sync));
    let mut inflate = Inflate::new(MAX);
    inflate.take(&bomb.repeat(100));
    let mut heard = 0;
    loop {
        let bytes = inflate.read(&mut [0; 512]).expect("nothing is wrong");
        assert!(inflate.out.len() < MAX + STEP, "{} bytes", inflate.out.len());
        heard += bytes;
        if bytes == 0 {
            break;
        }
    }
    assert!(heard > 100 * MAX && inflate.is_idle());
}
