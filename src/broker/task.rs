//! The loop that turns what publishers submit into notifications.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use tokio::{sync::mpsc, task::yield_now};

use crate::{
    broker::{Accepted, Error, Published, Rules, command::Submission},
    domain::{Draft, Durability, notification_id},
    journal::{Append, Entry, Outcome},
    rooms::Writer,
};

/// How many submissions are appended together at the most. What waits beyond that makes the next batch.
const MAX_BATCH: usize = 256;

#[derive(Debug)]
pub(super) struct Task {
    queue: mpsc::Receiver<Submission>,
    rules: Arc<Rules>,
    journal: Arc<dyn Append>,
    rooms: Writer,
}

impl Task {
    pub(super) fn new(
        queue: mpsc::Receiver<Submission>,
        rules: Arc<Rules>,
        journal: Arc<dyn Append>,
        rooms: Writer,
    ) -> Self {
        Self { queue, rules, journal, rooms }
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
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let mut entries = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for submission in batch.drain(..) {
            let mut routed = Vec::with_capacity(submission.drafts.len());
            for draft in submission.drafts {
                routed.push(self.entry(draft, &now).map(|entry| {
                    let receivers = self.rooms.receivers(&entry.audiences);
                    entries.push(entry);
                    receivers
                }));
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
                published.push(routed.and_then(|receivers| {
                    let outcomes = outcomes.as_mut().map_err(|error| Error::Journal(Arc::clone(error)))?;
                    self.published(outcomes.next().expect("the journal answers every entry"), receivers)
                }));
            }
            // A publisher that went away has no use for the answer; its events are published all the same.
            let _ = reply.send(published);
        }
    }

    fn entry(&self, draft: Draft, now: &str) -> Result<Entry, Error> {
        draft.check()?;
        let audiences = match &draft.target {
            Some(target) => target.clone(),
            None => self.rules.route(&draft.name, &draft.payload)?.audiences,
        };
        let key = draft.idempotency_key.clone().map(|key| (key, draft.fingerprint()));
        Ok(Entry { event: draft.into_event(now), audiences, key, expires_at: None, durability: Durability::Fsync })
    }

    fn published(&self, outcome: Outcome, receivers: usize) -> Published {
        let accepted = |seq, receivers, duplicate| Accepted {
            id: notification_id(&self.journal.epoch(), seq),
            seq,
            receivers,
            duplicate,
        };
        match outcome {
            Outcome::Appended(seq, _) => Ok(accepted(seq, receivers, false)),
            Outcome::Duplicate(seq) => Ok(accepted(seq, 0, true)),
            Outcome::Conflict => Err(Error::Conflict),
        }
    }
}
