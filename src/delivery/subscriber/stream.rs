//! What a subscriber's stream gives when it is asked.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    delivery::{
        catch_up::{self, Start},
        subscriber::{
            Filter, StreamSubscriber, Transport,
            member::{Found, Waiting},
        },
    },
    domain::{Epoch, Position, Seq},
    journal::{Error, Read},
    rooms::Reader,
};

/// What all streams of a transport have in common.
#[derive(Debug, Clone)]
pub struct StreamSource {
    /// The rooms that they listen to.
    pub rooms: Reader,
    /// Where they read what they missed.
    pub journal: Arc<dyn Read>,
    /// How much may wait for one of them, in bytes.
    pub max_bytes: usize,
    /// They end behind what was delivered when this is cancelled.
    pub stopping: CancellationToken,
    /// What expired is judged by this.
    pub clock: Arc<dyn Clock>,
}

impl StreamSource {
    /// Begins a stream of what `filter` wants, at the position that the client was at or from now on: it listens first, and finds
    /// out then where it begins.
    pub fn subscribe<T: Transport>(
        &self,
        transport: T,
        filter: Filter,
        since: Option<&Position>,
    ) -> (SubscriptionStream<T>, Start) {
        let subscriber = Arc::new(StreamSubscriber::new(transport, self.max_bytes));
        let mut subscription = self.rooms.subscribe(Arc::clone(&subscriber) as _);
        filter.interests().for_each(|interest| subscription.join(interest));
        let start = catch_up::start(&*self.journal, since);
        subscriber.begin(start.cursor, subscription);
        (SubscriptionStream { subscriber, filter, source: self.clone() }, start)
    }
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
    /// What lies from the one to the other, both included, is gone from the journal.
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

    /// The journal's epoch now.
    pub fn epoch(&self) -> Epoch {
        self.source.journal.epoch()
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
            to = further;
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
                Found::Waiting(Waiting::Item(item)) if self.is_expired(&item) => {}
                Found::Waiting(Waiting::Item(item)) => return Ok(Pulled::Item(item)),
                Found::Waiting(Waiting::Gap(from, to)) => return Ok(Pulled::Gap(from, to)),
                Found::Waiting(Waiting::Dropped(count)) => return Ok(Pulled::Dropped(count)),
                Found::Over(reason) => return Err(StreamEnd::Because(reason)),
                Found::CatchUp(cursor) => self.catch_up(cursor).await.map_err(StreamEnd::Unreadable)?,
                Found::Nothing => tokio::select! {
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
