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

use crate::{egress::ws::Connection, wire::status::Close};

/// The buffer that an idle connection holds for what its client may say. Longer messages are read in steps of this size.
const READ_BUFFER: usize = 512;

#[derive(Debug)]
pub(super) struct Protocol(WebSocket<Socket>);

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
    /// Over a socket from which `head` was read already. It is copied: what it was read into is much larger.
    pub(super) fn new(connection: Arc<Connection>, head: &[u8], max_message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        Self(WebSocket::from_partially_read(Socket(connection), head.to_vec(), Role::Server, Some(config)))
    }

    /// The next message that is complete; `None` when there is none yet. An error says how the connection ends.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Close> {
        match self.0.read() {
            Ok(Message::Text(text)) => Ok(Some(Incoming::Text(text))),
            Ok(Message::Binary(bytes)) => Ok(Some(Incoming::Binary(bytes))),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Some(Incoming::Control)),
            // The answer is written by the next read.
            Ok(Message::Close(_)) => self.0.flush().map_or(Err(Close::ByClient), |()| Err(Close::ByClient)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
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
struct Socket(Arc<Connection>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.socket().try_read(buffer)?;
        self.0.heard();
        Ok(bytes)
    }
}

impl Write for Socket {
    /// Takes whole frames: tungstenite writes no parts, and the outbox refuses nothing.
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.0.reply(Bytes::copy_from_slice(frames));
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
