//! A row of the table: keys that were written together, with a checksum.

use rusqlite::{CachedStatement, Connection, Row};

use crate::journal::{
    idempotency::{ENTRY_BYTES, KeyEntry},
    sqlite::checksum,
};

/// Keys that were written together.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyBatch {
    /// The number of the first; those that follow may be further apart.
    pub(super) first: i64,
    /// A key that was used then or earlier had had its window when these were written.
    pub(super) ended: i64,
    pub(super) count: usize,
    pub(super) entries: Vec<u8>,
}

impl KeyBatch {
    pub(super) const COLUMNS: &str = "first, count, ended, keys, checksum";

    /// The row, or only its number where it is not what was written.
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Self, i64>> {
        let first = row.get(0)?;
        let read = || {
            let (count, ended): (i64, i64) = (row.get(1)?, row.get(2)?);
            let entries: Vec<u8> = row.get(3)?;
            let is_whole = checksum::holds(row.get(4)?, &[first, count, ended], &entries);
            let count = is_whole.then_some(count as usize);
            let count = count
                .filter(|count| entries.len().is_multiple_of(ENTRY_BYTES) && entries.len() / ENTRY_BYTES == *count);
            Ok::<_, rusqlite::Error>(count.map(|count| Self { first, ended, count, entries }))
        };
        Ok(read().ok().flatten().ok_or(first))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = KeyEntry> {
        self.entries.as_chunks().0.iter().map(KeyEntry::read)
    }

    pub(super) fn push(&mut self, key: &KeyEntry) {
        key.write(&mut self.entries);
        self.count += 1;
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql =
            "INSERT OR REPLACE INTO key_batches (first, count, ended, keys, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
        let numbers = [self.first, self.count as i64, self.ended];
        let checksum = checksum::of(&numbers, &self.entries);
        connection.prepare_cached(sql)?.execute((numbers[0], numbers[1], numbers[2], &self.entries, checksum))?;
        Ok(())
    }
}

/// All rows, in the order in which their keys were used.
pub(super) fn rows(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(&format!("SELECT {} FROM key_batches WHERE first > ?1 ORDER BY first", KeyBatch::COLUMNS))
}
