//! What goes: the oldest notifications, by count, bytes and age, whichever is reached first; a few with each commit.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::{
    domain::Seq,
    journal::{Options, log::millis},
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
    /// Lets at most `most` notifications go that lie between `oldest` and `newest` and are beyond the limits, as part of the
    /// transaction in hand, and gives the oldest place that is kept. Rows go when all in them is gone. Without `now`, nothing
    /// goes by its age.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        (oldest, newest): (Seq, Seq),
        now: Option<DateTime<Utc>>,
        most: usize,
    ) -> rusqlite::Result<Seq> {
        let held = newest + 1 - oldest;
        let by_count = held.saturating_sub(self.max_entries);
        let by_bytes = self.over_bytes(connection, held)?.min(held.saturating_sub(1));
        let first_kept = oldest + by_count.max(by_bytes);
        let too_old = now.and_then(|now| now.checked_sub_signed(self.max_age)).map_or(i64::MIN, millis);
        let last_to_go = oldest + most as Seq;
        let mut rows = connection
            .prepare_cached("SELECT first + count, coalesce(reached_at, appended_at) FROM blocks ORDER BY first")?;
        let mut rows = rows.query([])?;
        let mut kept = oldest;
        while kept < last_to_go
            && let Some(row) = rows.next()?
        {
            let (end, reached_at) = (row.get::<_, i64>(0)? as Seq, row.get::<_, i64>(1)?);
            if reached_at > too_old && end > first_kept {
                kept = kept.max(first_kept);
                break;
            }
            kept = end;
        }
        let kept = kept.min(last_to_go);
        if kept > oldest {
            remove_before(connection, kept as i64)?;
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
        let many = (u128::from(over) * u128::from(held)).div_ceil(u128::from(used.max(1)));
        Ok(u64::try_from(many).unwrap_or(u64::MAX))
    }
}

/// Removes the rows that have nothing from `oldest` on, and notes that this is the oldest place that is kept.
fn remove_before(connection: &Connection, oldest: i64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM blocks WHERE first < ?1 AND first + count <= ?1",
        "DELETE FROM pages WHERE segment IN (SELECT first FROM segments WHERE first < ?1 AND last < ?1)",
        "DELETE FROM segments WHERE first < ?1 AND last < ?1",
        "UPDATE journal SET oldest = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([oldest])?;
    }
    Ok(())
}
