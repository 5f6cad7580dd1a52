//! The journal in the memory of the process: fast, and gone with it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::{
    domain::{Audience, Delivery, Durability, Ephemeral, Epoch, Notification, Seq},
    journal::{
        Append, Batch, Bounds, Entry, Error, Follow, Incarnation, Options, Outcome, Page, Query, Read, Relay, Tail,
        clock::Clock,
        idempotency::{Keys, Seen},
        tail::Tails,
    },
};

/// A journal that lives as long as the process. Its epoch is a new one each time.
#[derive(Debug)]
pub struct Memory {
    epoch: Epoch,
    clock: Clock,
    log: Mutex<Log>,
    tails: Tails,
    /// Held over "commit, then hand to the tails", so that the tails see the order of the places.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Memory {
    /// An empty journal.
    pub fn new(options: &Options) -> Self {
        Self {
            epoch: Epoch::from_random(rand::random()),
            clock: Clock::start(),
            log: Mutex::new(Log::new(options)),
            tails: Tails::default(),
            one_at_a_time: tokio::sync::Mutex::new(()),
        }
    }

    fn commit(&self, entries: Vec<Entry>) -> (Vec<Outcome>, Batch) {
        let now = self.clock.now();
        let mut log = self.log.lock();
        log.keys.expire(now);
        let mut committed = Vec::with_capacity(entries.len());
        let outcomes = entries
            .into_iter()
            .map(|entry| {
                let outcome = log.outcome(&entry);
                if let Outcome::Appended(seq, _) = outcome {
                    if let Some((key, fingerprint)) = entry.key {
                        log.keys.remember(now, key, fingerprint, seq);
                    }
                    let notification =
                        Notification::new(self.epoch.clone(), seq, entry.event, entry.audiences, entry.expires_at);
                    let notification = Arc::new(notification);
                    log.push(Arc::clone(&notification));
                    committed.push(Delivery::Notification(notification));
                }
                outcome
            })
            .collect();
        log.trim();
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
    async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Outcome>, Error> {
        let _turn = self.one_at_a_time.lock().await;
        let (outcomes, committed) = self.commit(entries);
        if !committed.is_empty() {
            self.tails.send(committed).await;
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl Relay for Memory {
    async fn relay(&self, frame: Ephemeral) {
        self.tails.send(Arc::new([Delivery::Ephemeral(Arc::new(frame))])).await;
    }
}

impl Follow for Memory {
    fn tail(&self) -> Tail {
        self.tails.follow()
    }

    fn end_tails(&self) {
        self.tails.end();
    }
}

#[async_trait]
impl Read for Memory {
    fn bounds(&self) -> Bounds {
        self.log.lock().bounds()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        Ok(self.log.lock().read(&query, self.clock.now()))
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        let log = self.log.lock();
        let query = Query {
            audiences: Some(audiences),
            after,
            before: Some(until.saturating_add(1)),
            limit: usize::MAX,
            max_bytes: usize::MAX,
            newest_first: false,
        };
        Ok(log.matching(&query, usize::MAX, self.clock.now()).len() as u64)
    }
}

/// The notifications that are kept, oldest first, with an index by audience.
#[derive(Debug)]
struct Log {
    max_entries: usize,
    max_bytes: usize,
    newest: Seq,
    entries: VecDeque<Arc<Notification>>,
    bytes: usize,
    places: HashMap<Audience, VecDeque<Seq>>,
    keys: Keys,
}

impl Log {
    fn new(options: &Options) -> Self {
        Self {
            max_entries: options.max_entries.get(),
            max_bytes: options.max_bytes.get(),
            newest: 0,
            entries: VecDeque::new(),
            bytes: 0,
            places: HashMap::new(),
            keys: Keys::new(options.idempotency_window, options.idempotency_max_keys.get()),
        }
    }

    fn outcome(&self, entry: &Entry) -> Outcome {
        let seen = entry.key.as_ref().map_or(Seen::Never, |(key, fingerprint)| self.keys.seen(key, fingerprint));
        match seen {
            Seen::Never => Outcome::Appended(self.newest + 1, Durability::Memory),
            Seen::Same(seq) => Outcome::Duplicate(seq),
            Seen::Other => Outcome::Conflict,
        }
    }

    fn push(&mut self, notification: Arc<Notification>) {
        self.newest = notification.seq;
        self.bytes += notification.size();
        for audience in notification.audiences.as_slice() {
            match self.places.get_mut(audience) {
                Some(places) => places.push_back(notification.seq),
                None => {
                    self.places.insert(audience.clone(), VecDeque::from([notification.seq]));
                }
            }
        }
        self.entries.push_back(notification);
    }

    /// Lets the oldest go until the rest is within its limits.
    fn trim(&mut self) {
        while self.entries.len() > self.max_entries || (self.bytes > self.max_bytes && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.size();
            for audience in oldest.audiences.as_slice() {
                if let Some(places) = self.places.get_mut(audience) {
                    places.pop_front();
                    if places.is_empty() {
                        self.places.remove(audience);
                    }
                }
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { oldest: self.newest + 1 - self.entries.len() as Seq, newest: self.newest }
    }

    fn read(&self, query: &Query, now: DateTime<Utc>) -> Page {
        let bounds = self.bounds();
        let places = self.matching(query, query.limit.saturating_add(1), now);
        let mut notifications = Vec::with_capacity(places.len().min(query.limit));
        let mut bytes = 0;
        for place in &places {
            let notification = &self.entries[(place - bounds.oldest) as usize];
            bytes += notification.size();
            let full = notifications.len() == query.limit || (bytes > query.max_bytes && !notifications.is_empty());
            if full {
                break;
            }
            notifications.push(Arc::clone(notification));
        }
        Page { more: notifications.len() < places.len(), notifications, bounds }
    }

    /// The first `limit` places that `query` asks for, in its order, without those that expired by `now`.
    fn matching(&self, query: &Query, limit: usize, now: DateTime<Utc>) -> Vec<Seq> {
        let bounds = self.bounds();
        let from = bounds.oldest.max(query.after.saturating_add(1));
        let to = query.before.unwrap_or(Seq::MAX).min(bounds.newest + 1);
        // Places are consecutive, so the offset from the oldest one is the index.
        let alive = |place: &Seq| !self.entries[(place - bounds.oldest) as usize].is_expired(now);
        let Some(audiences) = &query.audiences else {
            let all = (from..to.max(from)).filter(alive);
            return if query.newest_first { all.rev().take(limit).collect() } else { all.take(limit).collect() };
        };
        let mut found = Vec::new();
        for places in audiences.iter().filter_map(|audience| self.places.get(audience)) {
            let first = places.partition_point(|place| *place < from);
            let end = places.partition_point(|place| *place < to).max(first);
            let within = places.range(first..end).copied().filter(alive);
            if query.newest_first {
                found.extend(within.rev().take(limit));
            } else {
                found.extend(within.take(limit));
            }
        }
        found.sort_unstable();
        found.dedup();
        if query.newest_first {
            found.reverse();
        }
        found.truncate(limit);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance;

    fn open(options: &Options) -> Arc<Memory> {
        Arc::new(Memory::new(options))
    }

    conformance::suite!(open);
}
