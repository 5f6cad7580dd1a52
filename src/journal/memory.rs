//! The journal in the memory of the process: fast, and gone with it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    domain::{Audience, Delivery, Durability, Ephemeral, Epoch, Interest, Notification, Seq},
    journal::{
        Answer, Append, Attend, Attendance, Batch, Bounds, CommitFanout, CommitStream, Condition, Entry, Error, Follow,
        Incarnation, Journal, Options, Outcome, Page, Query, Read, Relay, Stored,
        aging::{Aging, Hold},
        faults::{FaultKind, Faults},
        idempotency::{KeyWindow, Staged},
        log::{Log, LogLimits, millis},
    },
    worker::Worker,
};

/// A journal that lives as long as the process. Its epoch is a new one each time.
#[derive(Debug)]
pub struct Memory {
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    faults: Faults,
    fanout: CommitFanout,
    /// Held over "commit, then hand to the commit streams", so that the commit streams see the order of the positions.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Memory {
    /// An empty journal.
    pub fn new(options: &Options, clock: Arc<dyn Clock>) -> Self {
        let limits = LogLimits {
            entries: options.max_entries.get(),
            bytes: options.max_bytes.min(options.memory_bytes).get(),
            age: options.max_age(),
        };
        let keys = KeyWindow::new(options);
        Self {
            epoch: Epoch::from_random(rand::random()),
            faults: Faults::new(Arc::clone(&clock)),
            kept: Mutex::new(Kept {
                log: Log::new(limits, 0),
                reached_at: i64::MIN,
                aging: Aging::new(Arc::clone(&clock), None, Hold::default()),
                keys,
            }),
            clock,
            fanout: CommitFanout::default(),
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    fn commit(&self, entries: Vec<Entry>) -> (Vec<Outcome>, Batch) {
        let now = self.clock.wall();
        let at = DateTime::from_timestamp_millis(millis(now)).unwrap_or(now);
        let mut kept = self.kept.lock();
        let old_at = kept.look(&self.faults);
        let ended = kept.keys.ended(old_at);
        kept.keys.expire(ended, 2 * entries.len());
        let mut staged = Staged::default();
        let mut committed = Vec::with_capacity(entries.len());
        let outcomes = entries
            .into_iter()
            .map(|entry| {
                let outcome = kept.outcome(&mut staged, &entry, at, ended);
                if let Outcome::Appended(Stored { seq, .. }) = outcome {
                    let notification =
                        Notification::new(self.epoch.clone(), seq, entry.event, entry.audiences, entry.expires_at);
                    let notification = Arc::new(notification);
                    let reached_at = kept.reached_at.max(millis(now));
                    kept.reached_at = reached_at;
                    kept.log.push(millis(now), reached_at, Arc::clone(&notification));
                    committed.push(notification.into());
                }
                outcome
            })
            .collect();
        kept.keys.commit(staged, ended, now, self.clock.monotonic());
        kept.log.trim(old_at, 0);
        (outcomes, committed.into())
    }
}

impl Incarnation for Memory {
    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }
}

#[async_trait]
impl Append for Memory {
    async fn append(&self, entries: Vec<Entry>) -> Result<Answer, Error> {
        let _turn = self.one_at_a_time.lock().await;
        let (outcomes, committed) = self.commit(entries);
        if !committed.is_empty() {
            self.fanout.send(committed).await;
        }
        Ok(Answer { epoch: self.epoch(), outcomes })
    }
}

#[async_trait]
impl Relay for Memory {
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error> {
        self.fanout.send(Arc::new([Delivery::Ephemeral(Arc::new(frame))])).await;
        Ok(())
    }
}

impl Follow for Memory {
    fn commit_stream(&self) -> CommitStream {
        self.fanout.follow()
    }

    fn end_commit_streams(&self) {
        self.fanout.end();
    }
}

#[async_trait]
impl Read for Memory {
    fn bounds(&self) -> Bounds {
        self.kept.lock().log.bounds()
    }

    fn shortest_key_life(&self) -> Option<Duration> {
        let life = Arc::clone(self.kept.lock().keys.life());
        life.shortest(self.clock.monotonic())
    }

    fn condition(&self) -> Condition {
        self.kept.lock().look(&self.faults);
        self.faults.condition()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        Ok(self.kept.lock().log.read(&query, self.clock.wall()))
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        Ok(self.kept.lock().log.count(audiences, after, until, self.clock.wall()))
    }
}

#[async_trait]
impl Attend for Memory {
    async fn attend(&self, _: &[Interest], _: Option<Seq>) -> Result<Attendance, Error> {
        Ok(Attendance::to_everything(self.epoch(), self.bounds()))
    }
}

#[async_trait]
impl Journal for Memory {
    fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// What is kept, and the keys that were used.
#[derive(Debug)]
struct Kept {
    log: Log,
    /// The latest time at which something was appended.
    reached_at: i64,
    aging: Aging,
    keys: KeyWindow,
}

impl Kept {
    /// Looks at the clock, and gives the time at which what is old may go, if anything may.
    fn look(&mut self, faults: &Faults) -> Option<DateTime<Utc>> {
        let old_at = self.aging.look(self.reached_at);
        faults.set(FaultKind::Clock, self.aging.fault().as_deref());
        old_at
    }

    fn outcome(&self, staged: &mut Staged, entry: &Entry, at: DateTime<Utc>, ended: i64) -> Outcome {
        let seq = self.log.bounds().newest + 1;
        let stored = Stored { seq, durability: Some(Durability::Memory), at };
        let known = entry.key.as_ref().and_then(|key| self.keys.claim(staged, key, stored, ended));
        known.unwrap_or(Outcome::Appended(stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance;

    fn open(options: &Options) -> Arc<Memory> {
        Arc::new(Memory::new(options, conformance::clock()))
    }

    conformance::suite!(open, conformance::advance);
    conformance::embedded::suite!(open, conformance::advance);
    conformance::clocks::suite!(open);
}
