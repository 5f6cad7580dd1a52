//! Unpacks the messages of a client that agreed to permessage-deflate (RFC 7692), so that tungstenite, which knows no extension,
//! reads what a client without compression would have sent.
//!
//! Frames pass as they are; only a compressed message becomes one frame. What breaks the rules
//! of the extension ends reading; what breaks those of the protocol passes, for tungstenite to refuse.

use std::{
    collections::VecDeque,
    io::{self, Cursor, Read},
    mem,
};

use flate2::{Decompress, FlushDecompress, Status};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

use crate::wire::deflate::TAIL;

/// A message grows by so many bytes at a time while it is unpacked.
const STEP: usize = 16 * 1024;

/// What unpacking takes besides what comes of it: the last 32 KiB, which what follows may refer to, and tables.
const UNPACKING: usize = 48 * 1024;

/// Sits between a socket and tungstenite: takes what the one has, and is read by the other.
#[derive(Debug)]
pub(super) struct Inflate {
    max_message_bytes: usize,
    /// What was taken in, and how much of it was looked at.
    packed: Vec<u8>,
    looked_at: usize,
    state: ParserState,
    /// The compressed message whose end did not come yet.
    message: Option<Box<Message>>,
    /// What was not read yet.
    out: VecDeque<u8>,
}

/// Where in the stream of frames it is.
#[derive(Debug)]
enum ParserState {
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
        Self {
            max_message_bytes,
            packed: Vec::new(),
            looked_at: 0,
            state: ParserState::Head(Vec::new()),
            message: None,
            out: VecDeque::new(),
        }
    }

    /// Whether nothing that came is held here.
    pub(super) fn is_idle(&self) -> bool {
        let between_frames = matches!(&self.state, ParserState::Head(head) if head.is_empty());
        between_frames && self.message.is_none() && self.out.is_empty() && self.looked_at == self.packed.len()
    }

    /// How many bytes are held here of what is unfinished or was not read.
    pub(super) fn held_bytes(&self) -> usize {
        let unpacked = self.message.as_ref().map_or(0, |message| UNPACKING + message.content.capacity());
        self.packed.capacity() + self.out.capacity() + unpacked
    }

    /// Whether what came cannot be understood, nor anything after it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, ParserState::Over)
    }

    /// Takes in what came.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.packed.drain(..self.looked_at);
        self.looked_at = 0;
        self.packed.extend_from_slice(bytes);
    }

    /// What is there to be read; 0 when more must be taken in first. No more is unpacked than is asked for, but for the rest of
    /// a message.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let packed = mem::take(&mut self.packed);
        while self.out.is_empty() && self.looked_at < packed.len() && !self.is_over() {
            match self.step(&packed[self.looked_at..]) {
                Ok(taken) => self.looked_at += taken,
                Err(fault) => self.end(&fault),
            }
        }
        self.packed = packed;
        if self.out.is_empty() && self.is_over() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.out.read(buffer)
    }

    fn end(&mut self, fault: &Fault) {
        if *fault == Fault::TooLong {
            // To be refused like any message that is too long: by what its frame says of itself.
            self.put_head(OpCode::Data(Data::Binary), self.max_message_bytes + 1);
        }
        self.state = ParserState::Over;
        self.message = None;
    }

    /// Takes in some of `bytes`, and says how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let some = match &mut self.state {
            ParserState::Head(_) => &bytes[..1],
            ParserState::Passing(left) | ParserState::Inflating(Part { left, .. }) => {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= some as u64;
                &bytes[..some]
            }
            ParserState::Over => bytes,
        };
        match &mut self.state {
            ParserState::Head(head) => {
                head.extend_from_slice(some);
                match FrameHeader::parse(&mut Cursor::new(&*head)) {
                    Ok(Some((header, length))) => self.begin(&header, length)?,
                    Ok(None) => {}
                    Err(_) => self.pass(u64::MAX),
                }
            }
            ParserState::Passing(_) => self.out.extend(some),
            ParserState::Inflating(part) => {
                let mask = part.mask.iter().cycle().skip(part.taken % part.mask.len());
                let unmasked: Vec<u8> = some.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
                part.taken += some.len();
                self.inflate(&unmasked)?;
            }
            ParserState::Over => {}
        }
        self.end_frame()?;
        Ok(some.len())
    }

    /// Goes from the head of a frame to its content.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<(), Fault> {
        let reserved = (header.rsv1, header.rsv2, header.rsv3);
        match (header.opcode, header.mask, &mut self.message) {
            (OpCode::Data(Data::Text | Data::Binary), Some(mask), message @ None)
                if reserved == (true, false, false) =>
            {
                *message = Some(Box::new(Message::new(header.opcode)));
                self.inflate_frame(header, mask, length)
            }
            (OpCode::Data(Data::Continue), Some(mask), Some(_)) if reserved == (false, false, false) => {
                self.inflate_frame(header, mask, length)
            }
            // tungstenite does not know that it is in the middle of a message.
            (OpCode::Data(_), _, Some(_)) => Err(Fault::Broken),
            _ => {
                self.pass(length);
                Ok(())
            }
        }
    }

    /// Begins to unpack a frame of the message. Packing makes nothing much longer, and there are ways to say nothing for ever.
    fn inflate_frame(&mut self, header: &FrameHeader, mask: [u8; 4], length: u64) -> Result<(), Fault> {
        if let Some(message) = &mut self.message {
            message.packed = message.packed.saturating_add(length);
            if message.packed > 2 * self.max_message_bytes as u64 {
                return Err(Fault::TooLong);
            }
        }
        self.state = ParserState::Inflating(Part { left: length, mask, taken: 0, is_last: header.is_final });
        Ok(())
    }

    /// Lets a frame pass that has so many bytes behind its head.
    fn pass(&mut self, length: u64) {
        if let ParserState::Head(head) = &self.state {
            self.out.extend(head);
        }
        self.state = ParserState::Passing(length);
    }

    /// If a frame is complete, goes on to the next; and if a compressed message is, lets it out.
    fn end_frame(&mut self) -> Result<(), Fault> {
        match &self.state {
            ParserState::Passing(0) => {}
            ParserState::Inflating(Part { left: 0, is_last: false, .. }) => {}
            ParserState::Inflating(Part { left: 0, is_last: true, .. }) => {
                self.inflate(&TAIL)?;
                if let Some(message) = self.message.take() {
                    self.put_head(message.opcode, message.content.len());
                    self.out.extend(&message.content);
                }
            }
            _ => return Ok(()),
        }
        self.state = ParserState::Head(Vec::new());
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
    /// How long its frames say that it is.
    packed: u64,
    decompress: Decompress,
    content: Vec<u8>,
}

impl Message {
    fn new(opcode: OpCode) -> Self {
        Self { opcode, packed: 0, decompress: Decompress::new(false), content: Vec::new() }
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
                // RFC 7692, 7.2.3.4: what says that it is the last block need not be.
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
mod tests;
