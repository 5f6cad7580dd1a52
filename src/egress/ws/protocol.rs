//! The reading side of a WebSocket: tungstenite over the connection's socket.
//!
//! What tungstenite writes by itself (pongs, the answer to a close) goes into the connection's outbox like any other
//! frame, so that it never cuts through one.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use tungstenite::{
    Error, Message, WebSocket,
    error::{CapacityError, ProtocolError},
    protocol::{Role, WebSocketConfig},
};

use crate::{
    egress::ws::{Connection, inflate::Inflate},
    wire::status::Close,
};

/// Longer messages are read in steps of this size.
const READ_BUFFER: usize = 512;

/// How often the socket is read before other tasks get their turn.
const READS_PER_TURN: usize = 256;

/// Exists only while a client is speaking: see [`is_idle`](Self::is_idle).
#[derive(Debug)]
pub(super) struct Protocol {
    socket: WebSocket<Socket>,
    /// How long the messages that came out are on the wire, at the least.
    framed: u64,
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

impl Protocol {
    /// Over a socket from which `head` was read already.
    pub(super) fn new(connection: Arc<Connection>, head: Vec<u8>, max_message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let inflate = connection.deflates().then(|| Inflate::new(max_message_bytes));
        let wire = Wire { connection, reads: READS_PER_TURN, spent: false };
        let mut socket = Socket { wire, inflate, bytes: 0 };
        let head = socket.begin(head);
        Self { socket: WebSocket::from_partially_read(socket, head, Role::Server, Some(config)), framed: 0 }
    }

    /// Whether no part of a message is held here, so that another `Protocol` may take over when the client speaks again.
    ///
    /// What the messages took is counted as if each had come in one frame with the shortest header. One that did not
    /// makes the count fall short for good: then this one stays.
    pub(super) fn is_idle(&self) -> bool {
        let socket = self.socket.get_ref();
        socket.bytes == self.framed && socket.inflate.as_ref().is_none_or(Inflate::is_idle)
    }

    /// Whether reading stopped for the sake of others, and begins the next turn.
    pub(super) fn take_spent(&mut self) -> bool {
        let wire = &mut self.socket.get_mut().wire;
        wire.reads = READS_PER_TURN;
        std::mem::take(&mut wire.spent)
    }

    /// The next message that is complete; `None` when there is none yet. An error says how the connection ends.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Close> {
        let message = self.socket.read();
        if let Ok(message) = &message {
            self.framed += shortest_frame(message.len());
        }
        match message {
            Ok(Message::Text(text)) => Ok(Some(Incoming::Text(text))),
            Ok(Message::Binary(bytes)) => Ok(Some(Incoming::Binary(bytes))),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Some(Incoming::Control)),
            Ok(Message::Close(_)) => {
                // Writing goes into the outbox, which refuses nothing.
                let _ = self.socket.flush();
                Err(Close::ByClient)
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(Error::Io(_)) if self.socket.get_ref().is_broken() => Err(Close::BadProtocol),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// How long a client's frame around `length` bytes is: it has a mask of four bytes, and a length of one, three or nine.
fn shortest_frame(length: usize) -> u64 {
    let header = match length {
        0..=125 => 6,
        126..=65_535 => 8,
        _ => 14,
    };
    header + length as u64
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
struct Socket {
    wire: Wire,
    inflate: Option<Inflate>,
    /// How much was read, unpacked.
    bytes: u64,
}

/// What comes from the client.
#[derive(Debug)]
struct Wire {
    connection: Arc<Connection>,
    /// How many reads are left in this turn. tungstenite reads until a message is complete, and a client may never
    /// complete one.
    reads: usize,
    /// Reading stopped at that limit and not for want of data.
    spent: bool,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reads == 0 {
            self.spent = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.reads -= 1;
        let bytes = self.connection.socket().try_read(buffer)?;
        self.connection.heard();
        Ok(bytes)
    }
}

impl Socket {
    /// Takes in what came with the handshake, and gives what of it tungstenite is to begin with.
    fn begin(&mut self, head: Vec<u8>) -> Vec<u8> {
        match &mut self.inflate {
            Some(inflate) => {
                inflate.take(&head);
                Vec::new()
            }
            None => {
                self.bytes = head.len() as u64;
                head
            }
        }
    }
}

impl Socket {
    /// Whether what came cannot be unpacked.
    fn is_broken(&self) -> bool {
        self.inflate.as_ref().is_some_and(Inflate::is_over)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = match &mut self.inflate {
            None => self.wire.read(buffer)?,
            Some(inflate) => loop {
                let bytes = inflate.read(buffer)?;
                if bytes > 0 {
                    break bytes;
                }
                let mut packed = [0; READ_BUFFER];
                match self.wire.read(&mut packed)? {
                    0 => break 0,
                    bytes => inflate.take(&packed[..bytes]),
                }
            },
        };
        self.bytes += bytes as u64;
        Ok(bytes)
    }
}

impl Write for Socket {
    /// Takes whole frames: tungstenite writes no parts, and the outbox refuses nothing.
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.wire.connection.reply(Bytes::copy_from_slice(frames));
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
