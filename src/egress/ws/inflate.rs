//! What a client that compresses says, as one says it that does not: tungstenite knows of no extension.
//!
//! Frames pass as they are, but for those of a compressed message (RFC 7692), which becomes one frame. What breaks the rules
//! of the extension ends reading; what breaks those of the protocol passes, for tungstenite to refuse.

use std::{
    collections::VecDeque,
    io::{self, Cursor, Read},
};

use flate2::{Decompress, FlushDecompress, Status};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

use crate::wire::deflate::TAIL;

/// A message grows by so many bytes at a time while it is unpacked.
const STEP: usize = 16 * 1024;

/// Sits between a socket and tungstenite: takes what the one has, and is read by the other.
#[derive(Debug)]
pub(super) struct Inflate {
    max_message_bytes: usize,
    place: Place,
    /// The compressed message whose end did not come yet.
    message: Option<Box<Message>>,
    /// What was not read yet.
    out: VecDeque<u8>,
}

/// Where in the stream of frames it is.
#[derive(Debug)]
enum Place {
    /// In the head of a frame, which begins like this.
    Head(Vec<u8>),
    /// In a frame that passes, with so many bytes to come.
    Passing(u64),
    /// In a frame of the compressed message.
    Inflating(Part),
    /// Behind a fault.
    Over,
}

#[derive(Debug)]
struct Part {
    left: u64,
    mask: [u8; 4],
    /// How many bytes of it came: where in the mask the next one is.
    taken: usize,
    is_last: bool,
}

/// Why reading ends.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The message is longer than a client may send.
    TooLong,
    /// It is not compressed as the RFC says.
    Broken,
}

impl Inflate {
    pub(super) fn new(max_message_bytes: usize) -> Self {
        Self { max_message_bytes, place: Place::Head(Vec::new()), message: None, out: VecDeque::new() }
    }

    /// Whether nothing that came is held here.
    pub(super) fn is_idle(&self) -> bool {
        let between_frames = matches!(&self.place, Place::Head(head) if head.is_empty());
        between_frames && self.message.is_none() && self.out.is_empty()
    }

    /// Takes in what came.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.step(bytes) {
                Ok(rest) => rest,
                Err(fault) => {
                    if fault == Fault::TooLong {
                        // To be refused like any message that is too long: by what its frame says of itself.
                        self.put_head(OpCode::Data(Data::Binary), self.max_message_bytes + 1);
                    }
                    self.place = Place::Over;
                    self.message = None;
                    &[]
                }
            };
        }
    }

    /// What is there to be read; 0 when more must be taken in first.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.out.is_empty() && matches!(self.place, Place::Over) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.out.read(buffer)
    }

    /// Takes in some of `bytes`, and gives the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Fault> {
        let (some, rest) = match &mut self.place {
            Place::Head(_) => bytes.split_at(1),
            Place::Passing(left) | Place::Inflating(Part { left, .. }) => {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= some as u64;
                bytes.split_at(some)
            }
            Place::Over => return Ok(&[]),
        };
        match &mut self.place {
            Place::Head(head) => {
                head.extend_from_slice(some);
                match FrameHeader::parse(&mut Cursor::new(&*head)) {
                    Ok(Some((header, length))) => self.begin(&header, length)?,
                    Ok(None) => {}
                    Err(_) => self.pass(u64::MAX),
                }
            }
            Place::Passing(_) => self.out.extend(some),
            Place::Inflating(part) => {
                let mask = part.mask.iter().cycle().skip(part.taken % part.mask.len());
                let unmasked: Vec<u8> = some.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
                part.taken += some.len();
                self.inflate(&unmasked)?;
            }
            Place::Over => {}
        }
        self.end_frame()?;
        Ok(rest)
    }

    /// Goes from the head of a frame to its content.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<(), Fault> {
        let compressed = header.rsv1 && !header.rsv2 && !header.rsv3;
        match (header.opcode, header.mask, &self.message) {
            (OpCode::Data(Data::Text | Data::Binary), Some(mask), None) if compressed => {
                self.message = Some(Box::new(Message::new(header.opcode)));
                self.place = Place::Inflating(Part { left: length, mask, taken: 0, is_last: header.is_final });
            }
            (OpCode::Data(Data::Continue), Some(mask), Some(_)) if !header.rsv1 => {
                self.place = Place::Inflating(Part { left: length, mask, taken: 0, is_last: header.is_final });
            }
            // tungstenite does not know that it is in the middle of a message.
            (OpCode::Data(_), _, Some(_)) => return Err(Fault::Broken),
            _ => self.pass(length),
        }
        Ok(())
    }

    /// Lets a frame pass that has so many bytes behind its head.
    fn pass(&mut self, length: u64) {
        if let Place::Head(head) = &self.place {
            self.out.extend(head);
        }
        self.place = Place::Passing(length);
    }

    /// If a frame is complete, goes on to the next; and if a compressed message is, lets it out.
    fn end_frame(&mut self) -> Result<(), Fault> {
        match &self.place {
            Place::Passing(0) => {}
            Place::Inflating(Part { left: 0, is_last: false, .. }) => {}
            Place::Inflating(Part { left: 0, is_last: true, .. }) => {
                self.inflate(&TAIL)?;
                if let Some(message) = self.message.take() {
                    self.put_head(message.opcode, message.content.len());
                    self.out.extend(&message.content);
                }
            }
            _ => return Ok(()),
        }
        self.place = Place::Head(Vec::new());
        Ok(())
    }

    fn inflate(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.message.as_mut().map_or(Ok(()), |message| message.inflate(bytes, self.max_message_bytes))
    }

    /// The head of a frame as a client writes it, with a mask that changes nothing.
    fn put_head(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
        header.format(length as u64, &mut self.out).expect("memory takes everything");
    }
}

/// A compressed message on its way.
#[derive(Debug)]
struct Message {
    opcode: OpCode,
    decompress: Decompress,
    content: Vec<u8>,
}

impl Message {
    fn new(opcode: OpCode) -> Self {
        Self { opcode, decompress: Decompress::new(false), content: Vec::new() }
    }

    /// Unpacks `bytes`, but not to more than `max_bytes` in all.
    fn inflate(&mut self, mut bytes: &[u8], max_bytes: usize) -> Result<(), Fault> {
        loop {
            if self.content.len() == self.content.capacity() {
                self.content.reserve_exact(STEP);
            }
            let (taken, given) = (self.decompress.total_in(), self.content.len());
            let status = self.decompress.decompress_vec(bytes, &mut self.content, FlushDecompress::Sync);
            let status = status.map_err(|_| Fault::Broken)?;
            let taken = self.decompress.total_in() - taken;
            bytes = &bytes[taken as usize..];
            if self.content.len() > max_bytes {
                return Err(Fault::TooLong);
            }
            if status == Status::StreamEnd {
                // RFC 7692, 7.2.3.5: what says that it is the last block need not be.
                self.decompress.reset(false);
            }
            if bytes.is_empty() && self.content.len() < self.content.capacity() {
                return Ok(());
            }
            let stands_still = taken == 0 && self.content.len() == given && status != Status::StreamEnd;
            if stands_still {
                return Err(Fault::Broken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;
    use tungstenite::{Error, WebSocket, protocol::Role};

    use super::*;

    const MAX: usize = 10_000;

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
        let just = deflate(&vec![b'x'; MAX], FlushCompress::Sync);
        let (messages, _) = read(&frame(0xc1, &just), &[1_000]);
        assert_eq!(messages, [tungstenite::Message::text("x".repeat(MAX))]);
    }
}
