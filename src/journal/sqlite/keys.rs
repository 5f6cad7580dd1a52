//! The idempotency keys, in the file: those of a commit are written in that commit, behind the others, and all are read when the
//! file is opened. They are looked up in memory (`KeyWindow`), so no key has an index here.
//!
//! A row has one entry of 48 bytes behind the other (`KeyEntry`). Commits of few keys share a row, as much as a page of the file
//! holds; what a commit adds to it touches no other page. A hand goes round over the rows once much of them is gone from memory:
//! it removes those of which little is left, and writes the little together.

use chrono::DateTime;
use rusqlite::{CachedStatement, Connection, Row};

use crate::{
    domain::{IdempotencyKey, KeyOwner, Seq},
    journal::{
        Stored,
        idempotency::{ENTRY_BYTES, KeyEntry, KeyWindow, NEVER},
        sqlite::checksum,
    },
};

/// How many keys commits put into one row together: with their row's head these fit into a page.
const SHARED_ROW: usize = 80;

/// How many keys are moved together.
const LARGE_ROW: usize = 4_096;

/// How many keys that are gone may lie in the file whatever is left.
const SLACK: usize = 1_024;

/// Keys that were written together.
#[derive(Debug, Clone, Default)]
struct Batch {
    /// The number of the first; those that follow may be further apart.
    first: i64,
    /// A key that was used then or earlier had had its window when these were written.
    ended: i64,
    count: usize,
    entries: Vec<u8>,
}

impl Batch {
    const COLUMNS: &str = "first, count, ended, keys, checksum";

    /// The row, or only its number where it is not what was written.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Self, i64>> {
        let first = row.get(0)?;
        let read = || {
            let (count, ended): (i64, i64) = (row.get(1)?, row.get(2)?);
            let entries: Vec<u8> = row.get(3)?;
            let is_whole = checksum::holds(row.get(4)?, &[first, count, ended], &entries);
            let count = is_whole.then_some(count as usize).filter(|count| entries.len() == count * ENTRY_BYTES);
            Ok::<_, rusqlite::Error>(count.map(|count| Self { first, ended, count, entries }))
        };
        Ok(read().ok().flatten().ok_or(first))
    }

    fn keys(&self) -> impl Iterator<Item = KeyEntry> {
        self.entries.as_chunks().0.iter().map(KeyEntry::read)
    }

    fn push(&mut self, key: &KeyEntry) {
        key.write(&mut self.entries);
        self.count += 1;
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql =
            "INSERT OR REPLACE INTO key_batches (first, count, ended, keys, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
        let numbers = [self.first, self.count as i64, self.ended];
        let checksum = checksum::of(&numbers, &self.entries);
        connection.prepare_cached(sql)?.execute((numbers[0], numbers[1], numbers[2], &self.entries, checksum))?;
        Ok(())
    }
}

/// All rows, in the order in which their keys were used.
fn rows(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(&format!("SELECT {} FROM key_batches WHERE first > ?1 ORDER BY first", Batch::COLUMNS))
}

/// The state of the table. A transaction works on a copy, which counts only when it is committed.
#[derive(Debug, Clone)]
pub(super) struct KeyTable {
    /// The number of the next key.
    next: i64,
    /// How many keys the rows have, those that are gone from memory counted in.
    written: usize,
    /// The last row, while it has room for more.
    last: Batch,
    /// The number behind which the hand goes on.
    hand: i64,
}

impl KeyTable {
    /// Reads all keys into `window`, and gives how many rows could not be read: their keys are unknown.
    pub(super) fn read(connection: &Connection, window: &mut KeyWindow) -> rusqlite::Result<(Self, usize)> {
        let mut table = Self { next: 1, written: 0, last: Batch::default(), hand: NEVER };
        let mut damaged = 0;
        let mut rows = rows(connection)?;
        for row in rows.query_map([NEVER], Batch::from_row)? {
            match row {
                Ok(Ok(batch)) => {
                    for key in batch.keys() {
                        window.remember(&key, batch.ended);
                    }
                    table.written += batch.count;
                    table.next = batch.first + batch.count as i64;
                    table.last = batch;
                }
                Ok(Err(first)) => {
                    damaged += 1;
                    table.next = first.saturating_add(1);
                    table.last = Batch::default();
                }
                // Behind a page that cannot be read nothing is found; the next row gets a number beyond all the same.
                Err(error) => {
                    tracing::debug!(%error, "the idempotency keys cannot be read to their end");
                    damaged += 1;
                    let last = "SELECT coalesce(max(first), 0) FROM key_batches";
                    let last = connection.query_row(last, [], |row| row.get::<_, i64>(0)).unwrap_or(table.next);
                    (table.next, table.last) =
                        (table.next.max(last.saturating_add(LARGE_ROW as i64)), Batch::default());
                    break;
                }
            }
        }
        Ok((table, damaged))
    }

    /// Writes `keys` behind the others; those that were used at `ended` or earlier have had their window.
    pub(super) fn append(&mut self, connection: &Connection, keys: &[KeyEntry], ended: i64) -> rusqlite::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        if self.last.count == 0 || self.last.count + keys.len() > SHARED_ROW {
            self.last = Batch { first: self.next, ..Batch::default() };
        }
        self.last.ended = ended;
        keys.iter().for_each(|key| self.last.push(key));
        self.last.write(connection)?;
        self.next += keys.len() as i64;
        self.written += keys.len();
        Ok(())
    }

    /// Moves the hand over at most about `most` keys, if that many of all that are written are gone from `window`.
    pub(super) fn tidy(&mut self, connection: &Connection, window: &KeyWindow, most: usize) -> rusqlite::Result<()> {
        let (mut seen, mut moved) = (0, Batch::default());
        let mut rows = rows(connection)?;
        let mut batches = Vec::new();
        if self.is_sparse(window) {
            let mut found = rows.query([self.hand])?;
            while seen < most
                && let Some(row) = found.next()?
            {
                let batch = Batch::from_row(row)?;
                seen += batch.as_ref().map_or(1, |batch| batch.count);
                batches.push(batch);
            }
            if seen < most {
                self.hand = NEVER;
            }
        }
        for batch in batches {
            let first = *batch.as_ref().map_or_else(|first| first, |batch| &batch.first);
            if seen >= most {
                self.hand = first;
            }
            // The last row is still being written.
            if first != self.last.first {
                self.move_left(connection, window, batch, &mut moved)?;
            }
        }
        self.flush(connection, &mut moved)
    }

    /// Puts what is left of a row behind what was `moved` before, unless most of it is left.
    fn move_left(
        &mut self,
        connection: &Connection,
        window: &KeyWindow,
        batch: Result<Batch, i64>,
        moved: &mut Batch,
    ) -> rusqlite::Result<()> {
        let batch = batch.unwrap_or_else(|first| Batch { first, ..Batch::default() });
        let left: Vec<_> = batch.keys().filter(|key| window.has(key)).collect();
        if 2 * left.len() > batch.count || moved.count + left.len() > LARGE_ROW {
            self.flush(connection, moved)?;
        }
        if 2 * left.len() > batch.count {
            return Ok(());
        }
        connection.prepare_cached("DELETE FROM key_batches WHERE first = ?1")?.execute([batch.first])?;
        self.written -= batch.count;
        if moved.count == 0 {
            moved.first = batch.first;
        }
        moved.ended = batch.ended;
        left.iter().for_each(|key| moved.push(key));
        Ok(())
    }

    fn flush(&mut self, connection: &Connection, moved: &mut Batch) -> rusqlite::Result<()> {
        if moved.count > 0 {
            moved.write(connection)?;
            self.written += moved.count;
        }
        *moved = Batch::default();
        Ok(())
    }

    fn is_sparse(&self, window: &KeyWindow) -> bool {
        self.written > window.len() + window.len() / 2 + SLACK
    }
}

/// Goes through all keys in the order of their use, and gives how many rows could not be read.
pub(super) fn for_each<E: From<rusqlite::Error>>(
    connection: &Connection,
    mut act: impl FnMut(KeyEntry) -> Result<(), E>,
) -> Result<u64, E> {
    let mut damaged = 0;
    let mut rows = rows(connection)?;
    for row in rows.query_map([NEVER], Batch::from_row)? {
        match row {
            Ok(Ok(batch)) => batch.keys().try_for_each(&mut act)?,
            Ok(Err(_)) => damaged += 1,
            Err(_) => return Ok(damaged + 1),
        }
    }
    Ok(damaged)
}

/// Writes keys into an empty table, a few at a time and in the order of their use.
#[derive(Debug)]
pub(super) struct Filling<'c> {
    connection: &'c Connection,
    table: KeyTable,
    waiting: Vec<KeyEntry>,
}

impl<'c> Filling<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        let table = KeyTable { next: 1, written: 0, last: Batch::default(), hand: NEVER };
        Self { connection, table, waiting: Vec::new() }
    }

    pub(super) fn push(&mut self, key: KeyEntry) -> rusqlite::Result<()> {
        self.waiting.push(key);
        if self.waiting.len() == LARGE_ROW { self.end() } else { Ok(()) }
    }

    /// Writes what waits.
    pub(super) fn end(&mut self) -> rusqlite::Result<()> {
        self.table.append(self.connection, &self.waiting, NEVER)?;
        self.waiting.clear();
        Ok(())
    }
}

/// A key as the first layout and the first format of exports have it: its text, and nobody knows whose. Without a result, it is
/// none.
pub(super) fn unowned(name: &str, fingerprint: &[u8], seq: Seq, used_at: i64) -> Option<KeyEntry> {
    let key = IdempotencyKey::new(KeyOwner::NOBODY, name)?;
    let at = DateTime::from_timestamp_millis(used_at)?;
    Some(KeyEntry::new(&key, fingerprint.try_into().ok()?, Stored { seq, durability: None, at }))
}

/// Carries the keys of the first layout over into the second one.
pub(super) fn convert(connection: &Connection) -> rusqlite::Result<()> {
    let mut filling = Filling::new(connection);
    let mut keys = connection.prepare("SELECT key, fingerprint, seq, used_at FROM keys ORDER BY number")?;
    let mut rows = keys.query([])?;
    // One that cannot be read only makes a retry of its publisher a second event.
    while let Ok(Some(row)) = rows.next() {
        let entry = || {
            let (name, fingerprint) = (row.get_ref(0).ok()?.as_str().ok()?, row.get_ref(1).ok()?.as_blob().ok()?);
            unowned(name, fingerprint, row.get::<_, i64>(2).ok()? as Seq, row.get(3).ok()?)
        };
        if let Some(entry) = entry() {
            filling.push(entry)?;
        }
    }
    filling.end()?;
    drop(rows);
    drop(keys);
    connection.execute_batch("DROP TABLE keys")
}

/// How many keys there are, those counted in that are gone but not yet removed.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT coalesce(sum(count), 0) FROM key_batches", [], |row| row.get::<_, i64>(0))
        .map(|sum| sum as u64)
}

#[cfg(test)]
mod tests;
