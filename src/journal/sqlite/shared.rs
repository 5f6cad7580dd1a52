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
        Bounds, Condition, Options, Page, Query,
        log::{Limits, Log},
        tail::Tails,
    },
};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) epoch: Epoch,
    pub(super) tails: Tails,
    oldest: AtomicU64,
    newest: AtomicU64,
    recent: Mutex<Log>,
    degraded: Mutex<Option<Arc<str>>>,
}

impl Shared {
    /// What bounds the memory for the newest notifications.
    pub(super) fn limits(options: &Options) -> Limits {
        Limits { entries: usize::MAX, bytes: options.memory_bytes.get(), age: TimeDelta::MAX }
    }

    /// What is known when the file is opened.
    pub(super) fn new(epoch: Epoch, bounds: Bounds, recent: Log) -> Self {
        Self {
            epoch,
            tails: Tails::default(),
            oldest: AtomicU64::new(bounds.oldest),
            newest: AtomicU64::new(bounds.newest),
            recent: Mutex::new(recent),
            degraded: Mutex::new(None),
        }
    }

    /// What the file holds.
    pub(super) fn bounds(&self) -> Bounds {
        // In this order: what comes between the two can only widen the bounds.
        let oldest = self.oldest.load(Ordering::Acquire);
        Bounds { oldest, newest: self.newest.load(Ordering::Acquire) }
    }

    /// Takes in what was committed, and lets go of what lies before `oldest`. The last `unindexed` places stay: they could
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
        self.newest.store(recent.bounds().newest, Ordering::Release);
        self.oldest.store(oldest, Ordering::Release);
    }

    /// What memory has of a page. If that is not all of it, the rest is in the file, and lies before the place that is given.
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
    /// the place that is given.
    pub(super) fn count(
        &self,
        audiences: &[Audience],
        after: Seq,
        until: Seq,
        now: DateTime<Utc>,
    ) -> (u64, Option<Seq>) {
        let recent = self.recent.lock();
        let held = recent.bounds().oldest;
        let all_held = held <= self.bounds().oldest.max(after.saturating_add(1));
        (recent.count(audiences.to_vec(), after, until, now), (!all_held).then_some(held))
    }

    /// How the writer does.
    pub(super) fn condition(&self) -> Condition {
        self.degraded.lock().clone().map_or(Condition::Well, Condition::Degraded)
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.degraded.lock().is_some()
    }

    /// Says that the writer cannot write, and whether that is news.
    pub(super) fn degrade(&self, reason: &str) -> bool {
        self.degraded.lock().replace(reason.into()).is_none()
    }

    /// Says that the writer can write, and whether that is news.
    pub(super) fn recover(&self) -> bool {
        self.degraded.lock().take().is_some()
    }
}
