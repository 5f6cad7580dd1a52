//! What a connection has to write, and how far it has come.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{
    delivery::outbox::{Frame, Outbox},
    domain::Epoch,
    egress::ws::OutboundFrame,
    wire::status::Close,
};

/// The frames that wait for a socket, and how the socket is.
#[derive(Debug)]
pub(super) struct SendState {
    pub(super) outbox: Outbox<OutboundFrame>,
    /// How much of the first frame is written already.
    pub(super) written: usize,
    /// The epoch of the positions that the client was told of; none before it was told that it is connected.
    pub(super) epoch: Option<Epoch>,
    /// A flush was asked for and did not come yet.
    pub(super) flush_pending: bool,
    /// The socket is full: the session's task waits for it and flushes.
    pub(super) blocked: bool,
    /// The session's task was told to catch up, and asks again when it has: until then it need not be called for that.
    pub(super) catching_up: bool,
    /// The client has not answered a ping, as far as it was listened to.
    pub(super) doubted: bool,
    /// Since when the socket has taken nothing.
    pub(super) stalled_since: Option<Instant>,
    pub(super) state: SocketState,
}

/// Whether anything more will be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    Open,
    /// The close frame is queued and nothing comes after it.
    Closing(Close),
    /// The socket failed.
    Broken,
}

impl SendState {
    /// Makes a state in which nothing waits yet; what will wait is bounded by `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            outbox: Outbox::new(max_bytes),
            written: 0,
            epoch: None,
            flush_pending: false,
            blocked: false,
            catching_up: false,
            doubted: false,
            stalled_since: None,
            state: SocketState::Open,
        }
    }

    /// Takes out what was written.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.stalled_since = None;
        self.written += bytes;
        while let Some(length) = self.outbox.first().map(Frame::size)
            && self.written >= length
        {
            self.written -= length;
            self.outbox.pop();
        }
    }

    /// Drops what is of no use any more at `now`, but for a frame that is half written.
    pub(super) fn drop_expired(&mut self, now: DateTime<Utc>) {
        let half_written = usize::from(self.written > 0);
        self.outbox.retain_after(half_written, |frame| !frame.is_expired(now));
    }

    /// Whether a flush is needed that nobody was asked for yet.
    pub(super) fn mark_flush_pending(&mut self) -> bool {
        let waits = !self.outbox.is_empty() || self.outbox.is_behind();
        let is_news = waits && !self.flush_pending && !self.blocked;
        self.flush_pending |= is_news;
        is_news
    }
}
