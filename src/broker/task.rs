//! The loop that turns what publishers submit into notifications.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::{sync::mpsc, task::yield_now};

use crate::{
    broker::{Accepted, Error, Published, Rules, command::Submission},
    domain::{Content, Draft, Durability, Ephemeral, Passing, notification_id},
    journal::{Append, Entry, Outcome, Relay},
    rooms::Writer,
};

/// How many submissions are appended together at the most. What waits beyond that makes the next batch.
const MAX_BATCH: usize = 256;

#[derive(Debug)]
pub(super) struct Task {
    queue: mpsc::Receiver<Submission>,
    rules: Arc<Rules>,
    journal: Arc<dyn Append>,
    relay: Arc<dyn Relay>,
    rooms: Writer,
}

impl Task {
    pub(super) fn new(
        queue: mpsc::Receiver<Submission>,
        rules: Arc<Rules>,
        journal: Arc<impl Append + Relay + 'static>,
        rooms: Writer,
    ) -> Self {
        let relay = Arc::clone(&journal) as Arc<dyn Relay>;
        Self { queue, rules, journal, relay, rooms }
    }

    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            // Publishers that are ready to submit do so now and share this append. With none, this costs nothing.
            yield_now().await;
            while batch.len() < MAX_BATCH
                && let Ok(submission) = self.queue.try_recv()
            {
                batch.push(submission);
            }
            self.publish(&mut batch).await;
        }
    }

    /// Routes, appends, acknowledges.
    async fn publish(&self, batch: &mut Vec<Submission>) {
        let now = Utc::now();
        let mut entries = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for submission in batch.drain(..) {
            let mut routed = Vec::with_capacity(submission.drafts.len());
            for draft in submission.drafts {
                routed.push(match self.route(draft, now) {
                    Ok(entry) if entry.durability == Durability::Ephemeral => Routed::Done(self.relay(entry).await),
                    Ok(entry) => {
                        let receivers = self.rooms.receivers(&entry.audiences);
                        entries.push(entry);
                        Routed::Appending { receivers }
                    }
                    Err(error) => Routed::Done(Err(error)),
                });
            }
            waiting.push((routed, submission.reply, submission.room));
        }
        let mut outcomes = match self.journal.append(entries).await {
            Ok(outcomes) => Ok(outcomes.into_iter()),
            Err(error) => {
                tracing::error!(%error, "the journal refused a batch");
                Err(Arc::new(error))
            }
        };
        for (routed, reply, _room) in waiting {
            let mut published = Vec::with_capacity(routed.len());
            for routed in routed {
                published.push(match (routed, &mut outcomes) {
                    (Routed::Done(published), _) => published,
                    (Routed::Appending { .. }, Err(error)) => Err(Error::Journal(Arc::clone(error))),
                    (Routed::Appending { receivers }, Ok(outcomes)) => {
                        self.published(outcomes.next().expect("the journal answers every entry"), receivers)
                    }
                });
            }
            // A publisher that went away has no use for the answer; its events are published all the same.
            let _ = reply.send(published);
        }
    }

    fn route(&self, draft: Draft, now: DateTime<Utc>) -> Result<Entry, Error> {
        draft.check()?;
        let audiences = match &draft.target {
            Some(target) => target.clone(),
            None => self.rules.route(&draft.name, &draft.payload)?.audiences,
        };
        let key = draft.idempotency_key.clone().map(|key| (key, draft.fingerprint()));
        let expires_at = draft.ttl.and_then(|ttl| now.checked_add_signed(TimeDelta::from_std(ttl).ok()?));
        let durability = draft.durability.unwrap_or(Durability::Fsync);
        let event = draft.into_event(&now.to_rfc3339_opts(SecondsFormat::Millis, true));
        Ok(Entry { event, audiences, key, expires_at, durability })
    }

    /// Hands an event that is not to be kept to whoever is connected.
    async fn relay(&self, entry: Entry) -> Published {
        let receivers = self.rooms.receivers(&entry.audiences);
        let id = format!("{}-e{:016x}", self.journal.epoch(), rand::random::<u64>());
        let content = Content::Event(Passing::new(id.as_str().into(), entry.event, entry.expires_at));
        self.relay.relay(Ephemeral { audiences: entry.audiences, except: None, content }).await;
        Ok(Accepted { id, seq: 0, receivers, duplicate: false, durability: Some(Durability::Ephemeral) })
    }

    fn published(&self, outcome: Outcome, receivers: usize) -> Published {
        let accepted = |seq, receivers, duplicate, durability| Accepted {
            id: notification_id(&self.journal.epoch(), seq),
            seq,
            receivers,
            duplicate,
            durability,
        };
        match outcome {
            Outcome::Appended(seq, durability) => Ok(accepted(seq, receivers, false, Some(durability))),
            Outcome::Duplicate(seq) => Ok(accepted(seq, 0, true, None)),
            Outcome::Conflict => Err(Error::Conflict),
        }
    }
}

/// A draft between routing and acknowledging.
enum Routed {
    /// It is among the entries of the batch, and is for this many connections.
    Appending { receivers: usize },
    /// Its outcome is known.
    Done(Published),
}
