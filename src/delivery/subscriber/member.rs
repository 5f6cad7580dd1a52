//! A subscriber as the rooms see it: what waits for it, and why it had to end.

use std::{
    mem,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{
        outbox::{CatchUpPage, Frame, Outbox},
        subscriber::Transport,
    },
    domain::{Break, Delivery, Seq},
    journal::Attendance,
    rooms::{Member, Subscription},
};

/// In how many looks a client is found to be too slow.
const LOOKS: u32 = 4;

/// A subscriber as the rooms see it.
#[derive(Debug)]
pub struct StreamSubscriber<T: Transport> {
    transport: T,
    outbox: Mutex<Outbox<Waiting<T::Item>>>,
    wake: Notify,
    /// How many times something was taken.
    taken: AtomicU64,
    /// The stream is not asked for anything.
    unasked: AtomicBool,
    /// What it listens to, until it is over.
    listening: Mutex<Option<Listening>>,
    /// Why it had to end.
    reason: Mutex<Option<T::Reason>>,
    /// Cancelled when it had to end.
    ended: CancellationToken,
    /// Cancelled when the stream is gone.
    gone: CancellationToken,
}

/// What a subscriber listens to here, and attends to in the journal.
pub(super) type Listening = (Subscription, Attendance);

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) enum Waiting<I> {
    Item(I),
    /// What lies from the one to the other will not come.
    Gap(Seq, Seq),
    /// So many ephemeral deliveries did not fit.
    Dropped(u32),
}

impl<I: Frame> Frame for Waiting<I> {
    fn size(&self) -> usize {
        match self {
            Self::Item(item) => item.size(),
            Self::Gap(..) | Self::Dropped(_) => mem::size_of::<Self>(),
        }
    }
}

/// What a stream finds when it is asked.
#[derive(Debug)]
pub(super) enum StreamPoll<T: Transport> {
    Waiting(Waiting<T::Item>),
    /// Nothing, until the journal was read after this position.
    CatchUp(Seq),
    /// Nothing more: the journal is another one.
    Anew,
    /// The end.
    Over(T::Reason),
    Nothing,
}

/// Marks a stream as asked for something, until this is dropped.
#[derive(Debug)]
pub(super) struct AskedGuard<'s>(&'s AtomicBool);

impl Drop for AskedGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T: Transport> StreamSubscriber<T> {
    /// Makes a subscriber that nobody tells anything yet. What waits for it is bounded by `max_bytes`.
    pub(super) fn new(transport: T, max_bytes: usize) -> Self {
        Self {
            transport,
            outbox: Mutex::new(Outbox::new(max_bytes)),
            wake: Notify::new(),
            taken: AtomicU64::new(0),
            unasked: AtomicBool::new(true),
            listening: Mutex::new(None),
            reason: Mutex::new(None),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
        }
    }

    /// Its transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Ends the stream for `reason`, which it says when it is asked next. It leaves the rooms now.
    pub fn end(&self, reason: T::Reason) {
        *self.reason.lock() = Some(reason);
        self.leave(true);
        self.ended.cancel();
        self.wake.notify_one();
    }

    /// Waits until the stream has to end.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Waits until the stream is gone.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Waits until something has waited for `time`, and not much longer, and nothing was taken.
    pub async fn until_too_slow(&self, time: Duration) {
        let period = (time / LOOKS).max(Duration::from_millis(1));
        let mut looks = interval_at(Instant::now() + period, period);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut in_vain) = (self.taken.load(Ordering::Relaxed), 0);
        while in_vain <= LOOKS {
            looks.tick().await;
            let taken = self.taken.load(Ordering::Relaxed);
            in_vain = if taken == before && self.is_waited_for() { in_vain + 1 } else { 0 };
            before = taken;
        }
    }

    /// Whether something waits for the client, and not the client for something.
    fn is_waited_for(&self) -> bool {
        let outbox = self.outbox.lock();
        self.unasked.load(Ordering::Relaxed) && (!outbox.is_empty() || outbox.is_behind())
    }

    /// Begins delivery behind `cursor`, from the journal. It listens until it is over.
    pub(super) fn begin(&self, cursor: Seq, listening: Listening) {
        *self.listening.lock() = Some(listening);
        self.outbox.lock().open_behind(cursor, None);
    }

    /// Takes in what was read of the journal, unless the stream ended meanwhile.
    pub(super) fn fill(&self, page: CatchUpPage<Waiting<T::Item>>) {
        let mut outbox = self.outbox.lock();
        if outbox.is_listening() {
            outbox.fill(page, Waiting::Gap);
        }
    }

    /// The stream is asked for something, for as long as the answer is held.
    pub(super) fn asked(&self) -> AskedGuard<'_> {
        self.unasked.store(false, Ordering::Relaxed);
        AskedGuard(&self.unasked)
    }

    /// The stream gave something.
    pub(super) fn answered(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until there may be something.
    pub(super) async fn news(&self) {
        self.wake.notified().await;
    }

    /// The stream is gone.
    pub(super) fn abandon(&self) {
        self.leave(false);
        self.gone.cancel();
    }

    /// Leaves the rooms, and lets go of what waits.
    fn leave(&self, has_yet_to_say: bool) {
        let listening = self.listening.lock().take();
        *self.outbox.lock() = Outbox::new(0);
        if listening.is_some() {
            drop(listening);
            self.transport.left(has_yet_to_say);
        }
    }

    /// Takes out what comes next.
    pub(super) fn take(&self) -> StreamPoll<T> {
        if let Some(reason) = self.reason.lock().take() {
            return StreamPoll::Over(reason);
        }
        let mut outbox = self.outbox.lock();
        if T::GOES_ON_WITHOUT {
            outbox.tell_dropped(Waiting::Dropped);
        } else if outbox.dropped() > 0 {
            return StreamPoll::Waiting(Waiting::Dropped(outbox.dropped()));
        }
        match outbox.pop() {
            Some(waiting) => StreamPoll::Waiting(waiting),
            None if outbox.is_over() => StreamPoll::Anew,
            None if outbox.is_behind() => StreamPoll::CatchUp(outbox.cursor()),
            None => StreamPoll::Nothing,
        }
    }

    /// Takes out the gap that waits next, if nothing waits before it.
    pub(super) fn take_gap(&self) -> Option<(Seq, Seq)> {
        let mut outbox = self.outbox.lock();
        let Some(&Waiting::Gap(from, to)) = outbox.first() else { return None };
        outbox.pop();
        Some((from, to))
    }
}

impl<T: Transport> Member for StreamSubscriber<T> {
    fn enqueue(&self, delivery: &Delivery) -> bool {
        let mut outbox = self.outbox.lock();
        let waited = !outbox.is_empty() || outbox.is_behind();
        match delivery {
            Delivery::Notification(publication) => {
                outbox.offer(publication.notification.seq, || Waiting::Item(self.transport.live(publication)));
            }
            Delivery::Ephemeral(ephemeral) => {
                let Some(item) = self.transport.ephemeral(ephemeral) else { return false };
                if T::GOES_ON_WITHOUT {
                    outbox.tell_dropped(Waiting::Dropped);
                }
                // One that did not fit is counted there.
                let _ = outbox.offer_ephemeral(Waiting::Item(item));
            }
            // That interrupts.
            Delivery::Break(_) => return false,
        }
        !waited
    }

    fn interrupt(&self, interruption: &Break) -> bool {
        let mut outbox = self.outbox.lock();
        let waited = !outbox.is_empty() || outbox.is_behind();
        match interruption {
            Break::Behind(until) => outbox.behind(*until),
            Break::Lost(range) => outbox.lost(range.clone(), Waiting::Gap),
            Break::Anew => outbox.end(),
        }
        !waited
    }

    fn flush(&self) {
        self.wake.notify_one();
    }

    fn name(&self) -> &str {
        self.transport.name()
    }
}
