//! Subscribers over gRPC: services that follow rooms, users, or everything.
//!
//! The same outbox as a WebSocket's, with the notifications themselves for frames; the stream takes them out. A watcher ends it
//! when it must not go on, also while its client does not read.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{
    clock::Clock,
    delivery::catch_up,
    domain::{Audience, Audiences, Code, Epoch, Position, Recovery, Seq},
    egress::{
        Options,
        follower::{Follower, Holding, Item, Next},
        watcher::{self, Watcher},
    },
    gate::{self, Denied, Standing, Transit},
    journal::Read,
    rooms::{Interest, Reader},
    wire::{
        proto::v1,
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
    slow_timeout: Duration,
    stopping: CancellationToken,
    watchers: TaskTracker,
    clock: Arc<dyn Clock>,
}

impl Subscriber {
    /// Streams end when their token does, and behind what was delivered when `stopping` is cancelled. `watchers` tracks who
    /// watches over them.
    pub fn new(
        options: &Options,
        rooms: Reader,
        journal: Arc<dyn Read>,
        (stopping, watchers): (CancellationToken, TaskTracker),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (max_bytes, slow_timeout) = (options.send_queue_bytes.get(), options.slow_timeout);
        Self { rooms, journal, max_bytes, slow_timeout, stopping, watchers, clock }
    }

    /// Begins a stream, at the position that the client was at or from now on. It ends at `deadline`.
    pub async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
        deadline: Option<Instant>,
    ) -> Result<Response<Notifications>, Status> {
        let caller = gate::caller(&request)?;
        let permit = caller.subscriber()?;
        let transit: Option<Transit> = request.extensions().get().cloned();
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
        if start.recovery == Recovery::Unrecoverable {
            return Err(lost(&*self.journal, since.as_ref()));
        }
        let holding = Holding { place, charge: caller.charge(), transit: transit.clone() };
        follower.begin(start.cursor, subscription, holding);
        let epoch = self.journal.epoch();
        let watcher = Watcher {
            follower: Arc::clone(&follower),
            standing: caller.standing(),
            wanted: wanted.0.clone(),
            deadline,
            slow_timeout: self.slow_timeout,
            transit,
        };
        let following = Following {
            follower,
            wanted,
            journal: Arc::clone(&self.journal),
            max_bytes: self.max_bytes,
            stopping: self.stopping.clone(),
            standing: caller.standing(),
            clock: Arc::clone(&self.clock),
        };
        self.watchers.spawn(watcher.watch());
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
            .map_err(|error| grpc_status(Code::Invalid, error.within(""), Some(error.field())))?;
        Ok(Self(Some(audiences.as_slice().to_vec())))
    }

    fn interests(&self) -> Vec<Interest> {
        match &self.0 {
            None => vec![Interest::Everything],
            Some(audiences) => audiences.iter().cloned().map(Interest::In).collect(),
        }
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
    standing: Standing,
    clock: Arc<dyn Clock>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.follower.abandon();
    }
}

impl Following {
    /// One step of the stream; none after an error.
    async fn next(this: Option<Self>) -> Option<(Result<v1::Notification, Status>, Option<Self>)> {
        let mut this = this?;
        this.follower.asked();
        match this.receive().await {
            Ok(notification) => {
                this.follower.answered();
                Some((Ok(notification), Some(this)))
            }
            Err(status) => Some((Err(status), None)),
        }
    }

    async fn receive(&mut self) -> Result<v1::Notification, Status> {
        let epoch = self.journal.epoch();
        loop {
            watcher::judge(&mut self.standing, self.wanted.0.as_deref())?;
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
                Next::Over(status) => return Err(status),
                Next::CatchUp(cursor) => self.catch_up(cursor).await?,
                Next::Nothing => tokio::select! {
                    () = self.follower.news() => {}
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
        let page =
            catch_up::read_on(&*self.journal, audiences, cursor, self.max_bytes, |kept| Item::Kept(Arc::clone(kept)))
                .await
                .map_err(|error| {
                    let denied = Denied::by_journal(error.code(), &error);
                    self.standing.caller().refused(&denied);
                    denied
                })?;
        self.follower.fill(page);
        Ok(())
    }
}
