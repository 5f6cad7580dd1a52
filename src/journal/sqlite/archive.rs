//! A journal as JSON lines: the first says whose it is, then come the notifications in order, then the keys.

use std::io::{BufRead, Write};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    domain::{Epoch, Event, Payload, Seq},
    journal::sqlite::{
        record::{self, Insert, Record},
        schema,
        tools::ToolError,
    },
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
/// `acknowledged` is the newest place that is known to have been given, whatever the file has.
pub(super) fn export(
    connection: &Connection,
    acknowledged: Option<Seq>,
    out: &mut impl Write,
) -> Result<(u64, u64), ToolError> {
    let snapshot = connection.unchecked_transaction()?;
    let schema::Ends { epoch, oldest, newest } = schema::ends(&snapshot)?;
    let newest = acknowledged.map_or(newest, |acknowledged| acknowledged.max(newest)) as i64;
    let oldest = oldest as i64;
    write(out, &Line::Journal { format: FORMAT, epoch: epoch.to_string(), oldest, newest })?;
    let exported = export_notifications(&snapshot, oldest, newest, out)?;
    export_keys(&snapshot, out)?;
    out.flush()?;
    Ok(exported)
}

fn export_notifications(
    snapshot: &Connection,
    oldest: i64,
    newest: i64,
    out: &mut impl Write,
) -> Result<(u64, u64), ToolError> {
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
    Ok((count, lost))
}

fn export_keys(snapshot: &Connection, out: &mut impl Write) -> Result<(), ToolError> {
    let mut keys = snapshot.prepare("SELECT key, used_at, hex(fingerprint), seq FROM keys ORDER BY number")?;
    let keys = keys.query_map([], |row| {
        Ok(Line::Key { key: row.get(0)?, used_at: row.get(1)?, fingerprint: row.get(2)?, seq: row.get(3)? })
    })?;
    // A key that cannot be read only makes a retry of its publisher a second event.
    for key in keys.map_while(Result::ok) {
        write(out, &key)?;
    }
    Ok(())
}

fn write(out: &mut impl Write, line: &Line) -> Result<(), ToolError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Fills an empty journal: all of it or, on an error, nothing.
pub(super) fn import(connection: &Connection, lines: impl BufRead) -> Result<Imported, ToolError> {
    let transaction = connection.unchecked_transaction()?;
    let mut import = Import { connection: &transaction, imported: Imported::default(), reached: None };
    for (number, text) in (1..).zip(lines.lines()) {
        let line = serde_json::from_str(&text?).map_err(|error| error.to_string());
        match line.map(|line| import.line(line)) {
            Ok(Ok(())) => {}
            Ok(Err(Refused::Line(reason))) | Err(reason) => return Err(ToolError::Line { line: number, reason }),
            Ok(Err(Refused::File(error))) => return Err(error.into()),
        }
    }
    let imported = import.end()?;
    transaction.commit()?;
    Ok(imported)
}

/// Why a line is not taken in.
enum Refused {
    /// What it says is wrong.
    Line(String),
    /// It cannot be written down.
    File(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Line(reason)
    }
}

/// How far an import is.
struct Import<'c> {
    connection: &'c Connection,
    imported: Imported,
    reached: Option<Reached>,
}

struct Reached {
    /// The place that comes next, if none is missing.
    next: i64,
    /// The newest place of the journal that was exported.
    newest: i64,
    appended_at: i64,
}

impl Import<'_> {
    fn line(&mut self, line: Line) -> Result<(), Refused> {
        match (line, &mut self.reached) {
            (Line::Journal { format: FORMAT, epoch, oldest, newest }, None) => {
                self.connection.execute("UPDATE journal SET epoch = ?1, oldest = ?2", (epoch, oldest))?;
                self.reached = Some(Reached { next: oldest, newest, appended_at: i64::MIN });
            }
            (Line::Journal { format, .. }, None) => {
                return Err(format!("the format is {format}, and this version knows {FORMAT}").into());
            }
            (Line::Notification(notification), Some(reached)) if notification.seq >= reached.next => {
                if notification.appended_at < reached.appended_at {
                    return Err("it is older than the notification before it".to_owned().into());
                }
                self.imported.holes += (notification.seq - reached.next) as u64;
                self.imported.notifications += 1;
                reached.next = notification.seq + 1;
                reached.appended_at = notification.appended_at;
                insert(self.connection, &notification)?;
            }
            (Line::Key { key, used_at, fingerprint, seq }, Some(_)) => {
                self.imported.keys += 1;
                let sql = "INSERT INTO keys (key, used_at, fingerprint, seq) VALUES (?1, ?2, unhex(?3), ?4)";
                self.connection.prepare_cached(sql)?.execute((key, used_at, fingerprint, seq))?;
            }
            _ => return Err("it does not belong here".to_owned().into()),
        }
        Ok(())
    }

    /// Settles whose places these are, and where they begin.
    fn end(mut self) -> Result<Imported, ToolError> {
        let reached = self.reached.as_ref();
        let reached = reached.ok_or_else(|| ToolError::Line { line: 1, reason: "the file is empty".to_owned() })?;
        self.imported.holes += u64::try_from(reached.newest + 1 - reached.next).unwrap_or(0);
        if self.imported.holes > 0 {
            let epoch = Epoch::from_random(rand::random());
            self.connection.execute("UPDATE journal SET epoch = ?1", [epoch.as_str()])?;
        }
        // What is missing before the first is gone, not a hole.
        let first = "UPDATE journal SET oldest = coalesce((SELECT min(seq) FROM notifications), oldest)";
        self.connection.execute(first, [])?;
        Ok(self.imported)
    }
}

fn insert(connection: &Connection, notification: &Notification) -> Result<(), Refused> {
    let Notification { seq, appended_at, expires_at, audiences, event, source, timestamp, payload } = notification;
    let payload = Payload::parse(payload.get().as_bytes().to_vec().into());
    let event = Event {
        name: event.as_str().into(),
        payload: payload.map_err(|error| format!("payload: {error}"))?,
        source: source.as_str().into(),
        timestamp: timestamp.as_str().into(),
    };
    let audiences = record::audiences(&audiences.join("\n")).ok_or("audiences: one of them is none".to_owned())?;
    let (seq, appended_at, expires_at) = (*seq as Seq, *appended_at, *expires_at);
    let record = Record { seq, appended_at, expires_at, audiences: &audiences, event: &event };
    Insert::prepare(connection)?.execute(&record)?;
    Ok(())
}
