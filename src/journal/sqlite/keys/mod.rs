//! The idempotency keys, in the file: those of a commit are written in that commit, behind the others, and all are read when the
//! file is opened. They are looked up in memory (`KeyWindow`), so no key has an index here.
//!
//! A row has one entry of 48 bytes behind the other (`KeyEntry`). Commits of few keys share a row, as much as a page of the file
//! holds; what a commit adds to it touches no other page. A hand goes round over the rows once much of them is gone from memory:
//! it removes those of which little is left, and writes the little together.

mod batch;
mod convert;

use rusqlite::Connection;

use self::batch::{Batch, rows};
pub(super) use self::convert::{Filling, convert, each_of_first_layout, has_first_layout, unowned};
use crate::journal::idempotency::{ENTRY_BYTES, KeyEntry, KeyWindow, NEVER};

/// How many keys commits put into one row together: with their row's head these fit into a page.
const SHARED_ROW: usize = 80;

/// How many keys are moved together.
const LARGE_ROW: usize = 4_096;

/// How many keys that are gone may lie in the file whatever is left.
const SLACK: usize = 1_024;

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
    /// The table is damaged somewhere: the hand rests, for a transaction in which it meets that comes to nothing.
    rests: bool,
}

impl KeyTable {
    /// Reads all keys into `window`, and gives how many rows could not be read: their keys are unknown.
    pub(super) fn read(connection: &Connection, window: &mut KeyWindow) -> rusqlite::Result<(Self, usize)> {
        let mut table = Self { next: 1, written: 0, last: Batch::default(), hand: NEVER, rests: false };
        let lengths = "SELECT coalesce(sum(length(keys)), 0) FROM key_batches";
        let length = connection.query_row(lengths, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        window.reserve(length as usize / ENTRY_BYTES);
        let mut damaged = 0;
        let mut rows = rows(connection)?;
        for row in rows.query_map([NEVER], Batch::from_row)? {
            match row {
                Ok(Ok(batch)) => {
                    for key in batch.keys() {
                        window.remember(&key, batch.ended);
                    }
                    table.written += batch.count;
                    table.next = batch.first.saturating_add(batch.count as i64);
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
                    table.rests = true;
                    let last = "SELECT coalesce(max(first), 0) FROM key_batches";
                    let last = connection.query_row(last, [], |row| row.get::<_, i64>(0)).unwrap_or(table.next);
                    (table.next, table.last) =
                        (table.next.max(last.saturating_add(LARGE_ROW as i64)), Batch::default());
                    break;
                }
            }
        }
        table.close_full();
        Ok((table, damaged))
    }

    /// Adds no more to the last row if it is full; it is copied with every commit otherwise.
    fn close_full(&mut self) {
        if self.last.count >= SHARED_ROW {
            self.last = Batch::default();
        }
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
        self.close_full();
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

    /// Lets the hand rest until the file is opened again.
    pub(super) fn rest(&mut self) {
        self.rests = true;
    }

    fn is_sparse(&self, window: &KeyWindow) -> bool {
        !self.rests && self.written > window.len() + window.len() / 2 + SLACK
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

/// Lets keys that were used later than `now` have been used now, in at most `most` rows, and gives how many rows these were.
pub(super) fn settle(connection: &Connection, now: i64, most: usize) -> rusqlite::Result<usize> {
    let mut later = Vec::new();
    let mut rows = rows(connection)?;
    for row in rows.query_map([NEVER], Batch::from_row)? {
        let Ok(batch) = row? else { continue };
        if batch.keys().any(|key| key.used_at > now) {
            later.push(batch);
        }
        if later.len() == most {
            break;
        }
    }
    for batch in &later {
        let mut settled = Batch { entries: Vec::new(), count: 0, ..*batch };
        batch.keys().for_each(|key| settled.push(&KeyEntry { used_at: key.used_at.min(now), ..key }));
        settled.write(connection)?;
    }
    Ok(later.len())
}

/// How many keys there are, those counted in that are gone but not yet removed.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT coalesce(sum(count), 0) FROM key_batches", [], |row| row.get::<_, i64>(0))
        .map(|sum| sum as u64)
}

#[cfg(test)]
mod tests;
