//! What a subscriber's stream gives when it is asked.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    delivery::{
        catch_up::{self, Start},
        subscriber::{
            Filter, StreamSubscriber, Transport,
            member::{StreamPoll, Waiting},
        },
    },
    domain::{Epoch, Position, Seq},
    journal::{Attend, Bounds, Error, Read},
    rooms::Reader,
};

/// What all streams of a transport have in common.
#[derive(Debug, Clone)]
pub struct StreamSource {
    /// The rooms that they listen to.
    pub rooms: Reader,
    /// Where they read what they missed.
    pub journal: Arc<dyn Read>,
    /// Where they say what they listen to.
    pub attend: Arc<dyn Attend>,
    /// How much may wait for one of them, in bytes.
    pub max_bytes: usize,
    /// They end behind what was delivered when this is cancelled.
    pub stopping: CancellationToken,
    /// What expired is judged by this.
    pub clock: Arc<dyn Clock>,
}

impl StreamSource {
    /// Begins a stream of what `filter` wants, at the position that the client was at or from now on: it listens first, attends
    /// then, and finds out last where it begins. Fails if the journal cannot say so.
    pub async fn subscribe<T: Transport>(
        &self,
        transport: T,
        filter: Filter,
        since: Option<&Position>,
    ) -> Result<(SubscriptionStream<T>, Beginning), Error> {
        let subscriber = Arc::new(StreamSubscriber::new(transport, self.max_bytes));
        let mut subscription = self.rooms.subscribe(Arc::clone(&subscriber) as _);
        let interests: Vec<_> = filter.interests().collect();
        interests.iter().cloned().for_each(|interest| subscription.join(interest));
        let attendance = catch_up::attend(&*self.attend, &interests, since).await?;
        let start = catch_up::start(&attendance, since);
        let beginning = Beginning { start, epoch: attendance.epoch().clone(), bounds: attendance.bounds() };
        subscriber.begin(start.cursor, (subscription, attendance));
        Ok((SubscriptionStream { subscriber, filter, source: self.clone() }, beginning))
    }
}

/// How a stream begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Where.
    pub start: Start,
    /// The epoch of all positions that the stream gives.
    pub epoch: Epoch,
    /// What the journal held then.
    pub bounds: Bounds,
}

/// A running stream. It leaves the rooms when it is dropped.
#[derive(Debug)]
pub struct SubscriptionStream<T: Transport> {
    subscriber: Arc<StreamSubscriber<T>>,
    filter: Filter,
    source: StreamSource,
}

/// What a stream gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled<I> {
    /// Something that was delivered.
    Item(I),
    /// What lies from the one to the other, both included, is gone from the journal. It may be told late, behind some of what lies
    /// after it: a position never goes back by it.
    Gap(Seq, Seq),
    /// So many ephemeral deliveries did not fit, and will not come.
    Dropped(u32),
}

/// Why a stream gives nothing more.
#[derive(Debug)]
pub enum StreamEnd<R> {
    /// It had to end for this reason.
    Because(R),
    /// What it missed cannot be read.
    Unreadable(Error),
    /// The journal is another one, with positions of its own, and all that was delivered was given.
    Anew,
    /// The service goes away, and all that was delivered was given.
    GoingAway,
}

impl<T: Transport> Drop for SubscriptionStream<T> {
    fn drop(&mut self) {
        self.subscriber.abandon();
    }
}

impl<T: Transport> SubscriptionStream<T> {
    /// The subscriber whose stream it is, for whoever watches over it.
    pub fn subscriber(&self) -> &Arc<StreamSubscriber<T>> {
        &self.subscriber
    }

    /// Reads the first page of what was missed behind `start`, and says how many notifications that is in all: for a transport that
    /// tells it before it gives them. `None` for a stream of everything, of which the journal counts nothing.
    pub async fn missed(&mut self, start: &Start) -> Result<Option<u64>, Error> {
        let Some(audiences) = self.filter.audiences().map(<[_]>::to_vec) else { return Ok(None) };
        let _asked = self.subscriber.asked();
        let kept = |notification: &Arc<_>| Waiting::Item(self.subscriber.transport().kept(notification));
        let (missed, page) =
            catch_up::missed(&*self.source.journal, audiences, start, self.source.max_bytes, kept).await?;
        self.subscriber.fill(page);
        Ok(Some(missed))
    }

    /// What comes next, as soon as there is something. Each time before it looks, `check` says whether the stream may go on. Nothing
    /// is lost when this is dropped before it is ready.
    pub async fn next(
        &mut self,
        check: impl FnMut(&Filter) -> Result<(), T::Reason>,
    ) -> Result<Pulled<T::Item>, StreamEnd<T::Reason>> {
        let _asked = self.subscriber.asked();
        let pulled = self.receive(check).await?;
        self.subscriber.answered();
        Ok(pulled)
    }

    /// The end of the gaps that follow one which ends at `to` and have nothing between them that was to be given. They are not given
    /// any more: this is for a stream that ends with a gap, and would else end with each.
    pub fn end_of_gap(&mut self, mut to: Seq) -> Seq {
        while let Some((_, further)) = self.subscriber.take_gap() {
            to = to.max(further);
        }
        to
    }

    async fn receive(
        &self,
        mut check: impl FnMut(&Filter) -> Result<(), T::Reason>,
    ) -> Result<Pulled<T::Item>, StreamEnd<T::Reason>> {
        loop {
            check(&self.filter).map_err(StreamEnd::Because)?;
            match self.subscriber.take() {
                StreamPoll::Waiting(Waiting::Item(item)) if self.is_expired(&item) => {}
                StreamPoll::Waiting(Waiting::Item(item)) => return Ok(Pulled::Item(item)),
                StreamPoll::Waiting(Waiting::Gap(from, to)) => return Ok(Pulled::Gap(from, to)),
                StreamPoll::Waiting(Waiting::Dropped(count)) => return Ok(Pulled::Dropped(count)),
                StreamPoll::Anew => return Err(StreamEnd::Anew),
                StreamPoll::Over(reason) => return Err(StreamEnd::Because(reason)),
                StreamPoll::CatchUp(cursor) => tokio::select! {
                    caught_up = self.catch_up(cursor) => caught_up.map_err(StreamEnd::Unreadable)?,
                    // It says so now, however long the journal reads.
                    () = self.subscriber.ended() => {}
                },
                StreamPoll::Nothing => tokio::select! {
                    () = self.subscriber.news() => {}
                    () = self.source.stopping.cancelled() => return Err(StreamEnd::GoingAway),
                },
            }
        }
    }

    fn is_expired(&self, item: &T::Item) -> bool {
        T::expires_at(item).is_some_and(|expires_at| expires_at <= self.source.clock.wall())
    }

    async fn catch_up(&self, cursor: Seq) -> Result<(), Error> {
        let (journal, audiences) = (&*self.source.journal, self.filter.audiences().map(<[_]>::to_vec));
        let kept = |notification: &Arc<_>| Waiting::Item(self.subscriber.transport().kept(notification));
        let page = catch_up::read_on(journal, audiences, cursor, self.source.max_bytes, kept).await?;
        self.subscriber.fill(page);
        Ok(())
    }
}
