//! Notifications in memory, oldest first, with an index by audience: all of the memory engine, and the newest part of
//! the others, which spares them the disk.

use std::{collections::VecDeque, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::{HashMap, HashMapExt};

use crate::{
    domain::{Audience, Notification, Seq},
    journal::{Bounds, Page, Query},
};

/// What a log keeps at the most, by whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLimits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) age: TimeDelta,
}

/// Notifications with consecutive positions, and when they were appended.
#[derive(Debug)]
pub(super) struct Log {
    limits: LogLimits,
    newest: Seq,
    entries: VecDeque<Entry>,
    bytes: usize,
    positions: HashMap<Audience, VecDeque<Seq>>,
}

/// A notification in the log. Times are milliseconds since 1970.
#[derive(Debug)]
struct Entry {
    appended_at: i64,
    /// The latest time at which this one or one before it was appended. The clock may have been put back; this never falls, so
    /// that what is searched for by time is found by halving, and what is old goes from the front.
    reached_at: i64,
    notification: Arc<Notification>,
}

impl Log {
    /// An empty log, whose first notification will have the position after `newest`.
    pub(super) fn new(limits: LogLimits, newest: Seq) -> Self {
        Self { limits, newest, entries: VecDeque::new(), bytes: 0, positions: HashMap::new() }
    }

    /// Takes in the notification of the next position.
    pub(super) fn push(&mut self, appended_at: i64, reached_at: i64, notification: Arc<Notification>) {
        self.newest = notification.seq;
        self.bytes += notification.size();
        for audience in notification.audiences.as_slice() {
            match self.positions.get_mut(audience) {
                Some(positions) => positions.push_back(notification.seq),
                None => {
                    self.positions.insert(audience.clone(), VecDeque::from([notification.seq]));
                }
            }
        }
        self.entries.push_back(Entry { appended_at, reached_at, notification });
    }

    /// Lets the oldest go until the rest is within its limits, or no more than the newest `needed` are left. The newest one may
    /// be too large, but not too old. Without `now`, nothing goes by its age.
    pub(super) fn trim(&mut self, now: Option<DateTime<Utc>>, needed: usize) {
        let too_old = now.and_then(|now| now.checked_sub_signed(self.limits.age)).map_or(i64::MIN, millis);
        while self.entries.len() > needed
            && let Some(Entry { reached_at, .. }) = self.entries.front()
        {
            let many = self.entries.len() > self.limits.entries;
            let large = self.bytes > self.limits.bytes && self.entries.len() > 1;
            let old = *reached_at <= too_old;
            if !(many || large || old) {
                return;
            }
            self.pop_oldest();
        }
    }

    /// Lets go of what lies before `oldest`.
    pub(super) fn forget_before(&mut self, oldest: Seq) {
        while self.entries.front().is_some_and(|entry| entry.notification.seq < oldest) {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        let Some(Entry { notification: oldest, .. }) = self.entries.pop_front() else { return };
        self.bytes -= oldest.size();
        for audience in oldest.audiences.as_slice() {
            if let Some(positions) = self.positions.get_mut(audience) {
                positions.pop_front();
                if positions.is_empty() {
                    self.positions.remove(audience);
                }
            }
        }
    }

    /// What the log holds.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds::of_consecutive(self.newest + 1 - self.entries.len() as Seq, self.newest)
    }

    /// Reads a page, without what expired by `now`.
    pub(super) fn read(&self, query: &Query, now: DateTime<Utc>) -> Page {
        let bounds = self.bounds();
        let positions = self.matching(query, query.limit.saturating_add(1), now);
        let mut notifications = Vec::with_capacity(positions.len().min(query.limit));
        let mut bytes = 0;
        for position in &positions {
            let notification = &self.at(*position).notification;
            bytes += notification.size();
            let full = notifications.len() == query.limit || (bytes > query.max_bytes && !notifications.is_empty());
            if full {
                break;
            }
            notifications.push(Arc::clone(notification));
        }
        Page { more: notifications.len() < positions.len(), notifications, bounds, lost: Vec::new() }
    }

    /// How many notifications for `audiences` lie after `after` and not after `until`, without what expired by `now`.
    pub(super) fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq, now: DateTime<Utc>) -> u64 {
        let query = Query {
            audiences: Some(audiences),
            after,
            before: Some(until.saturating_add(1)),
            since: None,
            limit: usize::MAX,
            max_bytes: usize::MAX,
            newest_first: false,
        };
        self.matching(&query, usize::MAX, now).len() as u64
    }

    /// The first position before which nothing was appended at `since` or later, to the millisecond; the one that comes next if
    /// there is nothing else.
    pub(super) fn place_since(&self, since: DateTime<Utc>) -> Seq {
        let earlier = self.entries.partition_point(|entry| entry.reached_at < millis(since));
        self.bounds().oldest + earlier as Seq
    }

    fn at(&self, position: Seq) -> &Entry {
        // Places are consecutive, so the offset from the oldest one is the index.
        &self.entries[(position - self.bounds().oldest) as usize]
    }

    /// The first `limit` positions that `query` asks for, in its order, without those that expired by `now`.
    fn matching(&self, query: &Query, limit: usize, now: DateTime<Utc>) -> Vec<Seq> {
        let bounds = self.bounds();
        let reached = query.since.map_or(0, |since| self.place_since(since));
        let from = bounds.oldest.max(query.after.saturating_add(1)).max(reached);
        let to = query.before.unwrap_or(Seq::MAX).min(bounds.newest + 1);
        let since = query.since.map_or(i64::MIN, millis);
        let alive = |position: &Seq| {
            let Entry { appended_at, notification, .. } = self.at(*position);
            *appended_at >= since && !notification.is_expired(now)
        };
        let Some(audiences) = &query.audiences else {
            let all = (from..to.max(from)).filter(alive);
            return if query.newest_first { all.rev().take(limit).collect() } else { all.take(limit).collect() };
        };
        let mut found = Vec::new();
        for positions in audiences.iter().filter_map(|audience| self.positions.get(audience)) {
            let first = positions.partition_point(|position| *position < from);
            let end = positions.partition_point(|position| *position < to).max(first);
            let within = positions.range(first..end).copied().filter(alive);
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

/// A time as it is compared and kept: milliseconds since 1970.
pub(super) fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}
