//! Keys that come from elsewhere: from the first layout, and from an export.

use chrono::DateTime;
use rusqlite::Connection;

use crate::{
    domain::{IdempotencyKey, KeyOwner, Seq},
    journal::{
        Stored,
        idempotency::{KeyEntry, NEVER},
        sqlite::keys::{KeyBatch, KeyTable, LARGE_ROW},
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
        let table =
            KeyTable { next: 1, written: 0, last: KeyBatch::default(), hand: NEVER, floor: NEVER, rests: false };
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

/// Whether the keys are as the first layout has them.
pub(in crate::journal::sqlite) fn has_first_layout(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) > 0 FROM main.sqlite_schema WHERE type = 'table' AND name = 'keys'";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Goes through the keys of the first layout in the order of their use; false when some cannot be read.
pub(in crate::journal::sqlite) fn each_of_first_layout<E: From<rusqlite::Error>>(
    connection: &Connection,
    mut act: impl FnMut(KeyEntry) -> Result<(), E>,
) -> Result<bool, E> {
    let mut keys = connection.prepare("SELECT key, fingerprint, seq, used_at FROM keys ORDER BY number")?;
    let mut rows = keys.query([])?;
    let mut all = true;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(all),
            Err(_) => return Ok(false),
        };
        let entry = || {
            let (name, fingerprint) = (row.get_ref(0).ok()?.as_str().ok()?, row.get_ref(1).ok()?.as_blob().ok()?);
            unowned(name, fingerprint, row.get::<_, i64>(2).ok()? as Seq, row.get(3).ok()?)
        };
        match entry() {
            Some(entry) => act(entry)?,
            None => all = false,
        }
    }
}

/// The keys of the first layout, read before the transaction that carries them over: one in which a read finds damage comes to
/// nothing.
#[derive(Debug, Default)]
pub(in crate::journal::sqlite) struct OldKeys {
    entries: Vec<KeyEntry>,
    is_whole: bool,
}

impl OldKeys {
    /// Reads them, as far as they can be read.
    pub(in crate::journal::sqlite) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut entries = Vec::new();
        if !has_first_layout(connection)? {
            return Ok(Self { entries, is_whole: true });
        }
        let is_whole = each_of_first_layout(connection, |entry| {
            entries.push(entry);
            Ok::<_, rusqlite::Error>(())
        })?;
        Ok(Self { entries, is_whole })
    }

    /// Carries them over into the second layout. A key that could not be read only makes a retry of its publisher a second event; a
    /// table that is damaged cannot be taken away, and stays under another name.
    pub(in crate::journal::sqlite) fn carry_over(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut filling = Filling::new(connection);
        self.entries.iter().try_for_each(|entry| filling.push(*entry))?;
        filling.end()?;
        if !has_first_layout(connection)? {
            return Ok(());
        }
        connection.execute_batch(match self.is_whole {
            true => "DROP TABLE keys",
            false => "ALTER TABLE keys RENAME TO damaged_keys",
        })
    }
}
