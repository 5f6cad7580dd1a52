//! Subscribers over gRPC: services that follow rooms, users, or everything.
//!
//! The same outbox as a WebSocket's, with the notifications themselves for frames; the stream takes them out.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{
    clock::Clock,
    domain::{Audience, Audiences, Code, Committed, Content, Delivery, Ephemeral, Epoch, Notification, Position, Seq},
    egress::{
        Options,
        catch_up::{self, How},
        outbox::{Frame, Outbox},
    },
    gate::{self, Caller, Denied, Place, Revocations, Watch},
    journal::Read,
    rooms::{Interest, Member, Reader, Subscription},
    wire::{
        proto::{self, v1},
        status::{grpc_gap, grpc_status, grpc_too_old},
    },
};

/// What a subscriber receives.
pub type Notifications = Pin<Box<dyn Stream<Item = Result<v1::Notification, Status>> + Send>>;

/// Serves `Subscribe`.
#[derive(Debug, Clone)]
pub struct Subscriber {
    rooms: Reader,
    journal: Arc<dyn Read>,
    max_bytes: usize,
    revocations: Revocations,
    stopping: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Subscriber {
    /// Streams end when their token does, and behind what was delivered when `stopping` is cancelled.
    pub fn new(
        options: &Options,
        rooms: Reader,
        journal: Arc<dyn Read>,
        revocations: Revocations,
        stopping: CancellationToken,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { rooms, journal, max_bytes: options.send_queue_bytes.get(), revocations, stopping, clock }
    }

    /// Begins a stream, at the position that the client was at or from now on.
    pub async fn subscribe(&self, request: Request<v1::SubscribeRequest>) -> Result<Response<Notifications>, Status> {
        let caller = gate::caller(&request)?;
        let permit = caller.subscriber()?;
        let request = request.into_inner();
        let since =
            request.since.as_ref().map(|since| Position { seq: since.sequence, epoch: Epoch::from_text(&since.epoch) });
        let wanted = Wanted::read(&request)?;
        permit.check_all(wanted.0.as_deref())?;
        let place = caller.place()?;
        let follower = Arc::new(Follower::new(self.max_bytes));
        let mut subscription = self.rooms.subscribe(Arc::clone(&follower) as _);
        wanted.interests().into_iter().for_each(|interest| subscription.join(interest));
        let start = catch_up::start(&*self.journal, since.as_ref());
        if start.how == How::Lost {
            return Err(lost(&*self.journal, since.as_ref()));
        }
        follower.outbox.lock().open_behind(start.cursor, None);
        let epoch = self.journal.epoch();
        let following = Following {
            follower,
            wanted,
            journal: Arc::clone(&self.journal),
            max_bytes: self.max_bytes,
            stopping: self.stopping.clone(),
            token: self.revocations.watch(permit),
            clock: Arc::clone(&self.clock),
            caller,
            _subscription: subscription,
            _place: place,
        };
        let notifications: Notifications = Box::pin(stream::unfold(Some(following), Following::next));
        let mut response = Response::new(notifications);
        let metadata = response.metadata_mut();
        metadata.insert("x-sequence", MetadataValue::from(start.live_from));
        metadata.insert("x-epoch", MetadataValue::try_from(epoch.as_str()).expect("an epoch is ASCII"));
        Ok(response)
    }
}

/// Why a stream cannot begin at `since`. One that only comes too late is told where it can.
fn lost(journal: &dyn Read, since: Option<&Position>) -> Status {
    let (epoch, oldest) = (journal.epoch(), journal.bounds().oldest);
    match since {
        Some(since) if since.epoch == epoch && since.seq.saturating_add(1) < oldest => grpc_too_old(since.seq, oldest),
        _ => {
            let message = "the journal never had what lies after `since`; subscribe without it";
            grpc_status(Code::OutOfRange, message, Some("since"))
        }
    }
}

/// What a subscriber asked for: some audiences, or everything.
#[derive(Debug)]
struct Wanted(Option<Vec<Audience>>);

impl Wanted {
    fn read(request: &v1::SubscribeRequest) -> Result<Self, Status> {
        if request.everything {
            return Ok(Self(None));
        }
        if request.rooms.is_empty() && request.users.is_empty() {
            let message = "name rooms or users to follow, or set `everything`";
            return Err(grpc_status(Code::Invalid, message, Some("rooms")));
        }
        let audiences = Audiences::from_target(true, &request.users, &request.rooms)
            .map_err(|error| grpc_status(Code::Invalid, error.to_string(), Some(error.field())))?;
        Ok(Self(Some(audiences.as_slice().to_vec())))
    }

    fn interests(&self) -> Vec<Interest> {
        match &self.0 {
            None => vec![Interest::Everything],
            Some(audiences) => audiences.iter().cloned().map(Interest::In).collect(),
        }
    }
}

/// A subscriber as the rooms see it.
#[derive(Debug)]
struct Follower {
    outbox: Mutex<Outbox<Item>>,
    wake: Notify,
    /// Something that nobody keeps did not fit.
    too_slow: AtomicBool,
}

/// What waits for a subscriber.
#[derive(Debug)]
enum Item {
    Kept(Arc<Notification>),
    /// The event in it passes by.
    Ephemeral(Arc<Ephemeral>),
    /// What lies from the one to the other will not come.
    Gap(Seq, Seq),
}

impl Item {
    /// The message for the subscriber; none when it is of no use any more at `now`.
    fn message(&self, epoch: &Epoch, now: DateTime<Utc>) -> Option<v1::Notification> {
        match self {
            Self::Kept(notification) if notification.is_expired(now) => None,
            Self::Kept(notification) => Some(proto::notification_from(notification)),
            Self::Ephemeral(ephemeral) => match &ephemeral.content {
                Content::Event(passing) if passing.is_expired(now) => None,
                Content::Event(passing) => Some(proto::notification_from_passing(passing, &ephemeral.audiences, epoch)),
                Content::Frame(_) => None,
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
    fn new(max_bytes: usize) -> Self {
        Self { outbox: Mutex::new(Outbox::new(max_bytes)), wake: Notify::new(), too_slow: AtomicBool::new(false) }
    }

    /// The next item; or the place after which the journal must be read; or neither, for now. Gaps with nothing between them
    /// are one: each ends a stream, and there may be many.
    fn next(&self) -> Next {
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

#[derive(Debug)]
enum Next {
    Item(Item),
    Gap(Seq, Seq),
    CatchUp(Seq),
    TooSlow,
    Nothing,
}

impl Member for Follower {
    fn offer(&self, delivery: &Delivery) -> bool {
        let mut outbox = self.outbox.lock();
        let waited = !outbox.is_empty() || outbox.is_behind();
        match delivery {
            Delivery::Notification(Committed { notification, .. }) => {
                outbox.offer(notification.seq, || Item::Kept(Arc::clone(notification)));
            }
            // Chat is between browsers.
            Delivery::Ephemeral(ephemeral) if matches!(ephemeral.content, Content::Frame(_)) => return false,
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

/// A running stream. It leaves the rooms when it is dropped.
#[derive(Debug)]
struct Following {
    follower: Arc<Follower>,
    wanted: Wanted,
    journal: Arc<dyn Read>,
    max_bytes: usize,
    stopping: CancellationToken,
    token: Watch,
    clock: Arc<dyn Clock>,
    caller: Caller,
    _subscription: Subscription,
    _place: Place,
}

impl Following {
    /// One step of the stream; none after an error.
    async fn next(this: Option<Self>) -> Option<(Result<v1::Notification, Status>, Option<Self>)> {
        let mut this = this?;
        match this.receive().await {
            Ok(notification) => Some((Ok(notification), Some(this))),
            Err(status) => Some((Err(status), None)),
        }
    }

    async fn receive(&mut self) -> Result<v1::Notification, Status> {
        let epoch = self.journal.epoch();
        loop {
            self.token.check().map_err(|error| {
                let message = format!("the token is no longer good: {error}; subscribe again with another");
                grpc_status(Code::Unauthenticated, message, None)
            })?;
            match self.follower.next() {
                Next::Item(item) => {
                    if let Some(message) = item.message(&epoch, self.clock.wall()) {
                        return Ok(message);
                    }
                }
                Next::Gap(from, to) => return Err(grpc_gap(from, to)),
                Next::TooSlow => {
                    return Err(Status::data_loss("too slow: an ephemeral event did not fit into the queue"));
                }
                Next::CatchUp(cursor) => self.catch_up(cursor).await?,
                Next::Nothing => tokio::select! {
                    () = self.follower.wake.notified() => {}
                    () = self.token.changed() => {}
                    () = self.stopping.cancelled() => {
                        let message = "the server is going away; resume with the position you hold";
                        return Err(grpc_status(Code::Unavailable, message, None));
                    }
                },
            }
        }
    }

    async fn catch_up(&self, cursor: Seq) -> Result<(), Status> {
        let audiences = self.wanted.0.clone();
        let filling =
            catch_up::read_on(&*self.journal, audiences, cursor, self.max_bytes, |kept| Item::Kept(Arc::clone(kept)))
                .await
                .map_err(|error| {
                    let denied = Denied::by_journal(error.code(), &error);
                    self.caller.refused(&denied);
                    denied
                })?;
        self.follower.outbox.lock().fill(filling, Item::Gap);
        Ok(())
    }
}
