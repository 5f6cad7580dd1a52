//! How notifications and audiences are written down, and read again.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rusqlite::Row;

use crate::{
    domain::{Audience, Audiences, Epoch, Event, Notification, Payload, Seq},
    journal::Error,
};

/// The columns that [`notification`] reads.
pub(super) const COLUMNS: &str = "seq, expires_at, audiences, name, source, timestamp, payload";

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

fn audiences(seq: Seq, keys: &str) -> Result<Audiences, Error> {
    let damaged = || Error::Damaged(format!("the audiences of notification {seq} cannot be read"));
    let (mut everyone, mut users, mut rooms) = (false, Vec::new(), Vec::new());
    for key in split(keys) {
        match key.split_at_checked(2) {
            Some(("u:", user)) => users.push(user.to_owned()),
            Some(("r:", room)) => rooms.push(room.to_owned()),
            _ if key == "*" => everyone = true,
            _ => return Err(damaged()),
        }
    }
    Audiences::from_target(everyone, &users, &rooms).map_err(|_| damaged())
}

/// A time as it is written down.
pub(super) fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
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
    let audiences = audiences(seq as Seq, text(2)?)?;
    Ok(Arc::new(Notification::new(epoch.clone(), seq as Seq, event, audiences, expires_at)))
}
