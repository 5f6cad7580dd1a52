//! What goes: the oldest notifications, by count, bytes and age, whichever is reached first; a few with each commit.

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    domain::Seq,
    journal::{
        Error, Options,
        log::millis,
        sqlite::{
            batch_row::{self, BatchRow},
            failure,
        },
    },
};

/// How many positions are looked at in one step for those that are too old.
const AGED_AT_ONCE: Seq = 1_024;

/// How many positions are tried one by one for the next that can be read; then the strides grow.
const ONE_BY_ONE: Seq = 256;

/// What the file keeps at the most.
#[derive(Debug)]
pub(super) struct Retention {
    max_entries: u64,
    /// Of the file, without the write-ahead log.
    max_bytes: u64,
    max_age: TimeDelta,
    /// Rows before this position are not to be removed any more: the file is damaged there.
    floor: Cell<Seq>,
    /// Rows before this position are removed.
    removed: Cell<Seq>,
    /// The first position that was not found too old so far.
    aged: Cell<Seq>,
    /// A row that was too young: most often the first that is kept.
    young: Cell<Option<Dated>>,
}

/// How much of the room on disk the write-ahead log may take; the file has the rest. Long enough, and it gathers the writes
/// to a page that several commits touch.
pub(super) fn log_bytes(options: &Options) -> u64 {
    const SHARE: u64 = 8;
    const MOST: u64 = 16 * 1024 * 1024;
    (options.max_bytes.get() as u64 / SHARE).min(MOST)
}

/// A row, by its positions, and the time reached by it.
#[derive(Debug, Clone, Copy)]
struct Dated {
    first: Seq,
    end: Seq,
    reached_at: i64,
}

impl Dated {
    fn has(&self, seq: Seq) -> bool {
        (self.first..self.end).contains(&seq)
    }
}

/// Where what is too old ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aged {
    /// The first position that holds something.
    from: Seq,
    /// The first that is not too old.
    until: Seq,
}

impl From<&Options> for Retention {
    fn from(options: &Options) -> Self {
        let max_bytes = options.max_bytes.get() as u64 - log_bytes(options);
        Self::new(options.max_entries.get() as u64, max_bytes, options.max_age())
    }
}

impl Retention {
    /// Keeps to these limits.
    pub(super) fn new(max_entries: u64, max_bytes: u64, max_age: TimeDelta) -> Self {
        Self {
            max_entries,
            max_bytes,
            max_age,
            floor: Cell::new(0),
            removed: Cell::new(0),
            aged: Cell::new(0),
            young: Cell::new(None),
        }
    }

    /// What is too old at `now`; without, nothing is. To be asked before the transaction that lets it go: a read that fails, since
    /// the file is damaged, makes all fail that comes after it in a transaction. What cannot be read goes with what follows it.
    pub(super) fn aged(
        &self,
        connection: &Connection,
        (oldest, newest): (Seq, Seq),
        now: Option<DateTime<Utc>>,
    ) -> rusqlite::Result<Aged> {
        let too_old = now.and_then(|now| now.checked_sub_signed(self.max_age)).map_or(i64::MIN, millis);
        if self.young.get().is_some_and(|row| row.has(oldest) && row.reached_at > too_old) {
            return Ok(Aged { from: oldest, until: oldest });
        }
        // What was found too old before is not looked at again.
        let known = if now.is_some() { self.aged.get() } else { 0 };
        let mut aged = Aged { from: oldest, until: known.max(oldest) };
        while aged.until < aged.from + AGED_AT_ONCE
            && let Some(row) = next_row(connection, aged.until, newest)?
        {
            if aged.until == oldest {
                // Before the first row lies what an import did not have; it goes at once.
                aged = Aged { from: row.first.max(oldest), until: row.first.max(oldest) };
            }
            if row.reached_at > too_old {
                self.young.set(Some(row));
                break;
            }
            aged.until = row.end;
        }
        self.aged.set(aged.until);
        Ok(aged)
    }

    /// Lets at most `most` notifications go that lie between `oldest` and `newest` and are beyond the limits, or too old, as part
    /// of the transaction in hand, and gives the oldest position that is kept. What is gone is not read any more; its rows are there
    /// until they are [`remove`](Self::remove)d.
    pub(super) fn apply(
        &self,
        connection: &Connection,
        (oldest, newest): (Seq, Seq),
        Aged { from, until }: Aged,
        most: usize,
    ) -> rusqlite::Result<Seq> {
        let held = (newest + 1).saturating_sub(from);
        let by_count = held.saturating_sub(self.max_entries);
        let by_bytes = self.over_bytes(connection, held)?.min(held.saturating_sub(1));
        let first_kept = from + by_count.max(by_bytes);
        let kept = until.max(first_kept).min(from + most as Seq).min(newest + 1);
        if kept > oldest {
            connection.prepare_cached("UPDATE journal SET oldest = ?1")?.execute([kept as i64])?;
        }
        Ok(kept.max(oldest))
    }

    /// Removes the rows that have nothing from `oldest` on, in a transaction that does nothing before: where the file is damaged
    /// around them the database fails, and then fails at all that it is asked for in that transaction. Gives false then; the
    /// rows stay where they are from then on, and nobody reads them any more.
    pub(super) fn remove(&self, connection: &Connection, oldest: Seq) -> rusqlite::Result<bool> {
        if oldest <= self.removed.get() {
            return Ok(true);
        }
        let range = [self.floor.get() as i64, oldest as i64];
        let removed = [
            "DELETE FROM blocks WHERE first >= ?1 AND first < ?2 AND first + count <= ?2",
            "DELETE FROM pages WHERE segment IN (SELECT first FROM segments WHERE first >= ?1 AND first < ?2 AND last < ?2)",
            "DELETE FROM segments WHERE first >= ?1 AND first < ?2 AND last < ?2",
            "DELETE FROM holes WHERE first >= ?1 AND first < ?2 AND last < ?2",
        ]
        .iter()
        .try_for_each(|sql| connection.prepare_cached(sql)?.execute(range).map(drop));
        match removed {
            Ok(()) => self.removed.set(oldest),
            Err(error) if is_damage(&error) => {
                tracing::warn!(before = oldest, "the journal is damaged: rows that are too old stay on the disk");
                self.floor.set(oldest);
                self.removed.set(oldest);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
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

/// The first row that has something from `seq` on. What cannot be read, or is not as it was written, goes with the next row.
fn next_row(connection: &Connection, seq: Seq, newest: Seq) -> rusqlite::Result<Option<Dated>> {
    let sql = format!(
        "SELECT {} FROM blocks WHERE first >= (SELECT coalesce(max(first), 0) FROM blocks WHERE first <= ?1) \
         AND first + count > ?1 ORDER BY first LIMIT 1",
        BatchRow::COLUMNS
    );
    let mut row = connection.prepare_cached(&sql)?;
    let (mut from, mut tried) = (seq, 0);
    loop {
        match row.query_row([from as i64], BatchRow::from_row).optional() {
            Ok(Some(batch_row)) if batch_row.is_whole => {
                // What could not be read before it counts as a part of it.
                let first = if from > seq { seq } else { batch_row.first };
                let end = batch_row.end().min(batch_row.first + batch_row::MAX_COUNT as Seq).min(newest + 1);
                return Ok(Some(Dated { first, end: end.max(seq + 1), reached_at: batch_row.reached_at }));
            }
            Ok(None) => return Ok(None),
            Err(error) if !is_damage(&error) => return Err(error),
            _ if from > newest => return Ok(None),
            _ => {
                tried += 1;
                from += if tried < ONE_BY_ONE { 1 } else { from - seq };
            }
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(failure(error), Error::Damaged(_))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::journal::sqlite::{files::Files, opening};

    /// A journal with a row at each of these positions.
    fn journal(positions: &[Seq]) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::take(folder.path()).expect("nobody has it");
        let connection = opening::open_to_write(&files, false).expect("opens");
        for position in positions {
            let row = "INSERT INTO blocks (first, count, appended_at, notifications) VALUES (?1, 1, 5, zeroblob(9000))";
            connection.execute(row, [*position as i64]).expect("writes");
        }
        (folder, connection)
    }

    /// Steps until nothing goes any more, and gives what is the oldest then.
    fn settle(retention: &Retention, connection: &Connection, oldest: Seq, newest: Seq) -> Seq {
        let mut kept = oldest;
        for _ in 0..100 {
            let aged = retention.aged(connection, (kept, newest), None).expect("reads");
            let next = retention.apply(connection, (kept, newest), aged, 256).expect("writes");
            retention.remove(connection, next).expect("writes");
            if next == kept {
                return kept;
            }
            kept = next;
        }
        panic!("it is still at {kept}");
    }

    // As far apart as an import can have them: what is over the limit times what is held is beyond 64 bits.
    #[test]
    fn notifications_that_lie_far_apart_are_counted_without_an_overflow() {
        let newest = (1 << 53) - 1;
        let (_folder, connection) = journal(&[1, 2, newest - 1, newest]);
        let by_bytes = Retention::new(u64::MAX, 30_000, TimeDelta::MAX);
        assert!(by_bytes.over_bytes(&connection, newest).expect("reads") > 0);
        let kept = settle(&by_bytes, &connection, 1, newest);
        assert!((1..=newest).contains(&kept), "{kept}");
        let (_folder, connection) = journal(&[1, 2, newest - 1, newest]);
        let by_count = Retention::new(2, u64::MAX, TimeDelta::MAX);
        assert_eq!(settle(&by_count, &connection, 1, newest), newest - 1);
    }
}
