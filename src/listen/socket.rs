//! The socket of a connection that was upgraded: no longer HTTP's, and read from and written to without waiting.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

/// A client's socket. Several may use it at a time; what is written by two at once is mixed.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp }
    }
}

impl Socket {
    /// Takes the socket out of HTTP, with what was read already; `None` when the connection is none of this listener's.
    pub fn of_upgraded(upgraded: Upgraded) -> Option<(Self, Vec<u8>)> {
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
        // The head is copied: what it was read into is much larger.
        Some((parts.io.into_inner().into(), parts.read_buf.to_vec()))
    }

    /// Reads what is there; 0 at the end, and `WouldBlock` when nothing is there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.try_read(buffer)
    }

    /// Writes as much as fits, and `WouldBlock` when nothing does.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match slices {
            [slice] => self.tcp.try_write(slice),
            slices => self.tcp.try_write_vectored(slices),
        };
        if matches!(written, Ok(0)) { Err(ErrorKind::WriteZero.into()) } else { written }
    }

    /// Whether there may be something to read.
    ///
    /// This is polled, and not awaited: polling takes the socket's one place for a reader's waker, in which hyper's task
    /// would otherwise be kept alive for as long as the connection.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_read_ready(cx)
    }

    /// Whether something may fit.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Tells the client that nothing more will be written.
    pub fn shut_down(&self) {
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }
}
