//! One subscriber's socket, as the rooms see it.

mod liveness;

use std::{
    io::{ErrorKind, IoSlice},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    clock::Clock,
    domain::{ClientId, Delivery, Epoch, RoomId, Seq, UserId},
    egress::{
        ClientInfo,
        outbox::Filling,
        session::{
            attempt::{Attempt, Dial, Moment},
            registry::Owner,
        },
        ws::{
            Outgoing,
            out::{Out, State},
        },
    },
    gate::Permit,
    listen::Socket,
    rooms::Member,
    wire::{frame, status::Close, text},
};

/// How many frames go into one write.
const FRAMES_PER_WRITE: usize = 64;

/// A client's socket with what waits for it.
///
/// The fan-out and the session's task both write, each under the lock of [`Out`], which is never held over an await.
#[derive(Debug)]
pub(in crate::egress) struct Connection {
    number: u32,
    client_id: ClientId,
    user_id: Option<UserId>,
    connected_at: DateTime<Utc>,
    /// Which dial it comes from, and when it began; not as a [`Dial`], whose padding would be held, too.
    attempt: Option<Attempt>,
    began: Moment,
    rooms: Mutex<Arc<[RoomId]>>,
    socket: Socket,
    /// The client and the service may compress what they say.
    deflates: bool,
    out: Mutex<Out>,
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
    /// Read the journal after this place.
    CatchUp(Seq),
    /// Say goodbye.
    Close(Close),
    /// Nothing more can be done.
    Stop,
}

impl Connection {
    /// `number` spreads the pings of the connections over time.
    pub(super) fn new(
        number: u32,
        (client_id, user_id, permit): (ClientId, Option<UserId>, Permit),
        rooms: &[RoomId],
        socket: Socket,
        max_bytes: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            number,
            client_id,
            user_id,
            connected_at: clock.wall(),
            attempt: None,
            began: Moment::new(clock.monotonic()),
            rooms: Mutex::new(rooms.into()),
            socket,
            deflates: false,
            out: Mutex::new(Out::new(max_bytes, permit)),
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

    /// Comes from this dial of its client.
    pub(super) fn dialled(mut self, attempt: Option<Attempt>) -> Self {
        self.attempt = attempt;
        self
    }

    pub(in crate::egress) fn dial(&self) -> Dial {
        Dial { attempt: self.attempt, at: self.began }
    }

    pub(super) fn deflates(&self) -> bool {
        self.deflates
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(in crate::egress) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    pub(in crate::egress) fn user_id(&self) -> Option<&UserId> {
        self.user_id.as_ref()
    }

    /// Whose it is, by the token that it is open under now.
    pub(in crate::egress) fn owner(&self) -> Owner {
        Owner::new(&self.out.lock().permit, self.user_id.clone())
    }

    /// Whether it is open under the token with this id.
    pub(in crate::egress) fn has_token(&self, id: &str) -> bool {
        self.out.lock().permit.identity().is_some_and(|identity| identity.token_id.as_deref() == Some(id))
    }

    /// Goes on under another permit.
    pub(super) fn renew(&self, permit: Permit) {
        let mut out = self.out.lock();
        out.permit = permit;
        out.expired_since = None;
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn rooms(&self) -> Arc<[RoomId]> {
        Arc::clone(&self.rooms.lock())
    }

    pub(super) fn set_rooms(&self, rooms: &[RoomId]) {
        *self.rooms.lock() = rooms.into();
    }

    pub(in crate::egress) fn info(&self) -> ClientInfo {
        ClientInfo {
            client_id: self.client_id.clone(),
            user_id: self.user_id.clone(),
            rooms: self.rooms(),
            connected_at: self.connected_at,
        }
    }

    /// Waits until somebody has something for the session's task.
    pub(super) async fn called(&self) {
        self.wake.notified().await;
    }

    /// Begins delivery after `cursor`, with `first`; not if the connection was closed meanwhile. Answers whether it did.
    pub(super) fn open(&self, cursor: Seq, resumed: bool, first: Bytes) -> bool {
        let mut out = self.out.lock();
        if out.state != State::Open {
            return false;
        }
        if resumed {
            out.outbox.open_behind(cursor, Some(first.into()));
        } else {
            out.outbox.open(cursor, Some(first.into()));
        }
        self.write(&mut out);
        true
    }

    /// Whether the client is still listened to: not once the connection is closing.
    pub(in crate::egress) fn is_open(&self) -> bool {
        self.out.lock().state == State::Open
    }

    /// Queues an answer to the client, behind everything that waits.
    pub(super) fn reply(&self, frame: Bytes) {
        let mut out = self.out.lock();
        if out.state == State::Open {
            out.outbox.push(frame.into());
            self.write(&mut out);
        }
    }

    /// Queues what the journal holds after the cursor.
    pub(super) fn fill(&self, filling: Filling<Outgoing>) {
        let mut out = self.out.lock();
        if out.state == State::Open {
            out.outbox.fill(filling, |from, to| frame::text(&text::gap(from, to)).into());
            self.write(&mut out);
        }
    }

    /// What the session's task has to do now.
    pub(super) fn todo(&self) -> Todo {
        let out = self.out.lock();
        match out.state {
            State::Broken => Todo::Stop,
            State::Closing(close) => Todo::Close(close),
            State::Open if out.outbox.is_behind() && out.outbox.is_empty() => Todo::CatchUp(out.outbox.cursor()),
            State::Open => Todo::Wait { blocked: out.blocked, full: out.outbox.is_full() },
        }
    }

    /// Whether everything was written.
    pub(super) fn is_drained(&self) -> bool {
        self.out.lock().outbox.is_empty() && self.socket.is_flushed()
    }

    /// Ends the connection as the server goes away: what waits is written first, then a message that says when to come
    /// back, and to which place.
    pub(in crate::egress) fn send_away(&self, after: Duration, epoch: &Epoch) {
        let mut out = self.out.lock();
        if out.state == State::Open {
            // A client that was not told yet that it is connected holds no place to come back to.
            if out.outbox.is_listening() {
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                let cursor = out.outbox.cursor();
                out.outbox.tell_dropped_now(|count| self.dropped(count));
                out.outbox.push(frame::text(&text::reconnect(after, cursor, epoch)).into());
            }
            self.close_in(&mut out, Close::GoingAway);
        }
    }

    /// Ends the connection: what is half written is finished, the close frame goes out, and nothing after it.
    pub(in crate::egress) fn close(&self, close: Close) {
        self.close_in(&mut self.out.lock(), close);
    }

    fn close_in(&self, out: &mut Out, close: Close) {
        if out.state != State::Open {
            return;
        }
        out.state = State::Closing(close);
        let half_written = usize::from(out.written > 0);
        out.outbox.shut(if close == Close::GoingAway { usize::MAX } else { half_written });
        if let Some((code, reason)) = close.frame() {
            out.outbox.push(frame::close(code, reason).into());
        }
        self.write(out);
        self.wake.notify_one();
    }

    /// Notes that the client said something.
    pub(super) fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Writes what waits, as far as the socket takes it, and calls the session's task for the rest.
    fn write(&self, out: &mut Out) {
        if out.blocked {
            out.drop_expired(self.clock.wall());
        }
        // The session's task may have seen the queue full, and not be listening to its client.
        let was_full = out.outbox.is_full();
        loop {
            out.outbox.tell_dropped(|count| self.dropped(count));
            if out.outbox.is_empty() && self.socket.is_flushed() {
                break;
            }
            match self.write_some(out) {
                Ok(bytes) => out.advance(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    out.stalled_since.get_or_insert_with(Instant::now);
                    // While the socket is full the task waits for it, and need not be called again.
                    if !mem::replace(&mut out.blocked, true) || (was_full && !out.outbox.is_full()) {
                        self.wake.notify_one();
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.fail(out),
            }
        }
        out.blocked = false;
        out.stalled_since = None;
        if was_full || out.outbox.is_behind() {
            self.wake.notify_one();
        }
    }

    /// Tells the client that so much did not fit.
    fn dropped(&self, count: u32) -> Outgoing {
        frame::text(&text::dropped(count, self.clock.wall())).into()
    }

    /// Takes in a frame that nobody keeps. Before anything counts as not fitting, the socket is tried, unless it is known to be full:
    /// what waits may only wait for the end of a batch.
    fn offer_ephemeral(&self, out: &mut Out, frame: Outgoing) {
        if out.outbox.is_full() && (!out.blocked || self.socket.is_writable()) {
            self.write(out);
        }
        // One that did not fit is counted there, and told when there is room.
        let _ = out.outbox.offer_ephemeral(frame);
    }

    fn write_some(&self, out: &Out) -> std::io::Result<usize> {
        let mut waiting = out.outbox.waiting();
        // Mostly one frame waits, and making room for many would cost more than all else that is done for it here.
        if let (Some(frame), None) = (waiting.next(), waiting.next()) {
            return self.socket.try_write(&[IoSlice::new(&frame.bytes[out.written..])]);
        }
        let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(out.outbox.waiting()) {
            *slice = IoSlice::new(if count == 0 { &frame.bytes[out.written..] } else { &frame.bytes });
            count += 1;
        }
        self.socket.try_write(&slices[..count])
    }

    fn fail(&self, out: &mut Out) {
        out.state = State::Broken;
        out.outbox.shut(0);
        self.wake.notify_one();
    }
}

impl Member for Connection {
    fn offer(&self, delivery: &Delivery) -> bool {
        let mut out = self.out.lock();
        match delivery {
            Delivery::Notification(committed) => {
                out.outbox.offer(committed.notification.seq, || Outgoing::live(committed, self.deflates));
            }
            Delivery::Ephemeral(ephemeral) if ephemeral.except.as_ref() == Some(&self.client_id) => return false,
            Delivery::Ephemeral(ephemeral) => {
                self.offer_ephemeral(&mut out, Outgoing::ephemeral(ephemeral, self.deflates));
            }
        }
        out.becomes_due()
    }

    fn flush(&self) {
        let mut out = self.out.lock();
        out.due = false;
        self.write(&mut out);
    }

    fn name(&self) -> &str {
        self.client_id.as_str()
    }
}

#[cfg(test)]
mod tests;
