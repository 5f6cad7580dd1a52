//! Takes notifications out of the lines of an export, and writes them into the file.

use std::sync::Arc;

use chrono::DateTime;
use rusqlite::Connection;

use crate::{
    domain::{self, Epoch, Event, Payload},
    journal::sqlite::{
        archive::{Notification, Raw},
        batch_row,
        index::PendingIndex,
        record,
    },
};

/// How many notifications are written together, and from how many bytes on no more.
const BATCH: usize = 1_024;
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// How many bytes of them get an index together.
const SEGMENT: usize = 32 * 1024 * 1024;

impl Notification<Raw> {
    /// The notification, or what is wrong with it. It must be one that the service could have taken.
    pub(super) fn restore(self, epoch: &Epoch, format: u32) -> Result<domain::Notification, String> {
        let payload = match format {
            1 => self.payload.get().to_owned(),
            _ => serde_json::from_str(self.payload.get()).map_err(|_| "payload: must be a string".to_owned())?,
        };
        let event = Event {
            name: self.event.into(),
            payload: Payload::parse(payload.into()).map_err(|error| format!("payload: {error}"))?,
            source: self.source.into(),
            timestamp: self.timestamp.into(),
        };
        if event.name.is_empty() {
            return Err("event: must not be empty".to_owned());
        }
        let time = |millis| DateTime::from_timestamp_millis(millis).ok_or(format!("{millis} is no time"));
        time(self.appended_at)?;
        let expires_at = self.expires_at.map(time).transpose()?;
        let audiences = record::audiences(&self.audiences).ok_or("audiences: one of them is none")?;
        Ok(domain::Notification::new(epoch.clone(), self.seq, event, audiences, expires_at))
    }
}

/// The rows of an import that are still to be written.
pub(super) struct Rows<'c> {
    connection: &'c Connection,
    /// Notifications with consecutive positions that were appended at the same time, and that time.
    waiting: Vec<Arc<domain::Notification>>,
    appended_at: i64,
    bytes: usize,
    /// The latest time at which one of those so far was appended.
    reached_at: i64,
    pending_index: PendingIndex,
}

impl<'c> Rows<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        let pending_index = PendingIndex::new(&[], SEGMENT);
        Self { connection, waiting: Vec::new(), appended_at: i64::MIN, bytes: 0, reached_at: i64::MIN, pending_index }
    }

    pub(super) fn push(&mut self, notification: domain::Notification, appended_at: i64) -> rusqlite::Result<()> {
        let follows = self.waiting.last().is_some_and(|last| last.seq + 1 == notification.seq);
        let full = self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES;
        if !follows || full || appended_at != self.appended_at {
            self.write()?;
        }
        self.bytes += notification.size();
        self.appended_at = appended_at;
        self.waiting.push(Arc::new(notification));
        Ok(())
    }

    /// Writes what waits.
    fn write(&mut self) -> rusqlite::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.reached_at = self.reached_at.max(self.appended_at);
        batch_row::write(self.connection, (self.appended_at, self.reached_at), &self.waiting)?;
        self.pending_index.extend(&self.waiting);
        self.waiting.clear();
        self.bytes = 0;
        if self.pending_index.is_full() { self.index() } else { Ok(()) }
    }

    fn index(&mut self) -> rusqlite::Result<()> {
        self.pending_index.write(self.connection, 0)?;
        self.pending_index.clear();
        Ok(())
    }

    /// Writes all that is left.
    pub(super) fn end(&mut self) -> rusqlite::Result<()> {
        self.write()?;
        self.index()
    }
}
