//! What goes: the oldest notifications, by count, bytes and age, whichever is reached first; a few with each commit.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::{
    domain::Seq,
    journal::{Options, sqlite::record},
};

/// What the file keeps at the most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) max_entries: u64,
    /// Of the file, without the write-ahead log.
    pub(super) max_bytes: u64,
    pub(super) max_age: TimeDelta,
}

/// How much of the room on disk the write-ahead log may take; the file has the rest. Long enough, and it gathers the writes
/// to a page that several commits touch.
pub(super) fn log_bytes(options: &Options) -> u64 {
    const SHARE: u64 = 8;
    const MOST: u64 = 16 * 1024 * 1024;
    (options.max_bytes.get() as u64 / SHARE).min(MOST)
}

impl From<&Options> for Retention {
    fn from(options: &Options) -> Self {
        Self {
            max_entries: options.max_entries.get() as u64,
            max_bytes: options.max_bytes.get() as u64 - log_bytes(options),
            max_age: options.max_age(),
        }
    }
}

impl Retention {
    /// Lets at most `most` notifications go that lie between `oldest` and `newest` and are beyond the limits at `now`, as
    /// part of the transaction in hand, and gives the oldest place that is kept.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        (oldest, newest): (Seq, Seq),
        now: DateTime<Utc>,
        most: usize,
    ) -> rusqlite::Result<Seq> {
        let held = newest + 1 - oldest;
        let by_count = held.saturating_sub(self.max_entries);
        let by_bytes = self.over_bytes(connection, held)?.min(held.saturating_sub(1));
        let first_kept = oldest + by_count.max(by_bytes);
        let too_old = now.checked_sub_signed(self.max_age).map_or(i64::MIN, record::millis);
        let mut rows = connection.prepare_cached(
            "SELECT seq, appended_at, audiences FROM notifications WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = rows.query((oldest as i64, most as i64))?;
        let mut unindex = connection.prepare_cached("DELETE FROM places WHERE audience = ?1 AND seq = ?2")?;
        let mut kept = oldest;
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)? as Seq;
            if seq >= first_kept && row.get::<_, i64>(1)? > too_old {
                break;
            }
            for key in record::split(row.get_ref(2)?.as_str()?) {
                unindex.execute((key, seq as i64))?;
            }
            kept = seq + 1;
        }
        if kept > oldest {
            connection.prepare_cached("DELETE FROM notifications WHERE seq < ?1")?.execute([kept as i64])?;
            connection.prepare_cached("UPDATE journal SET oldest = ?1")?.execute([kept as i64])?;
        }
        Ok(kept)
    }

    /// About how many of `held` notifications must go for the rest to fit. Pages that are free count as gone: they are
    /// used again.
    fn over_bytes(&self, connection: &Connection, held: u64) -> rusqlite::Result<u64> {
        let pragma = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
        let used = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
        let used = (used * pragma("PRAGMA page_size")?) as u64;
        let over = used.saturating_sub(self.max_bytes);
        Ok((over * held).div_ceil(used.max(1)))
    }
}
