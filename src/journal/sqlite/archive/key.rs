//! The idempotency keys, as far as the tools know them: in an export, in a check, and when the clock is settled.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::{domain::Seq, journal::sqlite::checksum};

/// A key in an export.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    key: String,
    used_at: i64,
    /// In hexadecimal digits.
    fingerprint: String,
    pub(super) seq: Seq,
}

/// Gives each key to `take`, in the order of their use; false when some cannot be read.
pub(super) fn each<E: From<rusqlite::Error>>(
    snapshot: &Connection,
    mut take: impl FnMut(Line) -> Result<(), E>,
) -> Result<bool, E> {
    let mut keys = snapshot.prepare("SELECT key, used_at, hex(fingerprint), seq FROM keys ORDER BY number")?;
    let mut keys = keys.query([])?;
    loop {
        let line = match keys.next() {
            Ok(Some(row)) => row.get(0).and_then(|key| {
                let seq = row.get::<_, i64>(3)? as Seq;
                Ok(Line { key, used_at: row.get(1)?, fingerprint: row.get(2)?, seq })
            }),
            Ok(None) => return Ok(true),
            Err(error) => Err(error),
        };
        match line {
            Ok(line) => take(line)?,
            // A key that cannot be read only makes a retry of its publisher a second event.
            Err(_) => return Ok(false),
        }
    }
}

/// Writes a key behind the others, and says what is wrong with it if that cannot be.
pub(super) fn write(connection: &Connection, line: &Line) -> rusqlite::Result<Option<&'static str>> {
    let Line { key, used_at, fingerprint, seq } = line;
    if fingerprint.len() != 64 || !fingerprint.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(Some("the fingerprint is not 64 hexadecimal digits"));
    }
    let sql = "INSERT INTO keys (key, used_at, fingerprint, seq) VALUES (?1, ?2, unhex(?3), ?4) ON CONFLICT DO NOTHING";
    let written = connection.prepare_cached(sql)?.execute((key, used_at, fingerprint, *seq as i64))?;
    Ok((written == 0).then_some("the key was there before"))
}

/// How many there are.
pub(in crate::journal::sqlite) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0)).map(|count| count as u64)
}

/// Tells what is wrong with the keys of a journal that ends at `newest`.
pub(in crate::journal::sqlite) fn findings(
    snapshot: &Connection,
    newest: Seq,
    mut tell: impl FnMut(String),
) -> rusqlite::Result<()> {
    let mut keys = snapshot.prepare("SELECT number, seq, length(fingerprint) FROM keys ORDER BY number")?;
    let mut keys = keys.query([])?;
    while let Some(row) = keys.next()? {
        let (number, seq, length) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        if !(1..=newest as i64).contains(&seq) {
            tell(format!("idempotency key {number} stands for place {seq}, which was not given"));
        }
        if length != 32 {
            tell(format!("idempotency key {number} has a fingerprint of {length} bytes"));
        }
    }
    let mut batches = snapshot.prepare("SELECT first, count, keys, checksum FROM key_batches ORDER BY first")?;
    let mut batches = batches.query([])?;
    while let Some(row) = batches.next()? {
        let (first, count) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
        if !checksum::holds(Some(row.get(3)?), &[first, count], row.get_ref(2)?.as_blob()?) {
            tell(format!("the {count} idempotency keys from number {first} on are not as they were written"));
        }
    }
    Ok(())
}

/// Lets at most `most` keys that were used later than `now` have been used now, and says how many these were.
pub(in crate::journal::sqlite) fn settle(connection: &Connection, now: i64, most: usize) -> rusqlite::Result<usize> {
    let sql = "UPDATE keys SET used_at = ?1 WHERE number IN (SELECT number FROM keys WHERE used_at > ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.execute((now, most as i64))
}
