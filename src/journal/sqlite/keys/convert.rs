//! Keys that come from elsewhere: from the first layout, and from an export.

use chrono::DateTime;
use rusqlite::Connection;

use crate::{
    domain::{IdempotencyKey, KeyOwner, Seq},
    journal::{
        Stored,
        idempotency::{KeyEntry, NEVER},
        sqlite::keys::{Batch, KeyTable, LARGE_ROW},
    },
};

/// Writes keys into an empty table, a few at a time and in the order of their use.
#[derive(Debug)]
pub(in crate::journal::sqlite) struct Filling<'c> {
    connection: &'c Connection,
    table: KeyTable,
    waiting: Vec<KeyEntry>,
}

impl<'c> Filling<'c> {
    pub(in crate::journal::sqlite) fn new(connection: &'c Connection) -> Self {
        let table = KeyTable { next: 1, written: 0, last: Batch::default(), hand: NEVER };
        Self { connection, table, waiting: Vec::new() }
    }

    pub(in crate::journal::sqlite) fn push(&mut self, key: KeyEntry) -> rusqlite::Result<()> {
        self.waiting.push(key);
        if self.waiting.len() == LARGE_ROW { self.end() } else { Ok(()) }
    }

    /// Writes what waits.
    pub(in crate::journal::sqlite) fn end(&mut self) -> rusqlite::Result<()> {
        self.table.append(self.connection, &self.waiting, NEVER)?;
        self.waiting.clear();
        Ok(())
    }
}

/// A key as the first layout and the first format of exports have it: its text, and nobody knows whose. Without a result, it is
/// none.
pub(in crate::journal::sqlite) fn unowned(name: &str, fingerprint: &[u8], seq: Seq, used_at: i64) -> Option<KeyEntry> {
    let key = IdempotencyKey::new(KeyOwner::NOBODY, name)?;
    let at = DateTime::from_timestamp_millis(used_at)?;
    Some(KeyEntry::new(&key, fingerprint.try_into().ok()?, Stored { seq, durability: None, at }))
}

/// Carries the keys of the first layout over into the second one.
pub(in crate::journal::sqlite) fn convert(connection: &Connection) -> rusqlite::Result<()> {
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
