//! The idempotency keys, in the file: those of a commit are written in that commit, behind the others, and all are read when the
//! file is opened. They are looked up in memory (`KeyWindow`), so no key has an index here.
//!
//! A row has one entry of 48 bytes behind the other (`KeyEntry`). Commits of few keys share a row, as much as a page of the file
//! holds; what a commit adds to it touches no other page. A hand goes round over the rows once much of them is gone from memory:
//! it removes those of which little is left, and writes the little together.

mod batch;
mod convert;

use rusqlite::Connection;

use self::batch::{KeyBatch, rows};
pub(super) use self::convert::{Filling, OldKeys, each_of_first_layout, has_first_layout, unowned};
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
    last: KeyBatch,
    /// The number behind which the hand goes on.
    hand: i64,
    /// Behind which number the hand begins anew: the file is damaged before.
    floor: i64,
    /// The hand rests: it met damage, and a transaction in which it does comes to nothing.
    rests: bool,
}

impl KeyTable {
    /// Reads all keys into `window`, and gives how many rows could not be read: their keys are unknown.
    pub(super) fn read(connection: &Connection, window: &mut KeyWindow) -> rusqlite::Result<(Self, usize)> {
        let mut table =
            Self { next: 1, written: 0, last: KeyBatch::default(), hand: NEVER, floor: NEVER, rests: false };
        let lengths = "SELECT coalesce(sum(length(keys)), 0) FROM key_batches";
        let length = connection.query_row(lengths, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        window.reserve(length as usize / ENTRY_BYTES);
        let mut damaged = 0;
        let mut after = NEVER;
        while let Err(error) = table.read_on(connection, window, &mut after, &mut damaged) {
            tracing::debug!(%error, "a part of the idempotency keys cannot be read");
            damaged += 1;
            // What is behind it is found; the hand does not go there.
            let Some(next) = readable_after(connection, after) else { break };
            after = next;
            (table.floor, table.hand, table.last) = (next, next, KeyBatch::default());
            table.next = table.next.max(next.saturating_add(1));
        }
        table.close_full();
        Ok((table, damaged))
    }

    /// Reads the rows behind the number `after`, and sets it to the last of them.
    fn read_on(
        &mut self,
        connection: &Connection,
        window: &mut KeyWindow,
        after: &mut i64,
        damaged: &mut usize,
    ) -> rusqlite::Result<()> {
        let mut rows = rows(connection)?;
        for row in rows.query_map([*after], KeyBatch::from_row)? {
            match row? {
                Ok(batch) => {
                    for key in batch.keys() {
                        window.remember(&key, batch.ended);
                    }
                    *after = batch.first;
                    self.written += batch.count;
                    self.next = batch.first.saturating_add(batch.count as i64);
                    self.last = batch;
                }
                Err(first) => {
                    *damaged += 1;
                    *after = first;
                    self.next = first.saturating_add(1);
                    self.last = KeyBatch::default();
                }
            }
        }
        Ok(())
    }

    /// Adds no more to the last row if it is full; it is copied with every commit otherwise.
    fn close_full(&mut self) {
        if self.last.count >= SHARED_ROW {
            self.last = KeyBatch::default();
        }
    }

    /// Writes `keys` behind the others; those that were used at `ended` or earlier have had their window.
    pub(super) fn append(&mut self, connection: &Connection, keys: &[KeyEntry], ended: i64) -> rusqlite::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        if self.last.count == 0 || self.last.count + keys.len() > SHARED_ROW {
            self.last = KeyBatch { first: self.next, ..KeyBatch::default() };
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
        let (mut seen, mut moved) = (0, KeyBatch::default());
        let mut rows = rows(connection)?;
        let mut batches = Vec::new();
        if self.is_sparse(window) {
            let mut found = rows.query([self.hand])?;
            while seen < most
                && let Some(row) = found.next()?
            {
                let batch = KeyBatch::from_row(row)?;
                seen += batch.as_ref().map_or(1, |batch| batch.count);
                batches.push(batch);
            }
            if seen < most {
                self.hand = self.floor;
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
        batch: Result<KeyBatch, i64>,
        moved: &mut KeyBatch,
    ) -> rusqlite::Result<()> {
        let batch = batch.unwrap_or_else(|first| KeyBatch { first, ..KeyBatch::default() });
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

    fn flush(&mut self, connection: &Connection, moved: &mut KeyBatch) -> rusqlite::Result<()> {
        if moved.count > 0 {
            moved.write(connection)?;
            self.written += moved.count;
        }
        *moved = KeyBatch::default();
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

/// A number behind `after` from which on the rows can be read; none when there is none.
fn readable_after(connection: &Connection, after: i64) -> Option<i64> {
    let can_be_read = |number: i64| {
        let mut rows = rows(connection)?;
        let mut found = rows.query([number])?;
        found.next().map(|row| row.is_some())
    };
    let (mut failed, mut stride) = (after.max(0), 1_i64);
    let mut found = loop {
        let number = after.max(0).checked_add(stride)?;
        match can_be_read(number) {
            Ok(true) => break number,
            Ok(false) => return None,
            Err(_) => (failed, stride) = (number, stride.checked_mul(2)?),
        }
    };
    while failed + 1 < found {
        let middle = failed + (found - failed) / 2;
        if matches!(can_be_read(middle), Ok(true)) { found = middle } else { failed = middle }
    }
    Some(found)
}

/// Goes through all keys in the order of their use, and gives how many rows could not be read.
pub(super) fn for_each<E: From<rusqlite::Error>>(
    connection: &Connection,
    mut act: impl FnMut(KeyEntry) -> Result<(), E>,
) -> Result<u64, E> {
    let (mut damaged, mut after) = (0, NEVER);
    loop {
        let mut rows = rows(connection)?;
        let mut failed = false;
        for row in rows.query_map([after], KeyBatch::from_row)? {
            match row {
                Ok(Ok(batch)) => {
                    after = batch.first;
                    batch.keys().try_for_each(&mut act)?;
                }
                Ok(Err(first)) => (after, damaged) = (first, damaged + 1),
                Err(_) => failed = true,
            }
        }
        drop(rows);
        damaged += u64::from(failed);
        match readable_after(connection, after).filter(|_| failed) {
            Some(next) => after = next,
            None => return Ok(damaged),
        }
    }
}

/// Lets keys that were used later than `now` have been used now, in at most `most` rows, and gives how many rows these were.
pub(super) fn settle(connection: &Connection, now: i64, most: usize) -> rusqlite::Result<usize> {
    let mut later = Vec::new();
    let mut rows = rows(connection)?;
    for row in rows.query_map([NEVER], KeyBatch::from_row)? {
        // Behind a page that cannot be read nothing is settled: keys of the future there are kept for longer.
        let Ok(row) = row else { break };
        let Ok(batch) = row else { continue };
        if batch.keys().any(|key| key.used_at > now) {
            later.push(batch);
        }
        if later.len() == most {
            break;
        }
    }
    for batch in &later {
        let mut settled = KeyBatch { entries: Vec::new(), count: 0, ..*batch };
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
