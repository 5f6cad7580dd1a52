//! What the writer and those who read have in common: the newest notifications in memory, and what is known of the rest.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::{
    domain::{Audience, Epoch, Notification, Seq},
    journal::{
        Bounds, CommitFanout, Options, Page, Query,
        faults::Faults,
        idempotency::KeyLife,
        log::{Log, LogLimits},
        sqlite::damage::Damage,
    },
};

/// How many positions are looked through while those wait who commit.
const COUNTED_AT_ONCE: Seq = 4_096;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) epoch: Epoch,
    pub(super) fanout: CommitFanout,
    pub(super) key_life: Arc<KeyLife>,
    oldest: AtomicU64,
    newest: AtomicU64,
    recent: Mutex<Log>,
    pub(super) faults: Arc<Faults>,
    pub(super) damage: Damage,
}

impl Shared {
    /// What bounds the memory for the newest notifications.
    pub(super) fn limits(options: &Options) -> LogLimits {
        LogLimits { entries: usize::MAX, bytes: options.memory_bytes.get(), age: TimeDelta::MAX }
    }

    /// What is known when the file is opened.
    pub(super) fn new(
        epoch: Epoch,
        bounds: Bounds,
        recent: Log,
        key_life: Arc<KeyLife>,
        (faults, damage): (Arc<Faults>, Damage),
    ) -> Self {
        Self {
            epoch,
            fanout: CommitFanout::default(),
            key_life,
            oldest: AtomicU64::new(bounds.oldest),
            newest: AtomicU64::new(bounds.newest),
            recent: Mutex::new(recent),
            faults,
            damage,
        }
    }

    /// What the file holds.
    pub(super) fn bounds(&self) -> Bounds {
        // In this order: what comes between the two can only widen the bounds.
        let oldest = self.oldest.load(Ordering::Acquire);
        Bounds::of_consecutive(oldest, self.newest.load(Ordering::Acquire))
    }

    /// Takes in what was committed, and lets go of what lies before `oldest`. The last `unindexed` positions stay: they could
    /// not be found in the file.
    pub(super) fn committed(
        &self,
        (appended_at, reached_at): (i64, i64),
        notifications: &[Arc<Notification>],
        oldest: Seq,
        unindexed: usize,
    ) {
        let mut recent = self.recent.lock();
        for notification in notifications {
            recent.push(appended_at, reached_at, Arc::clone(notification));
        }
        recent.trim(None, unindexed);
        recent.forget_before(oldest);
        self.damage.forget_before(oldest, &self.faults);
        self.newest.store(recent.bounds().newest, Ordering::Release);
        self.oldest.store(oldest, Ordering::Release);
    }

    /// What memory has of a page. If that is not all of it, the rest is in the file, and lies before the position that is given.
    pub(super) fn read(&self, query: &Query, now: DateTime<Utc>) -> (Page, Option<Seq>) {
        let recent = self.recent.lock();
        let bounds = self.bounds();
        let held = recent.bounds().oldest;
        // If one that is held is too early for `since`, all that are not held are.
        let since_held = query.since.is_some_and(|since| recent.place_since(since) > held);
        let all_held = since_held || held <= bounds.oldest.max(query.after.saturating_add(1));
        let page = recent.read(query, now);
        // From the newest down, a page that is full before the memory ends is the page.
        let is_all = all_held || (query.newest_first && page.more);
        (Page { bounds, ..page }, (!is_all).then_some(held))
    }

    /// How many memory has of those that are to be counted. If these are not all, the rest is in the file, and lies before
    /// the position that is given. Whoever commits waits for a few thousand positions at the most.
    pub(super) fn count(
        &self,
        audiences: &[Audience],
        after: Seq,
        until: Seq,
        now: DateTime<Utc>,
    ) -> (u64, Option<Seq>) {
        let first = after.saturating_add(1);
        let mut end = until.saturating_add(1).min(self.recent.lock().bounds().newest + 1);
        let mut count = 0;
        // From the newest down: what goes from memory meanwhile, at its other end, is in the file.
        loop {
            let recent = self.recent.lock();
            let held = recent.bounds().oldest;
            let from = end.saturating_sub(COUNTED_AT_ONCE).max(held).max(first);
            if from < end {
                count += recent.count(audiences.to_vec(), from - 1, end - 1, now);
                end = from;
            }
            if end <= held.max(first) {
                let all_held = held <= self.bounds().oldest.max(first);
                return (count, (!all_held).then_some(end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread};

    use bytes::Bytes;
    use chrono::Utc;

    use super::*;
    use crate::{
        clock::{Clock, Manual},
        domain::{Event, Payload},
    };

    const COUNT: Seq = 20_000;

    fn shared() -> Shared {
        let clock: Arc<dyn Clock> = Arc::new(Manual::new(DateTime::<Utc>::UNIX_EPOCH));
        let epoch = Epoch::from_text("e");
        let mut log = Log::new(LogLimits { entries: usize::MAX, bytes: usize::MAX, age: TimeDelta::MAX }, 0);
        let payload = Payload::parse(Bytes::from_static(b"{}")).expect("an object");
        for seq in 1..=COUNT {
            let event = Event { name: "e".into(), payload: payload.clone(), source: "s".into(), timestamp: "t".into() };
            let notification = Notification::new(epoch.clone(), seq, event, Audience::Everyone.into(), None);
            log.push(0, 0, Arc::new(notification));
        }
        let faults = Arc::new(Faults::new(clock));
        Shared::new(epoch, Bounds::of_consecutive(1, COUNT), log, Arc::default(), (faults, Damage::default()))
    }

    // What is counted a few thousand positions at a time is counted once each, and what memory lets go of meanwhile is left to
    // the file.
    #[test]
    fn counting_lets_commits_in_between_and_misses_nothing() {
        let shared = shared();
        let now = DateTime::<Utc>::UNIX_EPOCH;
        for (after, until) in [(0, COUNT), (0, Seq::MAX), (5, 4_101), (4_096, 8_192), (COUNT, COUNT), (9, 3)] {
            let expected = until.min(COUNT).saturating_sub(after);
            assert_eq!(shared.count(&[Audience::Everyone], after, until, now), (expected, None), "{after} to {until}");
        }
        let done = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                for oldest in 2..=COUNT / 2 {
                    shared.recent.lock().forget_before(oldest);
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let (count, held) = shared.count(&[Audience::Everyone], 0, COUNT, now);
                assert_eq!(count + held.map_or(0, |held| held - 1), COUNT);
            }
        });
    }
}
