//! One subscriber's socket, as the rooms see it.

mod handle;

use std::{
    io::{ErrorKind, IoSlice},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    clock::Clock,
    delivery::outbox::CatchUpPage,
    domain::{Break, Delivery, Epoch, Seq},
    egress::{
        session::Session,
        ws::{
            OutboundFrame,
            send_state::{SendState, SocketState},
        },
    },
    listen::Socket,
    rooms::Member,
    wire::{frame, json, status::Close},
};

/// How many frames go into one write.
const FRAMES_PER_WRITE: usize = 64;

/// A client's socket with what waits for it.
///
/// The fan-out and the session's task both write, each under the lock of [`SendState`], which is never held over an await.
#[derive(Debug)]
pub(in crate::egress) struct Connection {
    session: Session,
    socket: Socket,
    /// The client and the service may compress what they say.
    deflates: bool,
    send_state: Mutex<SendState>,
    /// Calls the session's task: there is something that the fan-out cannot do.
    wake: Notify,
    /// The client said something since it was last pinged.
    heard: AtomicBool,
    clock: Arc<dyn Clock>,
}

/// What the session's task has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    /// Wait for the client, for a call, and, when `blocked`, for the socket. While `full`, the client is not listened to.
    Wait { blocked: bool, full: bool },
    /// Read what the client said, for it has not answered a ping so far.
    Judge,
    /// Read the journal after this position.
    CatchUp(Seq),
    /// Send the client away, for the journal is another one.
    StartAnew,
    /// Say goodbye.
    Close(Close),
    /// Nothing more can be done.
    Stop,
}

impl Connection {
    /// What `session` is carried by; of what it is sent at most `max_bytes` wait.
    pub(super) fn new(session: Session, socket: Socket, max_bytes: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            session,
            socket,
            deflates: false,
            send_state: Mutex::new(SendState::new(max_bytes)),
            wake: Notify::new(),
            heard: AtomicBool::new(true),
            clock,
        }
    }

    /// Compresses, if that was agreed upon.
    pub(super) fn deflating(mut self, deflates: bool) -> Self {
        self.deflates = deflates;
        self
    }

    pub(super) fn deflates(&self) -> bool {
        self.deflates
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until somebody has something for the session's task.
    pub(super) async fn called(&self) {
        self.wake.notified().await;
    }

    /// Begins delivery after `cursor`, with `first`; not if the connection was closed meanwhile. Answers whether it did.
    pub(super) fn open(&self, (cursor, epoch): (Seq, Epoch), resumed: bool, first: Bytes) -> bool {
        let mut sending = self.send_state.lock();
        if sending.state != SocketState::Open {
            return false;
        }
        sending.epoch = Some(epoch);
        if resumed {
            sending.outbox.open_behind(cursor, Some(first.into()));
        } else {
            sending.outbox.open(cursor, Some(first.into()));
        }
        self.write(&mut sending);
        true
    }

    /// Queues an answer to the client, behind everything that waits.
    pub(super) fn reply(&self, frame: Bytes) {
        let mut sending = self.send_state.lock();
        if sending.state == SocketState::Open {
            sending.outbox.push(frame.into());
            self.write(&mut sending);
        }
    }

    /// Queues what the journal holds after the cursor.
    pub(super) fn fill(&self, page: CatchUpPage<OutboundFrame>) {
        let mut sending = self.send_state.lock();
        if sending.state == SocketState::Open {
            sending.outbox.fill(page, |from, to| frame::text(&json::gap(from, to)).into());
            self.write(&mut sending);
        }
    }

    /// What the session's task has to do now.
    pub(super) fn todo(&self) -> Todo {
        let mut sending = self.send_state.lock();
        let todo = match sending.state {
            SocketState::Broken => Todo::Stop,
            SocketState::Closing(close) => Todo::Close(close),
            SocketState::Open if sending.outbox.is_over() => Todo::StartAnew,
            SocketState::Open if sending.doubted && !sending.outbox.is_full() => Todo::Judge,
            SocketState::Open if sending.outbox.is_behind() && sending.outbox.is_empty() => {
                Todo::CatchUp(sending.outbox.cursor())
            }
            SocketState::Open => Todo::Wait { blocked: sending.blocked, full: sending.outbox.is_full() },
        };
        sending.catching_up = matches!(todo, Todo::CatchUp(_));
        todo
    }

    /// Closes the connection if its client has said nothing since it was pinged, and was `heard_out`.
    pub(super) fn judge(&self, heard_out: bool) {
        let mut sending = self.send_state.lock();
        let is_silent = !self.heard.load(Ordering::Relaxed);
        sending.doubted = is_silent && !heard_out;
        if is_silent && heard_out && !sending.blocked {
            self.close_in(&mut sending, Close::Unresponsive);
        }
    }

    /// Whether everything was written.
    pub(super) fn is_drained(&self) -> bool {
        self.send_state.lock().outbox.is_empty() && self.socket.is_flushed()
    }

    fn close_in(&self, sending: &mut SendState, close: Close) {
        if sending.state != SocketState::Open {
            return;
        }
        sending.state = SocketState::Closing(close);
        let half_written = usize::from(sending.written > 0);
        sending.outbox.shut(if close == Close::GoingAway { usize::MAX } else { half_written });
        if let Some((code, reason)) = close.frame() {
            sending.outbox.push(frame::close(code, reason).into());
        }
        self.write(sending);
        self.wake.notify_one();
    }

    /// Notes that the client said something.
    pub(super) fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// The journal is another one. A client that was told of a position is told to come back, by the session's task; one that was
    /// not told yet holds none.
    fn end_journal(&self, sending: &mut SendState) {
        if sending.outbox.is_listening() {
            sending.outbox.end();
            self.wake.notify_one();
        } else {
            self.close_in(sending, Close::GoingAway);
        }
    }

    /// Writes what waits, as far as the socket takes it, and calls the session's task for the rest.
    fn write(&self, sending: &mut SendState) {
        if sending.blocked {
            sending.drop_expired(self.clock.wall());
        }
        // The session's task may have seen the queue full, and not be listening to its client.
        let was_full = sending.outbox.is_full();
        loop {
            sending.outbox.tell_dropped(|count| self.dropped(count));
            if sending.outbox.is_empty() && self.socket.is_flushed() {
                break;
            }
            match self.write_some(sending) {
                Ok(bytes) => sending.advance(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    sending.stalled_since.get_or_insert_with(Instant::now);
                    // While the socket is full the task waits for it, and need not be called again.
                    if !mem::replace(&mut sending.blocked, true) || (was_full && !sending.outbox.is_full()) {
                        self.wake.notify_one();
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.fail(sending),
            }
        }
        sending.blocked = false;
        sending.stalled_since = None;
        if was_full || (sending.outbox.is_behind() && !sending.catching_up) {
            self.wake.notify_one();
        }
    }

    /// Tells the client that so much did not fit.
    fn dropped(&self, count: u32) -> OutboundFrame {
        frame::text(&json::dropped(count, self.clock.wall())).into()
    }

    /// Takes in a frame that nobody keeps. Before anything counts as not fitting, the socket is tried, unless it is known to be full:
    /// what waits may only wait for the end of a batch.
    fn enqueue_ephemeral(&self, sending: &mut SendState, frame: OutboundFrame) {
        if sending.outbox.is_full() && (!sending.blocked || self.socket.is_writable()) {
            self.write(sending);
        }
        // One that did not fit is counted there, and told when there is room.
        let _ = sending.outbox.offer_ephemeral(frame);
    }

    fn write_some(&self, sending: &SendState) -> std::io::Result<usize> {
        let mut waiting = sending.outbox.waiting();
        // Mostly one frame waits, and making room for many would cost more than all else that is done for it here.
        if let (Some(frame), None) = (waiting.next(), waiting.next()) {
            return self.socket.try_write(&[IoSlice::new(&frame.bytes[sending.written..])]);
        }
        let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(sending.outbox.waiting()) {
            *slice = IoSlice::new(if count == 0 { &frame.bytes[sending.written..] } else { &frame.bytes });
            count += 1;
        }
        self.socket.try_write(&slices[..count])
    }

    fn fail(&self, sending: &mut SendState) {
        sending.state = SocketState::Broken;
        sending.outbox.shut(0);
        self.wake.notify_one();
    }
}

impl Member for Connection {
    fn enqueue(&self, delivery: &Delivery) -> bool {
        let mut sending = self.send_state.lock();
        match delivery {
            Delivery::Notification(publication) => {
                sending.outbox.offer(publication.notification.seq, || OutboundFrame::live(publication, self.deflates));
            }
            Delivery::Ephemeral(ephemeral) if ephemeral.except.as_ref() == Some(self.session.client_id()) => {
                return false;
            }
            Delivery::Ephemeral(ephemeral) => {
                self.enqueue_ephemeral(&mut sending, OutboundFrame::ephemeral(ephemeral, self.deflates));
            }
            // That interrupts.
            Delivery::Break(_) => return false,
        }
        sending.mark_flush_pending()
    }

    fn interrupt(&self, interruption: &Break) -> bool {
        let mut sending = self.send_state.lock();
        match interruption {
            Break::Behind(until) => sending.outbox.behind(*until),
            Break::Lost(range) => {
                sending.outbox.lost(range.clone(), |from, to| frame::text(&json::gap(from, to)).into());
            }
            Break::Anew => self.end_journal(&mut sending),
        }
        sending.mark_flush_pending()
    }

    fn flush(&self) {
        let mut sending = self.send_state.lock();
        sending.flush_pending = false;
        self.write(&mut sending);
    }

    fn name(&self) -> &str {
        self.session.client_id().as_str()
    }
}

#[cfg(test)]
mod tests;
