//! A journal as JSON lines: the first says whose it is, then come the notifications in order, then the keys.

use std::{
    io::{BufRead, Write},
    ops::RangeInclusive,
    sync::Arc,
};

use chrono::DateTime;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    domain::{self, Epoch, Event, Payload, Seq},
    journal::{
        Error,
        idempotency::{ENTRY_BYTES, KeyEntry},
        log::millis,
        sqlite::{
            block::{self, Blocks},
            index::Unindexed,
            keys::{self, Filling},
            record, schema,
            tools::ToolError,
        },
    },
};

/// The form of the lines; a later one gets another number.
const FORMAT: u32 = 1;

/// How many notifications an import writes together.
const BATCH: usize = 1_024;

/// How many bytes of them get an index together.
const SEGMENT: usize = 32 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Journal { format: u32, epoch: String, oldest: Seq, newest: Seq },
    Notification(Notification),
    Key { key: String, used_at: i64, fingerprint: String, seq: Seq },
    UsedKey { entry: String },
}

/// A row of the table.
#[derive(Serialize, Deserialize)]
struct Notification {
    seq: Seq,
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
    let newest = acknowledged.map_or(newest, |acknowledged| acknowledged.max(newest));
    write(out, &Line::Journal { format: FORMAT, epoch: epoch.to_string(), oldest, newest })?;
    let exported = export_notifications(&snapshot, &epoch, oldest..=newest, out)?;
    export_keys(&snapshot, out)?;
    out.flush()?;
    Ok(exported)
}

fn export_notifications(
    snapshot: &Connection,
    epoch: &Epoch,
    places: RangeInclusive<Seq>,
    out: &mut impl Write,
) -> Result<(u64, u64), ToolError> {
    // Row by row, so that a damaged page takes no others with it.
    let mut blocks = Blocks::prepare(snapshot)?;
    let (mut count, mut lost) = (0, 0);
    for seq in places {
        let found = blocks.find(seq);
        match found.and_then(|block| Notification::new(&*block.notification(epoch, seq)?, block.appended_at)) {
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
    // A key that cannot be read only makes a retry of its publisher a second event.
    keys::for_each(snapshot, |key| {
        let mut entry = Vec::with_capacity(ENTRY_BYTES);
        key.write(&mut entry);
        let entry = entry.iter().map(|byte| format!("{byte:02x}")).collect();
        write(out, &Line::UsedKey { entry })
    })?;
    Ok(())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn write(out: &mut impl Write, line: &Line) -> Result<(), ToolError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Fills an empty journal: all of it or, on an error, nothing.
pub(super) fn import(connection: &Connection, lines: impl BufRead) -> Result<Imported, ToolError> {
    let transaction = connection.unchecked_transaction()?;
    let unindexed = Unindexed::new(&[], SEGMENT);
    let rows = Rows { connection: &transaction, waiting: Vec::new(), unindexed };
    let keys = Filling::new(&transaction);
    let mut import = Import { connection: &transaction, rows, keys, imported: Imported::default(), reached: None };
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
    rows: Rows<'c>,
    keys: Filling<'c>,
    imported: Imported,
    reached: Option<Reached>,
}

struct Reached {
    epoch: Epoch,
    /// The place that comes next, if none is missing.
    next: Seq,
    /// The newest place of the journal that was exported.
    newest: Seq,
    appended_at: i64,
}

impl Import<'_> {
    fn line(&mut self, line: Line) -> Result<(), Refused> {
        match (line, &mut self.reached) {
            (Line::Journal { format: FORMAT, epoch, oldest, newest }, None) => {
                self.connection.execute("UPDATE journal SET epoch = ?1, oldest = ?2", (&epoch, oldest as i64))?;
                let epoch = Epoch::from_text(&epoch);
                self.reached = Some(Reached { epoch, next: oldest, newest, appended_at: i64::MIN });
            }
            (Line::Journal { format, .. }, None) => {
                return Err(format!("the format is {format}, and this version knows {FORMAT}").into());
            }
            (Line::Notification(notification), Some(reached)) if notification.seq >= reached.next => {
                let (seq, appended_at) = (notification.seq, notification.appended_at);
                if appended_at < reached.appended_at {
                    return Err("it is older than the notification before it".to_owned().into());
                }
                if seq > reached.next || appended_at > reached.appended_at || self.rows.waiting.len() >= BATCH {
                    self.rows.write(reached.appended_at)?;
                }
                self.rows.waiting.push(Arc::new(notification.restore(&reached.epoch)?));
                self.imported.holes += seq - reached.next;
                self.imported.notifications += 1;
                (reached.next, reached.appended_at) = (seq + 1, appended_at);
            }
            (Line::Key { key, used_at, fingerprint, seq }, Some(_)) => {
                self.imported.keys += 1;
                let entry = from_hex(&fingerprint).and_then(|digits| keys::unowned(&key, &digits, seq, used_at));
                self.keys.push(entry.ok_or("it is no idempotency key".to_owned())?)?;
            }
            (Line::UsedKey { entry }, Some(_)) => {
                self.imported.keys += 1;
                let entry = from_hex(&entry).and_then(|bytes| Some(KeyEntry::read(bytes.as_slice().try_into().ok()?)));
                self.keys.push(entry.ok_or("it is no idempotency key".to_owned())?)?;
            }
            _ => return Err("it does not belong here".to_owned().into()),
        }
        Ok(())
    }

    /// Settles whose places these are, and where they begin.
    fn end(mut self) -> Result<Imported, ToolError> {
        let reached = self.reached.as_ref();
        let reached = reached.ok_or_else(|| ToolError::Line { line: 1, reason: "the file is empty".to_owned() })?;
        self.rows.write(reached.appended_at)?;
        self.rows.index()?;
        self.keys.end()?;
        self.imported.holes += (reached.newest + 1).saturating_sub(reached.next);
        if self.imported.holes > 0 {
            let epoch = Epoch::from_random(rand::random());
            self.connection.execute("UPDATE journal SET epoch = ?1", [epoch.as_str()])?;
        }
        // What is missing before the first is gone, not a hole.
        let first = "UPDATE journal SET oldest = coalesce((SELECT min(first) FROM blocks), oldest)";
        self.connection.execute(first, [])?;
        Ok(self.imported)
    }
}

/// What of an import is yet to be written.
struct Rows<'c> {
    connection: &'c Connection,
    /// Notifications with consecutive places that were appended at the same time.
    waiting: Vec<Arc<domain::Notification>>,
    unindexed: Unindexed,
}

impl Rows<'_> {
    fn write(&mut self, appended_at: i64) -> rusqlite::Result<()> {
        block::write(self.connection, (appended_at, appended_at), &self.waiting)?;
        self.unindexed.extend(&self.waiting);
        self.waiting.clear();
        if self.unindexed.is_full() { self.index() } else { Ok(()) }
    }

    fn index(&mut self) -> rusqlite::Result<()> {
        self.unindexed.write(self.connection, 0)?;
        self.unindexed.clear();
        Ok(())
    }
}

impl Notification {
    fn new(notification: &domain::Notification, appended_at: i64) -> Result<Self, Error> {
        let domain::Notification { seq, event, audiences, expires_at, .. } = notification;
        let payload = serde_json::from_slice(event.payload.as_bytes());
        Ok(Self {
            seq: *seq,
            appended_at,
            expires_at: expires_at.map(millis),
            audiences: audiences.as_slice().iter().map(record::key).collect(),
            event: event.name.to_string(),
            source: event.source.to_string(),
            timestamp: event.timestamp.to_string(),
            payload: payload.map_err(|_| Error::Damaged(format!("the payload of notification {seq} is not JSON")))?,
        })
    }

    fn restore(self, epoch: &Epoch) -> Result<domain::Notification, Refused> {
        let payload = Payload::parse(self.payload.get().as_bytes().to_vec().into());
        let event = Event {
            name: self.event.into(),
            payload: payload.map_err(|error| format!("payload: {error}"))?,
            source: self.source.into(),
            timestamp: self.timestamp.into(),
        };
        let audiences = record::audiences(&self.audiences);
        let audiences = audiences.ok_or("audiences: one of them is none".to_owned())?;
        let expires_at = self.expires_at.and_then(DateTime::from_timestamp_millis);
        Ok(domain::Notification::new(epoch.clone(), self.seq, event, audiences, expires_at))
    }
}
