//! The reading side of a WebSocket: tungstenite over the connection's socket.
//!
//! What tungstenite writes by itself (pongs, the answer to a close) goes into the connection's outbox like any other
//! frame, so that it never cuts through one.

use std::{
    io::{self, Read, Write},
    mem,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tungstenite::{
    Error, Message, WebSocket,
    error::{CapacityError, ProtocolError},
    protocol::{Role, WebSocketConfig},
};

use crate::{
    egress::ws::{
        Connection,
        frames::{Frames, TooMany},
        inflate::Inflate,
    },
    gate::{self, Charge},
    wire::status::Close,
};

/// Longer messages are read in steps of this size.
const READ_BUFFER: usize = 512;

/// How often the socket is read before other tasks get their turn.
const READS_PER_YIELD: usize = 256;

/// What is held of a message is charged in steps of so many bytes.
const CHARGED: usize = 1024;

/// What is shorter is a part of what a connection costs, as it is of an answer: a client that speaks in pieces is refused nothing
/// for it.
const FREE: usize = 16 * 1024;

/// Exists only while a client is speaking: see [`is_idle`](Self::is_idle).
#[derive(Debug)]
pub(super) struct Protocol {
    socket: WebSocket<TungsteniteIo>,
    unfinished: Option<Unfinished>,
}

/// A message whose end did not come with its beginning.
#[derive(Debug)]
struct Unfinished {
    charge: Charge,
    since: Instant,
    /// How many messages were finished before it.
    behind: u32,
}

/// How much a client may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProtocolLimits {
    /// How many bytes a message may have, unpacked.
    pub(super) max_message_bytes: NonZeroUsize,
    /// In how many fragments it may come.
    pub(super) max_fragments: NonZeroUsize,
}

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text message.
    Text(tungstenite::Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// Something that the protocol answers by itself.
    Control,
}

impl Incoming {
    /// How many bytes it has.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Control => 0,
        }
    }
}

impl Protocol {
    /// Over a socket from which `head` was read already.
    pub(super) fn new(connection: Arc<Connection>, head: Vec<u8>, limits: ProtocolLimits) -> Self {
        let max_message_bytes = limits.max_message_bytes.get();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let inflate = connection.deflates().then(|| Inflate::new(max_message_bytes));
        let frames = Frames::new(limits.max_fragments);
        let wire = BudgetedReader { connection, frames, too_many: false, reads: READS_PER_YIELD, spent: false };
        let mut socket = TungsteniteIo { wire, inflate };
        let head = socket.begin(head);
        Self { socket: WebSocket::from_partially_read(socket, head, Role::Server, Some(config)), unfinished: None }
    }

    /// Whether no part of a message is held here, so that another `Protocol` may take over when the client speaks again. It is
    /// asked when all that came was taken out.
    pub(super) fn is_idle(&self) -> bool {
        let socket = self.socket.get_ref();
        socket.wire.frames.is_between_messages() && socket.inflate.as_ref().is_none_or(Inflate::is_idle)
    }

    /// Counts what is held of a message whose end did not come yet, in what `charge` begins. It is asked when all that came was
    /// taken out: what came whole was never counted.
    pub(super) fn account(&mut self, charge: impl FnOnce() -> Charge) -> Result<(), gate::Error> {
        if self.is_idle() {
            self.unfinished = None;
            return Ok(());
        }
        let socket = self.socket.get_ref();
        let behind = socket.wire.frames.finished();
        let bytes = socket.wire.frames.unfinished_bytes() + socket.inflate.as_ref().map_or(0, Inflate::held_bytes);
        let begin = || Unfinished { charge: charge(), since: Instant::now(), behind };
        let unfinished = self.unfinished.get_or_insert_with(begin);
        if unfinished.behind != behind {
            unfinished.since = Instant::now();
            unfinished.behind = behind;
        }
        unfinished.charge.set(if bytes < FREE { 0 } else { bytes / CHARGED * CHARGED })
    }

    /// Gives the message that is unfinished so much more time: the client was not listened to.
    pub(super) fn put_off(&mut self, time: Duration) {
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.since += time;
        }
    }

    /// Since when a message has been unfinished, but for the time in which the client was not listened to.
    pub(super) fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished.as_ref().map(|unfinished| unfinished.since)
    }

    /// How many frames came, since this was asked last, that continue a message.
    pub(super) fn take_continuations(&mut self) -> u32 {
        self.socket.get_mut().wire.frames.take_continuations()
    }

    /// Whether reading stopped for the sake of others, and begins the next turn.
    pub(super) fn take_spent(&mut self) -> bool {
        let wire = &mut self.socket.get_mut().wire;
        wire.reads = READS_PER_YIELD;
        mem::take(&mut wire.spent)
    }

    /// The next message that is complete; `None` when there is none yet. An error says how the connection ends.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Close> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(Incoming::Text(text))),
            Ok(Message::Binary(bytes)) => Ok(Some(Incoming::Binary(bytes))),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Some(Incoming::Control)),
            Ok(Message::Close(_)) => {
                // Writing goes into the outbox, which refuses nothing.
                let _ = self.socket.flush();
                Err(Close::ByClient)
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(Error::Io(_)) if self.socket.get_ref().wire.too_many => Err(Close::TooManyFragments),
            Err(Error::Io(_)) if self.socket.get_ref().is_broken() => Err(Close::BadProtocol),
            Err(error) => Err(fault(&error)),
        }
    }
}

fn fault(error: &Error) -> Close {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Close::TooBig,
        Error::Utf8(_) => Close::NotUtf8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Close::Vanished,
        Error::Protocol(_) => Close::BadProtocol,
        _ => Close::Vanished,
    }
}

/// The connection's socket, read from directly and written to through the outbox.
#[derive(Debug)]
struct TungsteniteIo {
    wire: BudgetedReader,
    inflate: Option<Inflate>,
}

/// What comes from the client.
#[derive(Debug)]
struct BudgetedReader {
    connection: Arc<Connection>,
    frames: Frames,
    /// A message has more fragments than it may: nothing more is read.
    too_many: bool,
    /// How many reads are left in this turn. tungstenite reads until a message is complete, and a client may never
    /// complete one.
    reads: usize,
    /// Reading stopped at that limit and not for want of data.
    spent: bool,
}

impl BudgetedReader {
    /// Takes note of what came. What came with a fragment too many is still looked at, as far as it was complete before.
    fn note(&mut self, bytes: &[u8]) {
        self.too_many |= self.frames.follow(bytes) == Err(TooMany);
    }
}

impl Read for BudgetedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.too_many {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if self.reads == 0 {
            self.spent = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.reads -= 1;
        let bytes = self.connection.socket().try_read(buffer)?;
        self.connection.heard();
        self.note(&buffer[..bytes]);
        Ok(bytes)
    }
}

impl TungsteniteIo {
    /// Takes in what came with the handshake, and gives what of it tungstenite is to begin with.
    fn begin(&mut self, head: Vec<u8>) -> Vec<u8> {
        self.wire.note(&head);
        match &mut self.inflate {
            Some(inflate) => {
                inflate.take(&head);
                Vec::new()
            }
            None => head,
        }
    }
}

impl TungsteniteIo {
    /// Whether what came cannot be unpacked.
    fn is_broken(&self) -> bool {
        self.inflate.as_ref().is_some_and(Inflate::is_over)
    }
}

impl Read for TungsteniteIo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inflate) = &mut self.inflate else { return self.wire.read(buffer) };
        loop {
            let bytes = inflate.read(buffer)?;
            if bytes > 0 {
                return Ok(bytes);
            }
            let mut packed = [0; READ_BUFFER];
            match self.wire.read(&mut packed)? {
                0 => return Ok(0),
                bytes => inflate.take(&packed[..bytes]),
            }
        }
    }
}

impl Write for TungsteniteIo {
    /// Takes whole frames: tungstenite writes no parts, and the outbox refuses nothing.
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.wire.connection.reply(Bytes::copy_from_slice(frames));
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
