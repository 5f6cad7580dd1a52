//! The loop that turns what publishers submit into notifications.
//!
//! It does not wait for the journal: while one batch is being committed, the next ones are routed and wait there, where
//! they are committed together. Batches are appended, and acknowledged, in the order in which they were taken. What is
//! not to be kept has a queue of its own, and waits for no batch.

use std::{sync::Arc, vec};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::{unconstrained, yield_now},
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Accepted, Error, Published, Rules, command::Submission},
    clock::Clock,
    domain::{Draft, Durability, Ephemeral, EphemeralEvent, Epoch, notification_id},
    journal::{self, Answer, Append, Entry, Outcome, Relay, Stored},
    rooms::Writer,
};

/// How many drafts are appended together, but for the last submission of a batch, which may go beyond. What waits makes
/// the next batch.
const MAX_BATCH: usize = 512;

/// How many batches may be on their way into the journal.
pub(super) const MAX_IN_FLIGHT: usize = 16;

#[derive(Debug)]
pub(super) struct Task {
    /// What is to be kept.
    kept: mpsc::Receiver<Submission>,
    /// What is not.
    passing: mpsc::Receiver<Submission>,
    publisher: Publisher,
}

/// What the way from a submission to its answer takes.
#[derive(Debug)]
struct Publisher {
    rules: Arc<Rules>,
    journal: Arc<dyn Append>,
    relay: Arc<dyn Relay>,
    rooms: Writer,
    clock: Arc<dyn Clock>,
}

impl Task {
    pub(super) fn new(
        (kept, passing): (mpsc::Receiver<Submission>, mpsc::Receiver<Submission>),
        rules: Arc<Rules>,
        (journal, relay): (Arc<dyn Append>, Arc<dyn Relay>),
        rooms: Writer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { kept, passing, publisher: Publisher { rules, journal, relay, rooms, clock } }
    }

    pub(super) async fn run(self, closing: CancellationToken) {
        let Self { kept, passing, publisher } = self;
        // They take turns in who is polled first.
        tokio::join!(publisher.keep(kept, &closing), publisher.pass_on(passing, &closing));
    }
}

/// The submissions that wait behind `first`, and it, as far as they fit into one batch.
async fn gather(first: Submission, queue: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    // Publishers that are ready to submit do so now and share this append. With none, this costs nothing.
    yield_now().await;
    let mut drafts = first.drafts.len();
    let mut batch = vec![first];
    while drafts < MAX_BATCH
        && let Ok(submission) = queue.try_recv()
    {
        drafts += submission.drafts.len();
        batch.push(submission);
    }
    batch
}

impl Publisher {
    /// Has the journal keep what comes through `queue`.
    async fn keep(&self, mut queue: mpsc::Receiver<Submission>, closing: &CancellationToken) {
        let mut in_flight = FuturesOrdered::new();
        loop {
            // A batch that was just routed is polled, and so has its place in the journal, before the next is taken.
            tokio::select! {
                biased;
                Some(()) = in_flight.next() => {}
                // What is in the queue already is still given out.
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                first = queue.recv(), if in_flight.len() < MAX_IN_FLIGHT => {
                    let Some(first) = first else { break };
                    let batch = self.route(gather(first, &mut queue).await).await;
                    if !batch.entries.is_empty() {
                        // The runtime must not put off that first poll: the next batch could overtake this one.
                        in_flight.push_back(unconstrained(self.append(batch)));
                    }
                }
            }
        }
        while let Some(()) = in_flight.next().await {}
    }

    /// Relays what comes through `queue`.
    async fn pass_on(&self, mut queue: mpsc::Receiver<Submission>, closing: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                first = queue.recv() => {
                    let Some(first) = first else { break };
                    let batch = self.route(gather(first, &mut queue).await).await;
                    debug_assert!(batch.entries.is_empty(), "what is to be kept comes through the other queue");
                }
            }
        }
    }

    /// Routes, relays what is not to be kept, and answers where nothing is left to be appended.
    async fn route(&self, submissions: Vec<Submission>) -> Batch {
        let now = BatchClock::new(self.clock.wall());
        let mut entries = Vec::with_capacity(submissions.len());
        let mut waiting = Vec::with_capacity(submissions.len());
        for Submission { drafts, reply, room } in submissions {
            let others = entries.len();
            let mut routed = Vec::with_capacity(drafts.len());
            for draft in drafts {
                routed.push(match self.entry(draft, &now) {
                    Ok(entry) if entry.durability == Durability::Ephemeral => {
                        Routed::Done(self.relay(entry, now.time).await)
                    }
                    Ok(entry) => {
                        let receivers = self.rooms.receivers(&entry.audiences);
                        entries.push(entry);
                        Routed::Appending { receivers }
                    }
                    Err(error) => Routed::Done(Err(error)),
                });
            }
            let routed = Waiting { routed, reply, _room: room };
            if entries.len() > others {
                waiting.push(routed);
            } else {
                // Nothing of it is asked for.
                Self::answer(routed, &mut Outcomes::Unknown);
            }
        }
        Batch { entries, waiting }
    }

    /// Appends, acknowledges.
    async fn append(&self, batch: Batch) {
        let mut outcomes = Outcomes::of(self.journal.append(batch.entries).await);
        for waiting in batch.waiting {
            Self::answer(waiting, &mut outcomes);
        }
    }

    /// Tells a publisher what became of its drafts; of those that were appended, `outcomes` says it.
    fn answer(waiting: Waiting, outcomes: &mut Outcomes) {
        let Waiting { routed, reply, _room } = waiting;
        let published = routed.into_iter().map(|routed| match routed {
            Routed::Done(published) => published,
            Routed::Appending { receivers } => outcomes.next(receivers),
        });
        let published = published.collect();
        // A publisher that went away has no use for the answer; its events are published all the same.
        let _ = reply.send(published);
    }

    fn entry(&self, draft: Draft, now: &BatchClock) -> Result<Entry, Error> {
        let audiences = self.rules.audiences(&draft)?;
        let key = draft.idempotency_key().cloned().map(|key| (key, draft.fingerprint()));
        let expires_at = draft.ttl().and_then(|ttl| now.time.checked_add_signed(TimeDelta::from_std(ttl).ok()?));
        let durability = draft.durability().unwrap_or(Durability::Fsync);
        let event = draft.into_event(&now.text);
        Ok(Entry { event, audiences, key, expires_at, durability })
    }

    /// Hands an event that is not to be kept to whoever is connected.
    async fn relay(&self, entry: Entry, at: DateTime<Utc>) -> Published {
        let receivers = self.rooms.receivers(&entry.audiences);
        let id = format!("{}-e{:016x}", self.journal.epoch(), rand::random::<u64>());
        let event = EphemeralEvent { id: id.as_str().into(), event: entry.event, expires_at: entry.expires_at };
        let relayed = self.relay.relay(Ephemeral::event(entry.audiences, event)).await;
        relayed.map_err(Arc::new)?;
        Ok(Accepted { id, seq: 0, receivers, duplicate: false, durability: Some(Durability::Ephemeral), at })
    }
}

/// What became of the entries of a batch, one after the other.
enum Outcomes {
    Known {
        epoch: Epoch,
        outcomes: vec::IntoIter<Outcome>,
    },
    /// They may have been kept.
    Unknown,
    /// They were not kept.
    Failed(Arc<journal::Error>),
}

impl Outcomes {
    fn of(answer: Result<Answer, journal::Error>) -> Self {
        match answer {
            Ok(Answer { epoch, outcomes }) => Self::Known { epoch, outcomes: outcomes.into_iter() },
            Err(journal::Error::Unknown) => Self::Unknown,
            // The journal has said what it is, and whoever tells the publishers counts them.
            Err(error) => Self::Failed(Arc::new(error)),
        }
    }

    /// What the publisher is told of the next entry, which is for so many receivers.
    fn next(&mut self, receivers: usize) -> Published {
        let (epoch, outcome) = match self {
            Self::Known { epoch, outcomes } => (epoch, outcomes.next().expect("the journal answers every entry")),
            Self::Unknown => return Err(Error::Unknown),
            Self::Failed(error) => return Err(Error::Journal(Arc::clone(error))),
        };
        let accepted = |Stored { seq, durability, at }, receivers, duplicate| Accepted {
            id: notification_id(epoch, seq),
            seq,
            receivers,
            duplicate,
            durability,
            at,
        };
        match outcome {
            Outcome::Appended(stored) => Ok(accepted(stored, receivers, false)),
            Outcome::Duplicate(stored) => Ok(accepted(stored, 0, true)),
            Outcome::Conflict => Err(Error::Conflict),
        }
    }
}

/// When a batch is routed. Its text is made once for all drafts in it: that is a good part of what each costs otherwise.
struct BatchClock {
    time: DateTime<Utc>,
    text: String,
}

impl BatchClock {
    fn new(time: DateTime<Utc>) -> Self {
        Self { time, text: time.to_rfc3339_opts(SecondsFormat::Millis, true) }
    }
}

/// A draft between routing and acknowledging.
enum Routed {
    /// It is among the entries of the batch, and is for this many connections.
    Appending { receivers: usize },
    /// Its outcome is known.
    Done(Published),
}

/// Submissions between routing and appending.
struct Batch {
    entries: Vec<Entry>,
    waiting: Vec<Waiting>,
}

/// A submission whose publisher waits.
struct Waiting {
    routed: Vec<Routed>,
    reply: oneshot::Sender<Vec<Published>>,
    /// Held until the journal has answered: also when the publisher no longer waits for that, its drafts are in memory.
    _room: OwnedSemaphorePermit,
}
