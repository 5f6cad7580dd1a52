//! Reading from the file: what there is for whom, at the moment of a snapshot.

use std::{ops::Range, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use rusqlite::Transaction;

use crate::{
    domain::{Audience, Epoch, Notification, Seq},
    journal::{
        Bounds, Error, Page, Query,
        log::millis,
        sqlite::{
            admission::Admission,
            block::{Block, Blocks},
            failure,
            index::Index,
            record, schema,
            snapshots::Snapshots,
        },
    },
};

/// What is read from the file.
#[derive(Debug)]
pub(super) struct Readers {
    epoch: Epoch,
    snapshots: Snapshots,
}

impl Readers {
    pub(super) fn open(path: &Path, epoch: &Epoch, admission: &Arc<Admission>) -> Result<Self, Error> {
        Ok(Self { epoch: epoch.clone(), snapshots: Snapshots::open(path, admission)? })
    }

    /// Lets nobody read any more. Blocks until those are served who wait.
    pub(super) fn close(&self) {
        self.snapshots.close();
    }

    /// Reads what the page has before the place `held`, and makes one page of it and of what is `recent`.
    pub(super) async fn read(&self, query: Query, recent: Page, held: Seq, now: DateTime<Utc>) -> Result<Page, Error> {
        let epoch = self.epoch.clone();
        self.snapshots.with(held, move |snapshot| page(snapshot, &epoch, &query, &recent, held, now)).await
    }

    /// How many of `places` are for one of `audiences`.
    pub(super) async fn count(
        &self,
        audiences: Vec<Audience>,
        places: Range<Seq>,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        self.snapshots.with(places.end, move |snapshot| count(snapshot, &audiences, places, now)).await
    }
}

/// The oldest place that the file keeps at the moment of the snapshot.
fn oldest(snapshot: &Transaction<'_>) -> Result<Seq, Error> {
    schema::ends(snapshot).map(|ends| ends.oldest).map_err(|error| failure(&error))
}

/// What of the file is to be read.
struct Reach {
    places: Range<Seq>,
    /// What expired by then is passed over; milliseconds since 1970.
    now: i64,
    newest_first: bool,
}

impl Reach {
    fn order(&self) -> &'static str {
        if self.newest_first { "DESC" } else { "ASC" }
    }
}

/// The first of `places` before which nothing was appended at `since` or later. Places and the times that were reached by then
/// rise together, so halving finds it, without an index that every append would have to pay for.
fn place_since(snapshot: &Transaction<'_>, places: &Range<Seq>, since: i64) -> rusqlite::Result<Seq> {
    let sql = "SELECT coalesce(reached_at, appended_at) FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
    let mut reached_at = snapshot.prepare_cached(sql)?;
    let (mut low, mut high) = (places.start, places.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if reached_at.query_row([middle as i64], |row| row.get::<_, i64>(0))? < since {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn count(
    snapshot: &Transaction<'_>,
    audiences: &[Audience],
    places: Range<Seq>,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let places = oldest(snapshot)?.max(places.start)..places.end;
    let reach = Reach { places, now: millis(now), newest_first: false };
    let mut count = 0;
    visit_some(snapshot, audiences, &reach, |_| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

fn page(
    snapshot: &Transaction<'_>,
    epoch: &Epoch,
    query: &Query,
    recent: &Page,
    held: Seq,
    now: DateTime<Utc>,
) -> Result<Page, Error> {
    let oldest = oldest(snapshot)?;
    let mut places = oldest.max(query.after.saturating_add(1))..query.before.unwrap_or(Seq::MAX).min(held);
    let since = query.since.map_or(i64::MIN, millis);
    if query.since.is_some() {
        places.start = place_since(snapshot, &places, since).map_err(|error| failure(&error))?;
    }
    let reach = Reach { places, now: millis(now), newest_first: query.newest_first };
    let mut filling = Filling { query, notifications: Vec::new(), bytes: 0, more: false };
    if query.newest_first {
        filling.take_recent(recent);
    }
    match &query.audiences {
        None => visit_all(snapshot, &reach, |block, seq| {
            let notification = block.notification(epoch, seq)?;
            Ok(block.appended_at < since || notification.is_expired(now) || filling.take(notification))
        })?,
        Some(audiences) => {
            let mut blocks = Blocks::prepare(snapshot).map_err(|error| failure(&error))?;
            visit_some(snapshot, audiences, &reach, |seq| {
                let block = blocks.find(seq)?;
                let notification = block.notification(epoch, seq)?;
                Ok(block.appended_at < since || filling.take(notification))
            })?;
        }
    }
    if !query.newest_first {
        filling.take_recent(recent);
    }
    Ok(Page {
        notifications: filling.notifications,
        more: filling.more,
        bounds: Bounds { oldest, ..recent.bounds },
        lost: Vec::new(),
    })
}

/// A page on its way.
struct Filling<'q> {
    query: &'q Query,
    notifications: Vec<Arc<Notification>>,
    bytes: usize,
    more: bool,
}

impl Filling<'_> {
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

/// Walks over all notifications of `reach`, until `visit` has enough.
fn visit_all(
    snapshot: &Transaction<'_>,
    reach: &Reach,
    mut visit: impl FnMut(&Block, Seq) -> Result<bool, Error>,
) -> Result<(), Error> {
    let Range { start, end } = reach.places;
    if start >= end {
        return Ok(());
    }
    let sql = format!(
        "SELECT {} FROM blocks WHERE first >= (SELECT coalesce(max(first), 0) FROM blocks WHERE first <= ?1) \
         AND first < ?2 ORDER BY first {}",
        Block::COLUMNS,
        reach.order()
    );
    let mut statement = snapshot.prepare_cached(&sql).map_err(|error| failure(&error))?;
    let blocks = statement.query_map((start as i64, end as i64), Block::from_row).map_err(|error| failure(&error))?;
    for block in blocks {
        let block = block.map_err(|error| failure(&error))?;
        let (first, end) = (block.first.max(start), block.end().min(end));
        for seq in first..end {
            let seq = if reach.newest_first { first + (end - 1 - seq) } else { seq };
            if !visit(&block, seq)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Walks over the places of `reach` that are for one of `audiences`, each once, until `visit` has enough. Reads the index of
/// no segment behind that.
fn visit_some(
    snapshot: &Transaction<'_>,
    audiences: &[Audience],
    reach: &Reach,
    mut visit: impl FnMut(Seq) -> Result<bool, Error>,
) -> Result<(), Error> {
    let Range { start, end } = reach.places;
    if start >= end {
        return Ok(());
    }
    let keys: Vec<_> = audiences.iter().map(record::key).collect();
    let sql = format!("SELECT first FROM segments WHERE last >= ?1 AND first < ?2 ORDER BY first {}", reach.order());
    let mut segments = snapshot.prepare_cached(&sql).map_err(|error| failure(&error))?;
    let segments = segments.query_map((start as i64, end as i64), |row| row.get::<_, i64>(0));
    let mut index = Index::prepare(snapshot).map_err(|error| failure(&error))?;
    let mut places = Vec::new();
    for segment in segments.map_err(|error| failure(&error))? {
        let segment = segment.map_err(|error| failure(&error))? as Seq;
        for key in &keys {
            index.find(segment, key, &reach.places, reach.now, &mut places)?;
        }
        places.sort_unstable();
        places.dedup();
        if reach.newest_first {
            places.reverse();
        }
        for seq in places.drain(..) {
            if !visit(seq)? {
                return Ok(());
            }
        }
    }
    Ok(())
}
