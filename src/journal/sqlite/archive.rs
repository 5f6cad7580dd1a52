//! A journal as JSON lines: the first says whose it is, then come the notifications in order, then the keys.

use std::io::{BufRead, Write};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    domain::{Epoch, Payload},
    journal::sqlite::tools::ToolError,
};

/// The form of the lines; a later one gets another number.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Journal { format: u32, epoch: String, oldest: i64, newest: i64 },
    Notification(Notification),
    Key { key: String, used_at: i64, fingerprint: String, seq: i64 },
}

/// A row of the table.
#[derive(Serialize, Deserialize)]
struct Notification {
    seq: i64,
    appended_at: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at: Option<i64>,
    audiences: Vec<String>,
    event: String,
    source: String,
    timestamp: String,
    payload: Box<RawValue>,
}

/// What an import brought.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) notifications: u64,
    pub(super) keys: u64,
    /// How many places between the oldest and the newest are empty.
    pub(super) holes: u64,
}

/// Writes a journal, and gives how many notifications were written and how many could not be read.
pub(super) fn export(connection: &Connection, out: &mut impl Write) -> Result<(u64, u64), ToolError> {
    let snapshot = connection.unchecked_transaction()?;
    let journal = "SELECT epoch, oldest, (SELECT coalesce(max(seq), oldest - 1) FROM notifications) FROM journal";
    let (epoch, oldest, newest) = snapshot.query_row(journal, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    write(out, &Line::Journal { format: FORMAT, epoch, oldest, newest })?;
    // Each by itself, so that a damaged page takes no others with it.
    let mut by_place = snapshot.prepare(
        "SELECT seq, appended_at, expires_at, audiences, name, source, timestamp, payload FROM notifications WHERE seq = ?1",
    )?;
    let (mut count, mut lost) = (0, 0);
    for seq in oldest..=newest {
        let row = by_place.query_row([seq], |row| {
            let payload = row.get_ref(7)?.as_blob()?.to_vec();
            let payload = String::from_utf8(payload).ok().and_then(|text| RawValue::from_string(text).ok());
            Ok(Notification {
                seq: row.get(0)?,
                appended_at: row.get(1)?,
                expires_at: row.get(2)?,
                audiences: row.get_ref(3)?.as_str()?.split('\n').map(str::to_owned).collect(),
                event: row.get(4)?,
                source: row.get(5)?,
                timestamp: row.get(6)?,
                payload: payload.ok_or(rusqlite::Error::InvalidQuery)?,
            })
        });
        match row {
            Ok(notification) => {
                write(out, &Line::Notification(notification))?;
                count += 1;
            }
            Err(_) => lost += 1,
        }
    }
    let mut keys = snapshot.prepare("SELECT key, used_at, hex(fingerprint), seq FROM keys ORDER BY number")?;
    let keys = keys.query_map([], |row| {
        Ok(Line::Key { key: row.get(0)?, used_at: row.get(1)?, fingerprint: row.get(2)?, seq: row.get(3)? })
    })?;
    // A key that cannot be read only makes a retry of its publisher a second event.
    for key in keys.map_while(Result::ok) {
        write(out, &key)?;
    }
    out.flush()?;
    Ok((count, lost))
}

fn write(out: &mut impl Write, line: &Line) -> Result<(), ToolError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Fills an empty journal: all of it or, on an error, nothing.
pub(super) fn import(connection: &Connection, lines: impl BufRead) -> Result<Imported, ToolError> {
    let transaction = connection.unchecked_transaction()?;
    let mut imported = Imported::default();
    let mut next = None;
    for (number, text) in (1..).zip(lines.lines()) {
        let wrong = |reason: &dyn ToString| ToolError::Line { line: number, reason: reason.to_string() };
        match (serde_json::from_str(&text?).map_err(|error| wrong(&error))?, &mut next) {
            (Line::Journal { format: FORMAT, epoch, oldest, .. }, None) => {
                transaction.execute("UPDATE journal SET epoch = ?1, oldest = ?2", (epoch, oldest))?;
                next = Some(oldest);
            }
            (Line::Journal { format, .. }, None) => {
                return Err(wrong(&format!("the format is {format}, and this version knows {FORMAT}")));
            }
            (Line::Notification(notification), Some(next)) if notification.seq >= *next => {
                imported.holes += (notification.seq - *next) as u64;
                imported.notifications += 1;
                *next = notification.seq + 1;
                insert(&transaction, &notification)?;
            }
            (Line::Key { key, used_at, fingerprint, seq }, Some(_)) => {
                imported.keys += 1;
                let sql = "INSERT INTO keys (key, used_at, fingerprint, seq) VALUES (?1, ?2, unhex(?3), ?4)";
                transaction.prepare_cached(sql)?.execute((key, used_at, fingerprint, seq))?;
            }
            _ => return Err(wrong(&"it does not belong here")),
        }
    }
    next.ok_or_else(|| ToolError::Line { line: 1, reason: "the file is empty".to_owned() })?;
    if imported.holes > 0 {
        let epoch = Epoch::from_random(rand::random());
        transaction.execute("UPDATE journal SET epoch = ?1", [epoch.as_str()])?;
    }
    // What is missing before the first is gone, not a hole.
    let first = "SELECT min(seq) FROM notifications";
    let first: Option<i64> = transaction.query_row(first, [], |row| row.get(0)).optional()?.flatten();
    if let Some(first) = first {
        transaction.execute("UPDATE journal SET oldest = ?1", [first])?;
    }
    transaction.commit()?;
    Ok(imported)
}

fn insert(connection: &Connection, notification: &Notification) -> Result<(), ToolError> {
    let Notification { seq, appended_at, expires_at, audiences, event, source, timestamp, payload } = notification;
    let payload = Payload::parse(payload.get().as_bytes().to_vec().into());
    let payload =
        payload.map_err(|error| ToolError::Line { line: *seq as usize, reason: format!("payload: {error}") })?;
    let sql = "INSERT INTO notifications (seq, appended_at, expires_at, audiences, name, source, timestamp, payload) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (all, bytes) = (audiences.join("\n"), payload.as_bytes().as_ref());
    connection.prepare_cached(sql)?.execute((seq, appended_at, expires_at, all, event, source, timestamp, bytes))?;
    let mut index = connection.prepare_cached("INSERT INTO places (audience, seq, expires_at) VALUES (?1, ?2, ?3)")?;
    for audience in audiences {
        index.execute((audience, seq, expires_at))?;
    }
    Ok(())
}
