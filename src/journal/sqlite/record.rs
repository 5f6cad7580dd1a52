//! How notifications and audiences are written down, and read again.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rusqlite::{CachedStatement, Connection, Row};

use crate::{
    domain::{Audience, Audiences, Epoch, Event, Notification, Payload, Seq},
    journal::Error,
};

/// The columns that [`notification`] reads.
pub(super) const COLUMNS: &str = "seq, expires_at, audiences, name, source, timestamp, payload";

/// How many they are: the number of the first column behind them.
pub(super) const WIDTH: usize = 7;

/// Stands between the audiences of a notification. No name has control characters.
const SEPARATOR: char = '\n';

/// An audience as the index knows it.
pub(super) fn key(audience: &Audience) -> String {
    match audience {
        Audience::Everyone => "*".to_owned(),
        Audience::User(user) => format!("u:{user}"),
        Audience::Room(room) => format!("r:{room}"),
    }
}

/// The keys of `audiences`, one a line.
pub(super) fn keys(audiences: &Audiences) -> String {
    let mut keys = String::new();
    for audience in audiences.as_slice() {
        if !keys.is_empty() {
            keys.push(SEPARATOR);
        }
        keys.push_str(&key(audience));
    }
    keys
}

/// The single keys of what [`keys`] made.
pub(super) fn split(keys: &str) -> impl Iterator<Item = &str> {
    keys.split(SEPARATOR)
}

/// Reads what [`keys`] made; `None` if it is something else.
pub(super) fn audiences(keys: &str) -> Option<Audiences> {
    let (mut everyone, mut users, mut rooms) = (false, Vec::new(), Vec::new());
    for key in split(keys) {
        match key.split_at_checked(2) {
            Some(("u:", user)) => users.push(user.to_owned()),
            Some(("r:", room)) => rooms.push(room.to_owned()),
            _ if key == "*" => everyone = true,
            _ => return None,
        }
    }
    Audiences::from_target(everyone, &users, &rooms).ok()
}

/// A time as it is written down.
pub(super) fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A notification on its way into the tables.
#[derive(Debug)]
pub(super) struct Record<'r> {
    pub(super) seq: Seq,
    pub(super) appended_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) audiences: &'r Audiences,
    pub(super) event: &'r Event,
}

/// The statements that write a notification down, and index it for each of its audiences.
pub(super) struct Insert<'c> {
    notification: CachedStatement<'c>,
    place: CachedStatement<'c>,
}

impl<'c> Insert<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let notification = "INSERT INTO notifications (seq, appended_at, expires_at, audiences, name, source, timestamp, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let place = "INSERT INTO places (audience, seq, expires_at) VALUES (?1, ?2, ?3)";
        Ok(Self { notification: connection.prepare_cached(notification)?, place: connection.prepare_cached(place)? })
    }

    pub(super) fn execute(&mut self, record: &Record<'_>) -> rusqlite::Result<()> {
        let Record { appended_at, expires_at, event: Event { name, payload, source, timestamp }, .. } = record;
        let (seq, audiences) = (record.seq as i64, keys(record.audiences));
        let payload = payload.as_bytes().as_ref();
        self.notification.execute((seq, appended_at, expires_at, &audiences, name, source, timestamp, payload))?;
        for key in split(&audiences) {
            self.place.execute((key, seq, expires_at))?;
        }
        Ok(())
    }
}

/// Reads a row of [`COLUMNS`].
pub(super) fn notification(epoch: &Epoch, row: &Row<'_>) -> Result<Arc<Notification>, Error> {
    let seq: i64 = row.get(0).map_err(|error| super::failure(&error))?;
    let damaged = |_| Error::Damaged(format!("notification {seq} cannot be read"));
    let text =
        |column| row.get_ref(column).map_err(damaged)?.as_str().map_err(|_| damaged(rusqlite::Error::InvalidQuery));
    let payload = row.get_ref(6).map_err(damaged)?.as_blob().map_err(|_| damaged(rusqlite::Error::InvalidQuery))?;
    let payload = Payload::from_checked(Bytes::copy_from_slice(payload))
        .map_err(|_| Error::Damaged(format!("the payload of notification {seq} is not JSON")))?;
    let event = Event { name: text(3)?.into(), payload, source: text(4)?.into(), timestamp: text(5)?.into() };
    let expires_at: Option<i64> = row.get(1).map_err(damaged)?;
    let expires_at = expires_at.and_then(DateTime::from_timestamp_millis);
    let audiences = audiences(text(2)?)
        .ok_or_else(|| Error::Damaged(format!("the audiences of notification {seq} cannot be read")))?;
    Ok(Arc::new(Notification::new(epoch.clone(), seq as Seq, event, audiences, expires_at)))
}
