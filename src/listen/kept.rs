//! The stream of an HTTP/1.1 connection: a client has a time for each head, and another between its requests.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::listen::{Options, Stream, places::ConnectionStanding};

/// A connection on which a client that takes too long is hung up on.
///
/// hyper has one time for a head and what comes before it, and knows no difference between a client that has begun a head and
/// one that asks for nothing. So the stream looks: what comes while no request is in hand begins the next head.
#[derive(Debug)]
pub(super) struct Kept {
    stream: Stream,
    standing: ConnectionStanding,
    /// How long a head may take, from its first byte on; the first one from the beginning.
    head: Duration,
    /// How long there may be none.
    idle: Duration,
    waiting: Option<Waiting>,
    /// Behind how many requests the client had all its answers.
    flushed: usize,
}

/// A head is waited for.
#[derive(Debug)]
struct Waiting {
    /// How many requests there were before it.
    behind: usize,
    has_begun: bool,
    patience: Pin<Box<Sleep>>,
}

impl Kept {
    pub(super) fn new(stream: Stream, standing: ConnectionStanding, options: &Options) -> Self {
        let (head, idle) = (options.handshake_timeout, options.idle_timeout);
        Self { stream, standing, head, idle, waiting: None, flushed: 0 }
    }

    /// The connection itself.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// What is waited for, if no request is in hand and the client was sent all its answers: hyper lets go of an answer when it
    /// has it, and the system need not have it then.
    fn waiting(&mut self) -> Option<&mut Waiting> {
        let behind = self.standing.begun();
        if self.standing.is_busy() || behind > self.flushed {
            return None;
        }
        if self.waiting.as_ref().is_none_or(|waiting| waiting.behind != behind) {
            let is_first = behind == 0;
            let patience = Box::pin(sleep(if is_first { self.head } else { self.idle }));
            self.waiting = Some(Waiting { behind, has_begun: is_first, patience });
        }
        self.waiting.as_mut()
    }
}

impl AsyncRead for Kept {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let head = this.head;
        let Some(waiting) = this.waiting() else { return read };
        if buffer.filled().len() > before && !waiting.has_begun {
            waiting.has_begun = true;
            waiting.patience.as_mut().reset(Instant::now() + head);
        }
        if read.is_pending() && waiting.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Kept {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// hyper flushes the stream when it has written all that it had: a client without a request in hand is idle then.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let begun = self.standing.begun();
        if begun > self.flushed && !self.standing.is_busy() {
            self.flushed = begun;
            self.standing.rest();
            // hyper reads again only when the client sends something: until then this is what wakes it.
            if let Some(waiting) = self.waiting() {
                let _ = waiting.patience.as_mut().poll(cx);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
