//! Subscribers over gRPC: services that follow rooms, users, or everything.
//!
//! The same outbox as a WebSocket's, with the notifications themselves for frames; the stream takes them out. A watcher ends it
//! when it must not go on, also while its client does not read.

use std::{pin::Pin, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{
    clock::Clock,
    delivery::{Beginning, Filter, Frame, Pulled, StreamEnd, StreamSource, SubscriptionStream, Transport},
    domain::{Audiences, Code, Content, Ephemeral, Epoch, Notification, Position, Recovery, Seq},
    egress::{
        Options,
        holding::{Holding, Holds},
        watcher::{self, Watcher},
    },
    gate::{self, Standing, Transit},
    journal::{Attend, Read},
    rooms::Reader,
    wire::{
        proto::{self, v1},
        status::{grpc_gap, grpc_plain, grpc_status, grpc_too_old},
    },
};

/// The notifications that a subscriber receives, one after the other.
pub type NotificationStream = Pin<Box<dyn Stream<Item = Result<v1::Notification, Status>> + Send>>;

/// Serves the rpc `Subscribe`.
#[derive(Debug, Clone)]
pub struct Subscriber {
    source: StreamSource,
    slow_timeout: Duration,
    watchers: TaskTracker,
}

impl Subscriber {
    /// Streams end when their token does, and behind what was delivered when `stopping` is cancelled. `watchers` tracks who
    /// watches over them.
    pub fn new(
        options: &Options,
        rooms: Reader,
        (journal, attend): (Arc<dyn Read>, Arc<dyn Attend>),
        (stopping, watchers): (CancellationToken, TaskTracker),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let max_bytes = options.send_queue_bytes.get();
        let source = StreamSource { rooms, journal, attend, max_bytes, stopping, clock };
        Self { source, slow_timeout: options.slow_timeout, watchers }
    }

    /// Begins a stream, at the position that the client was at or from now on. It ends at `deadline`.
    pub async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
        deadline: Option<Instant>,
    ) -> Result<Response<NotificationStream>, Status> {
        let caller = gate::caller(&request)?;
        let permit = caller.subscriber()?;
        let transit: Option<Transit> = request.extensions().get().cloned();
        let request = request.into_inner();
        let since =
            request.since.as_ref().map(|since| Position { seq: since.sequence, epoch: Epoch::from_text(&since.epoch) });
        let filter = filter(&request)?;
        permit.check_all(filter.audiences())?;
        let permit = caller.connection_permit()?;
        let subscribed = self.source.subscribe(Grpc::default(), filter.clone(), since.as_ref()).await;
        let (stream, beginning) = subscribed.map_err(|error| gate::Error::by_journal(error.code(), &error))?;
        if beginning.start.recovery == Recovery::Unrecoverable {
            return Err(unrecoverable(&beginning, since.as_ref()));
        }
        let subscriber = Arc::clone(stream.subscriber());
        subscriber.transport().holds.take(Holding { permit, charge: caller.charge(), transit: transit.clone() });
        let (standing, slow_timeout) = (caller.standing(), self.slow_timeout);
        self.watchers.spawn(Watcher { subscriber, standing, filter, deadline, slow_timeout, transit }.watch());
        let answer = Answer { stream, standing: caller.standing(), epoch: beginning.epoch.clone(), given: 0 };
        Ok(response(Box::pin(stream::unfold(Some(answer), Answer::next)), &beginning))
    }
}

/// The answer that says from where it is live.
fn response(notifications: NotificationStream, beginning: &Beginning) -> Response<NotificationStream> {
    let mut response = Response::new(notifications);
    let metadata = response.metadata_mut();
    metadata.insert("x-sequence", MetadataValue::from(beginning.start.live_from));
    let epoch = MetadataValue::try_from(beginning.epoch.as_str()).expect("an epoch is ASCII");
    metadata.insert("x-epoch", epoch);
    response
}

/// Why a stream cannot begin at `since`. One that only comes too late is told where it can.
fn unrecoverable(beginning: &Beginning, since: Option<&Position>) -> Status {
    let oldest = beginning.bounds.oldest;
    match since {
        Some(since) if since.epoch == beginning.epoch && since.seq.saturating_add(1) < oldest => {
            grpc_too_old(since.seq, oldest)
        }
        _ => {
            let message = "the journal never had what lies after `since`; subscribe without it";
            grpc_status(Code::OutOfRange, message, Some("since"))
        }
    }
}

/// What a subscriber asks for.
fn filter(request: &v1::SubscribeRequest) -> Result<Filter, Status> {
    if request.everything {
        return Ok(Filter::EVERYTHING);
    }
    if request.rooms.is_empty() && request.users.is_empty() {
        let message = "name rooms or users to follow, or set `everything`";
        return Err(grpc_status(Code::Invalid, message, Some("rooms")));
    }
    let audiences = Audiences::from_target(true, &request.users, &request.rooms)
        .map_err(|error| grpc_status(Code::Invalid, error.within(""), Some(error.field())))?;
    Ok(Filter::any_of(audiences.as_slice().to_vec()))
}

/// What gRPC makes of what is delivered.
#[derive(Debug, Default)]
pub(super) struct Grpc {
    /// What the stream holds of others.
    pub(super) holds: Holds,
}

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) enum Item {
    Kept(Arc<Notification>),
    /// The event in it is not kept.
    Ephemeral(Arc<Ephemeral>),
}

impl Frame for Item {
    fn size(&self) -> usize {
        match self {
            Self::Kept(notification) => notification.size(),
            Self::Ephemeral(ephemeral) => ephemeral.size(),
        }
    }
}

impl Transport for Grpc {
    type Item = Item;
    type Reason = Status;
    const GOES_ON_WITHOUT: bool = false;

    fn name(&self) -> &'static str {
        "grpc-subscriber"
    }

    fn kept(&self, notification: &Arc<Notification>) -> Item {
        Item::Kept(Arc::clone(notification))
    }

    fn ephemeral(&self, ephemeral: &Arc<Ephemeral>) -> Option<Item> {
        // Chat is between browsers.
        matches!(ephemeral.content, Content::Event(_)).then(|| Item::Ephemeral(Arc::clone(ephemeral)))
    }

    fn expires_at(item: &Item) -> Option<DateTime<Utc>> {
        match item {
            Item::Kept(notification) => notification.expires_at,
            Item::Ephemeral(ephemeral) => ephemeral.expires_at(),
        }
    }

    fn left(&self, has_yet_to_say: bool) {
        self.holds.settle(has_yet_to_say);
    }
}

impl Item {
    /// The message for the subscriber.
    fn message(&self, epoch: &Epoch) -> Option<v1::Notification> {
        match self {
            Self::Kept(notification) => Some(proto::notification_from(notification)),
            Self::Ephemeral(ephemeral) => match &ephemeral.content {
                Content::Event(event) => Some(proto::notification_from_ephemeral(event, &ephemeral.audiences, epoch)),
                Content::Notice(_) => None,
            },
        }
    }
}

/// The messages of a running stream.
#[derive(Debug)]
struct Answer {
    stream: SubscriptionStream<Grpc>,
    standing: Standing,
    /// The epoch of the positions that it gives.
    epoch: Epoch,
    /// The last position that it gave.
    given: Seq,
}

impl Answer {
    /// One step of the stream; none after an error.
    async fn next(this: Option<Self>) -> Option<(Result<v1::Notification, Status>, Option<Self>)> {
        let mut this = this?;
        match this.receive().await {
            Ok(notification) => Some((Ok(notification), Some(this))),
            Err(status) => Some((Err(status), None)),
        }
    }

    async fn receive(&mut self) -> Result<v1::Notification, Status> {
        loop {
            let check = |filter: &Filter| watcher::judge(&mut self.standing, filter.audiences());
            match self.stream.next(check).await {
                Ok(Pulled::Item(item)) => {
                    if let Item::Kept(notification) = &item {
                        self.given = notification.seq;
                    }
                    if let Some(message) = item.message(&self.epoch) {
                        return Ok(message);
                    }
                }
                // Told late, it ends the stream behind what was given since, and there the client goes on.
                Ok(Pulled::Gap(from, to)) => {
                    let to = self.stream.end_of_gap(to).max(self.given);
                    return Err(grpc_gap(from, to));
                }
                Ok(Pulled::Dropped(_)) => {
                    let message = "too slow: an ephemeral event did not fit into the queue";
                    return Err(grpc_plain(Code::DataLoss, message));
                }
                Err(end) => return Err(self.status(end)),
            }
        }
    }

    fn status(&self, end: StreamEnd<Status>) -> Status {
        match end {
            StreamEnd::Because(status) => status,
            StreamEnd::Unreadable(error) => {
                self.standing.caller().refuse(gate::Error::by_journal(error.code(), &error))
            }
            StreamEnd::Anew => {
                let message = "the journal is another one, with positions of its own; subscribe again";
                grpc_status(Code::Unavailable, message, None)
            }
            StreamEnd::GoingAway => {
                let message = "the server is going away; resume with the position you hold";
                grpc_status(Code::Unavailable, message, None)
            }
        }
    }
}
