//! Reading from the file: what there is for whom, at the moment of a snapshot.

use std::{
    ops::{Range, RangeInclusive},
    path::Path,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction};

use crate::{
    domain::{Audience, Notification, Seq},
    journal::{
        Bounds, Error, Page, Query,
        log::millis,
        sqlite::{
            damage::Ranges,
            failure,
            read_gate::ReadGate,
            schema,
            shared::Shared,
            snapshots::Snapshots,
            walk::{Reach, Walk},
        },
    },
    worker::Worker,
};

/// Reads the file for those who catch up.
#[derive(Debug)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    snapshots: Snapshots,
}

impl Readers {
    pub(super) fn open(
        path: &Path,
        shared: &Arc<Shared>,
        read_gate: &Arc<ReadGate>,
    ) -> Result<(Self, Vec<Worker>), Error> {
        let (snapshots, workers) = Snapshots::open(path, read_gate)?;
        Ok((Self { shared: Arc::clone(shared), snapshots }, workers))
    }

    /// Lets nobody read any more. Blocks until those are served who wait.
    pub(super) fn close(&self) {
        self.snapshots.close();
    }

    /// Reads what the page has before the position `held`, and makes one page of it and of what is `recent`.
    pub(super) async fn read(&self, query: Query, recent: Page, held: Seq, now: DateTime<Utc>) -> Result<Page, Error> {
        let shared = Arc::clone(&self.shared);
        self.snapshots.with(held, move |snapshot| page(snapshot, &shared, &query, &recent, held, now)).await
    }

    /// How many of `positions` are for one of `audiences`.
    pub(super) async fn count(
        &self,
        audiences: Vec<Audience>,
        positions: Range<Seq>,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let shared = Arc::clone(&self.shared);
        self.snapshots.with(positions.end, move |snapshot| count(snapshot, &shared, &audiences, positions, now)).await
    }
}

/// The oldest position that the file keeps at the moment of the snapshot.
fn oldest(snapshot: &Transaction<'_>) -> Result<Seq, Error> {
    schema::oldest(snapshot).map_err(|error| failure(&error))
}

fn walk<'s>(snapshot: &'s Transaction<'s>, shared: &'s Shared) -> Walk<'s> {
    let (epoch, damage, faults) = (&shared.epoch, &shared.damage, &shared.faults);
    Walk { snapshot, epoch, damage, faults, lost: Ranges::default() }
}

/// The first of `positions` before which nothing was appended at `since` or later. Places and the times that were reached by then
/// rise together, so halving finds it, without an index that every append would have to pay for. Where the file is damaged
/// nothing is left out.
fn place_since(snapshot: &Transaction<'_>, positions: &Range<Seq>, since: i64) -> Result<Seq, Error> {
    let sql = "SELECT coalesce(reached_at, appended_at) FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
    let mut reached_at = snapshot.prepare_cached(sql).map_err(|error| failure(&error))?;
    let (mut low, mut high) = (positions.start, positions.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match reached_at.query_row([middle as i64], |row| row.get::<_, i64>(0)).optional() {
            Ok(Some(reached_at)) if reached_at >= since => high = middle,
            Ok(_) => low = middle + 1,
            Err(error) => match failure(&error) {
                Error::Damaged(_) => return Ok(positions.start),
                other => return Err(other),
            },
        }
    }
    Ok(low)
}

fn count(
    snapshot: &Transaction<'_>,
    shared: &Shared,
    audiences: &[Audience],
    positions: Range<Seq>,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let positions = oldest(snapshot)?.max(positions.start)..positions.end;
    let reach = Reach { positions, now: millis(now), newest_first: false };
    let mut count = 0;
    walk(snapshot, shared).some(audiences, &reach, |_, _| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

fn page(
    snapshot: &Transaction<'_>,
    shared: &Shared,
    query: &Query,
    recent: &Page,
    held: Seq,
    now: DateTime<Utc>,
) -> Result<Page, Error> {
    let oldest = oldest(snapshot)?;
    let mut positions = oldest.max(query.after.saturating_add(1))..query.before.unwrap_or(Seq::MAX).min(held);
    let since = query.since.map_or(i64::MIN, millis);
    if query.since.is_some() {
        positions.start = place_since(snapshot, &positions, since)?;
    }
    let reach = Reach { positions, now: millis(now), newest_first: query.newest_first };
    let mut filling = Filling { query, notifications: Vec::new(), bytes: 0, more: false };
    if query.newest_first {
        filling.take_recent(recent);
    }
    let mut walk = walk(snapshot, shared);
    match &query.audiences {
        _ if filling.more => {}
        None => walk.all(&reach, |batch_row, seq| {
            let notification = batch_row.notification(&shared.epoch, seq)?;
            Ok(batch_row.appended_at < since || notification.is_expired(now) || filling.take(notification))
        })?,
        Some(audiences) => walk.some(audiences, &reach, |batch_row, seq| {
            let notification = batch_row.notification(&shared.epoch, seq)?;
            Ok(batch_row.appended_at < since || filling.take(notification))
        })?,
    }
    if !query.newest_first {
        filling.take_recent(recent);
    }
    let lost = lost(shared, walk.lost, &filling.covered(reach.positions));
    let Filling { notifications, more, .. } = filling;
    Ok(Page { notifications, more, bounds: Bounds { oldest, ..recent.bounds }, lost })
}

/// What a page does not have of the positions that it covers: what was lost on the way, and what is known to be missing.
fn lost(shared: &Shared, mut lost: Ranges, covered: &Range<Seq>) -> Vec<RangeInclusive<Seq>> {
    for hole in shared.damage.holes(covered) {
        lost.add(hole);
    }
    let mut within = Ranges::default();
    for range in lost.within(covered) {
        within.add(range);
    }
    within.into()
}

/// A page on its way.
struct Filling<'q> {
    query: &'q Query,
    notifications: Vec<Arc<Notification>>,
    bytes: usize,
    more: bool,
}

impl Filling<'_> {
    /// Which of the `positions` that were to be read the page covers.
    fn covered(&self, positions: Range<Seq>) -> Range<Seq> {
        match self.notifications.last() {
            Some(last) if self.more && self.query.newest_first => last.seq.max(positions.start)..positions.end,
            Some(last) if self.more => positions.start..last.seq.min(positions.end),
            None if self.more => positions.start..positions.start,
            _ => positions,
        }
    }

    /// Takes in one more, if it fits; says whether it did.
    fn take(&mut self, notification: Arc<Notification>) -> bool {
        self.bytes += notification.size();
        let large = self.bytes > self.query.max_bytes && !self.notifications.is_empty();
        self.more = large || self.notifications.len() == self.query.limit;
        if !self.more {
            self.notifications.push(notification);
        }
        !self.more
    }

    /// Takes in what memory has of the page, as far as it fits.
    fn take_recent(&mut self, recent: &Page) {
        if !self.more && recent.notifications.iter().all(|notification| self.take(Arc::clone(notification))) {
            self.more = recent.more;
        }
    }
}
