//! A gRPC subscriber as the rooms see it: what waits for it, and why it had to end.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    delivery::outbox::{CatchUpPage, Frame, Outbox},
    domain::{Content, Delivery, Ephemeral, Epoch, Notification, Publication, Seq},
    gate::{Charge, Place, Transit},
    rooms::{Member, Subscription},
    wire::proto::{self, v1},
};

/// What a stream holds at the least from when it is ended until its client has taken that.
const END_BYTES: usize = 4 * 1024;

/// A subscriber as the rooms see it.
#[derive(Debug)]
pub(super) struct Follower {
    outbox: Mutex<Outbox<Item>>,
    wake: Notify,
    /// Something that nobody keeps did not fit.
    too_slow: AtomicBool,
    /// How many items were taken.
    taken: AtomicU64,
    /// The stream is not asked for the next one.
    unasked: AtomicBool,
    /// What it holds of others, until it is over.
    held: Mutex<Option<(Subscription, Holding)>>,
    /// What it holds for what its client has not taken.
    unread: Mutex<Option<Unread>>,
    /// Why it had to end.
    end: Mutex<Option<Status>>,
    /// Cancelled when the stream is gone.
    left: CancellationToken,
}

/// What a subscription holds besides what it hears.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) place: Place,
    /// What its client has not taken is counted by this when it is over.
    pub(super) charge: Charge,
    pub(super) transit: Option<Transit>,
}

/// What is held when a subscription is over and its client has not taken all: a share of the bytes that may be unread; or where
/// those are too many, the place.
#[derive(Debug)]
enum Unread {
    Counted(#[expect(dead_code, reason = "it is held until the bytes are gone")] Charge),
    InItsPlace(#[expect(dead_code, reason = "it is held until the bytes are gone")] Place),
}

impl Holding {
    /// Gives the place back, unless at least so many bytes are unread and may not be.
    fn settle(mut self, at_least: usize) -> Option<Unread> {
        let bytes = self.transit.as_ref().map_or(0, |transit| transit.bytes().max(at_least));
        if bytes == 0 {
            return None;
        }
        let counted = self.charge.set(bytes);
        Some(counted.map_or_else(|_| Unread::InItsPlace(self.place), |()| Unread::Counted(self.charge)))
    }
}

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) enum Item {
    Kept(Arc<Notification>),
    /// The event in it passes by.
    Ephemeral(Arc<Ephemeral>),
    /// What lies from the one to the other will not come.
    Gap(Seq, Seq),
}

impl Item {
    /// The message for the subscriber; none when it is of no use any more at `now`.
    pub(super) fn message(&self, epoch: &Epoch, now: DateTime<Utc>) -> Option<v1::Notification> {
        match self {
            Self::Kept(notification) if notification.is_expired(now) => None,
            Self::Kept(notification) => Some(proto::notification_from(notification)),
            Self::Ephemeral(ephemeral) => match &ephemeral.content {
                Content::Event(event) if event.is_expired(now) => None,
                Content::Event(event) => Some(proto::notification_from_ephemeral(event, &ephemeral.audiences, epoch)),
                Content::Notice(_) => None,
            },
            // It ends the stream.
            Self::Gap(..) => None,
        }
    }
}

impl Frame for Item {
    fn size(&self) -> usize {
        match self {
            Self::Kept(notification) => notification.size(),
            Self::Ephemeral(ephemeral) => ephemeral.size(),
            Self::Gap(..) => mem::size_of::<Self>(),
        }
    }
}

impl Follower {
    /// One that nobody tells anything yet.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            outbox: Mutex::new(Outbox::new(max_bytes)),
            wake: Notify::new(),
            too_slow: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            unasked: AtomicBool::new(true),
            held: Mutex::new(None),
            unread: Mutex::new(None),
            end: Mutex::new(None),
            left: CancellationToken::new(),
        }
    }

    /// Begins delivery behind `cursor`, from the journal. Until it is over it holds a subscription and a place.
    pub(super) fn begin(&self, cursor: Seq, subscription: Subscription, holding: Holding) {
        *self.held.lock() = Some((subscription, holding));
        self.outbox.lock().open_behind(cursor, None);
    }

    /// Takes in what was read of the journal, unless the stream ended meanwhile.
    pub(super) fn fill(&self, page: CatchUpPage<Item>) {
        let mut outbox = self.outbox.lock();
        if outbox.is_listening() {
            outbox.fill(page, Item::Gap);
        }
    }

    /// The stream is asked for something.
    pub(super) fn asked(&self) {
        self.unasked.store(false, Ordering::Relaxed);
    }

    /// The stream gave something, and is not asked for more.
    pub(super) fn answered(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.unasked.store(true, Ordering::Relaxed);
    }

    /// Waits until there may be something.
    pub(super) async fn news(&self) {
        self.wake.notified().await;
    }

    /// The stream is gone.
    pub(super) fn abandon(&self) {
        self.leave(0);
        self.left.cancel();
    }

    /// Ends the stream with `status`, which it says when it is asked for something next. It leaves the rooms now, and
    /// gives its place back if what is unread can be counted.
    pub(super) fn end(&self, status: Status) {
        *self.end.lock() = Some(status);
        self.leave(END_BYTES);
        self.wake.notify_one();
    }

    /// Leaves the rooms and gives everything back but what counts at least so many bytes that are unread.
    fn leave(&self, at_least: usize) {
        let held = self.held.lock().take();
        *self.outbox.lock() = Outbox::new(0);
        let Some((subscription, holding)) = held else { return };
        drop(subscription);
        *self.unread.lock() = holding.settle(at_least);
    }

    /// Nothing is unread any more.
    pub(super) fn taken_all(&self) {
        let unread = self.unread.lock().take();
        drop(unread);
    }

    /// Waits until the stream is gone.
    pub(super) async fn left(&self) {
        self.left.cancelled().await;
    }

    /// How many items were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether something waits for the client, and not the client for something.
    pub(super) fn is_waited_for(&self) -> bool {
        let outbox = self.outbox.lock();
        self.unasked.load(Ordering::Relaxed) && (!outbox.is_empty() || outbox.is_behind())
    }

    /// The next item; or the place after which the journal must be read; or neither, for now. Gaps with nothing between them
    /// are one: each ends a stream, and there may be many.
    pub(super) fn next(&self) -> Next {
        if let Some(status) = self.end.lock().take() {
            return Next::Over(status);
        }
        if self.too_slow.load(Ordering::Relaxed) {
            return Next::TooSlow;
        }
        let mut outbox = self.outbox.lock();
        match outbox.pop() {
            Some(Item::Gap(from, mut to)) => {
                while let Some(Item::Gap(_, further)) = outbox.first() {
                    to = *further;
                    outbox.pop();
                }
                Next::Gap(from, to)
            }
            Some(item) => Next::Item(item),
            None if outbox.is_behind() => Next::CatchUp(outbox.cursor()),
            None => Next::Nothing,
        }
    }
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Item(Item),
    Gap(Seq, Seq),
    CatchUp(Seq),
    TooSlow,
    Over(Status),
    Nothing,
}

impl Member for Follower {
    fn offer(&self, delivery: &Delivery) -> bool {
        let mut outbox = self.outbox.lock();
        let waited = !outbox.is_empty() || outbox.is_behind();
        match delivery {
            Delivery::Notification(Publication { notification, .. }) => {
                outbox.offer(notification.seq, || Item::Kept(Arc::clone(notification)));
            }
            // Chat is between browsers.
            Delivery::Ephemeral(ephemeral) if matches!(ephemeral.content, Content::Notice(_)) => return false,
            Delivery::Ephemeral(ephemeral) => {
                if outbox.offer_ephemeral(Item::Ephemeral(Arc::clone(ephemeral))).is_err() {
                    self.too_slow.store(true, Ordering::Relaxed);
                }
            }
        }
        !waited
    }

    fn flush(&self) {
        self.wake.notify_one();
    }

    fn name(&self) -> &'static str {
        "grpc-subscriber"
    }
}
