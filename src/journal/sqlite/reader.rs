//! Reading from the file: a few connections that see what is committed, each as it is at one moment.

use std::{cmp::Reverse, collections::BinaryHeap, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rusqlite::{CachedStatement, Connection, Rows, Transaction};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    domain::{Audience, Epoch, Notification, Seq},
    journal::{
        Bounds, Error, Page, Query,
        sqlite::{failure, record, schema},
    },
};

/// How many reads go on at the same time; further ones wait.
const CONNECTIONS: usize = 4;

/// The connections for reading.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    epoch: Epoch,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path, epoch: &Epoch) -> Result<Self, Error> {
        let idle = (0..CONNECTIONS).map(|_| schema::open_reader(path)).collect::<Result<_, _>>()?;
        let turns = Arc::new(Semaphore::new(CONNECTIONS));
        Ok(Self { epoch: epoch.clone(), idle: Arc::new(Mutex::new(idle)), turns })
    }

    /// Lets nobody read any more.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle.lock().clear();
    }

    pub(super) async fn read(&self, query: Query, now: DateTime<Utc>) -> Result<Page, Error> {
        let epoch = self.epoch.clone();
        self.with(move |snapshot| page(snapshot, &epoch, &query, now)).await
    }

    pub(super) async fn count(
        &self,
        audiences: Vec<Audience>,
        after: Seq,
        until: Seq,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let query = Query {
            audiences: None,
            after,
            before: Some(until.saturating_add(1)),
            since: None,
            limit: usize::MAX,
            max_bytes: usize::MAX,
            newest_first: false,
        };
        self.with(move |snapshot| {
            let range = Range::of(snapshot, &query, bounds(snapshot)?, now)?;
            let mut cursors = Cursors::prepare(snapshot, &audiences, range.newest_first)?;
            let mut count = 0;
            merge(&mut cursors, range, |_| {
                count += 1;
                Ok(true)
            })?;
            Ok(count)
        })
        .await
    }

    /// Does `work` on a snapshot of the file, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Error::Closed)?;
        let idle = Arc::clone(&self.idle);
        let blocking = spawn_blocking(move || {
            let _turn = turn;
            let connection = idle.lock().pop().expect("there are as many turns as connections");
            let result = connection
                .unchecked_transaction()
                .map_err(|error| failure(&error))
                .and_then(|snapshot| work(&snapshot));
            idle.lock().push(connection);
            result
        });
        blocking.await.map_err(|_| Error::Closed)?
    }
}

/// What the file holds at the moment of the snapshot.
fn bounds(snapshot: &Transaction<'_>) -> Result<Bounds, Error> {
    let schema::Ends { oldest, newest, .. } = schema::ends(snapshot).map_err(|error| failure(&error))?;
    Ok(Bounds { oldest, newest })
}

/// The places that a query asks for: from the first up to, but not including, the last.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: i64,
    to: i64,
    now: i64,
    newest_first: bool,
}

impl Range {
    fn of(snapshot: &Transaction<'_>, query: &Query, bounds: Bounds, now: DateTime<Utc>) -> Result<Self, Error> {
        let column = |seq: Seq| i64::try_from(seq).unwrap_or(i64::MAX);
        let since = query.since.map_or(Ok(0), |since| place_since(snapshot, bounds, record::millis(since)));
        let since = since.map_err(|error| failure(&error))?;
        Ok(Self {
            from: column(bounds.oldest.max(query.after.saturating_add(1)).max(since)),
            to: column(query.before.unwrap_or(Seq::MAX).min(bounds.newest + 1)),
            now: record::millis(now),
            newest_first: query.newest_first,
        })
    }
}

/// The first place that was appended at `since` or later. Places and times rise together, so halving finds it, without an
/// index that every append would have to pay for.
fn place_since(snapshot: &Transaction<'_>, bounds: Bounds, since: i64) -> rusqlite::Result<Seq> {
    let mut appended_at =
        snapshot.prepare_cached("SELECT appended_at FROM notifications WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let (mut low, mut high) = (bounds.oldest, bounds.newest + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if appended_at.query_row([middle as i64], |row| row.get::<_, i64>(0))? < since {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn page(snapshot: &Transaction<'_>, epoch: &Epoch, query: &Query, now: DateTime<Utc>) -> Result<Page, Error> {
    let bounds = bounds(snapshot)?;
    let range = Range::of(snapshot, query, bounds, now)?;
    let mut filling = Filling { query, notifications: Vec::new(), bytes: 0, more: false };
    match &query.audiences {
        None => read_all(snapshot, epoch, range, &mut filling)?,
        Some(audiences) => read_some(snapshot, epoch, audiences, range, &mut filling)?,
    }
    Ok(Page { notifications: filling.notifications, more: filling.more, bounds })
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
        self.more = large || self.is_full();
        if !self.more {
            self.notifications.push(notification);
        }
        !self.more
    }

    fn is_full(&self) -> bool {
        self.notifications.len() == self.query.limit
    }
}

fn read_all(snapshot: &Transaction<'_>, epoch: &Epoch, range: Range, filling: &mut Filling<'_>) -> Result<(), Error> {
    let order = if range.newest_first { "DESC" } else { "ASC" };
    let columns = record::COLUMNS;
    let sql = format!(
        "SELECT {columns} FROM notifications \
         WHERE seq >= ?1 AND seq < ?2 AND (expires_at IS NULL OR expires_at > ?3) ORDER BY seq {order}"
    );
    let mut statement = snapshot.prepare_cached(&sql).map_err(|error| failure(&error))?;
    let mut rows = statement.query((range.from, range.to, range.now)).map_err(|error| failure(&error))?;
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        if filling.is_full() {
            filling.more = true;
            break;
        }
        if !filling.take(record::notification(epoch, row)?) {
            break;
        }
    }
    Ok(())
}

fn read_some(
    snapshot: &Transaction<'_>,
    epoch: &Epoch,
    audiences: &[Audience],
    range: Range,
    filling: &mut Filling<'_>,
) -> Result<(), Error> {
    let sql = format!("SELECT {} FROM notifications WHERE seq = ?1", record::COLUMNS);
    let mut by_place = snapshot.prepare_cached(&sql).map_err(|error| failure(&error))?;
    let mut cursors = Cursors::prepare(snapshot, audiences, range.newest_first)?;
    merge(&mut cursors, range, |seq| {
        if filling.is_full() {
            filling.more = true;
            return Ok(false);
        }
        let mut rows = by_place.query([seq]).map_err(|error| failure(&error))?;
        let row = rows.next().map_err(|error| failure(&error))?;
        let row = row.ok_or_else(|| Error::Damaged(format!("notification {seq} is in the index only")))?;
        Ok(filling.take(record::notification(epoch, row)?))
    })
}

/// A place in the index for each audience.
struct Cursors<'s>(Vec<(String, CachedStatement<'s>)>);

impl<'s> Cursors<'s> {
    fn prepare(snapshot: &'s Transaction<'_>, audiences: &[Audience], newest_first: bool) -> Result<Self, Error> {
        let order = if newest_first { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT seq FROM places WHERE audience = ?1 AND seq >= ?2 AND seq < ?3 \
             AND (expires_at IS NULL OR expires_at > ?4) ORDER BY seq {order}"
        );
        let cursors = audiences.iter().map(|audience| Ok((record::key(audience), snapshot.prepare_cached(&sql)?)));
        cursors.collect::<rusqlite::Result<_>>().map(Self).map_err(|error| failure(&error))
    }
}

/// Walks over the places of all audiences in their order, each once, until `visit` has enough. Reads no more of the index than
/// it visits.
fn merge(
    cursors: &mut Cursors<'_>,
    range: Range,
    mut visit: impl FnMut(i64) -> Result<bool, Error>,
) -> Result<(), Error> {
    let rank = |seq: i64| Reverse(if range.newest_first { -seq } else { seq });
    let advance = |rows: &mut Rows<'_>| {
        let next = rows.next().and_then(|row| row.map(|row| row.get::<_, i64>(0)).transpose());
        next.map_err(|error| failure(&error))
    };
    let mut all_rows = Vec::with_capacity(cursors.0.len());
    let mut heads = BinaryHeap::with_capacity(cursors.0.len());
    for (key, cursor) in &mut cursors.0 {
        let mut rows =
            cursor.query((key.as_str(), range.from, range.to, range.now)).map_err(|error| failure(&error))?;
        if let Some(seq) = advance(&mut rows)? {
            heads.push((rank(seq), seq, all_rows.len()));
            all_rows.push(rows);
        }
    }
    let mut last = None;
    while let Some((_, seq, from)) = heads.pop() {
        if last.replace(seq) != Some(seq) && !visit(seq)? {
            break;
        }
        if let Some(next) = advance(&mut all_rows[from])? {
            heads.push((rank(next), next, from));
        }
    }
    Ok(())
}
