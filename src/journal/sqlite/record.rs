//! How one notification and its audiences are written down, and read again.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    domain::{Audience, Audiences, Epoch, Event, Notification, Payload, Seq},
    journal::Error,
};

/// A notification without its place. Fields may be added: a reader that does not know one passes it over.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    /// The keys of the audiences.
    #[prost(string, repeated, tag = "1")]
    audiences: Vec<String>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    source: String,
    #[prost(string, tag = "4")]
    timestamp: String,
    #[prost(bytes = "bytes", tag = "5")]
    payload: Bytes,
    #[prost(int64, optional, tag = "6")]
    expires_at: Option<i64>,
}

impl From<&Notification> for Record {
    fn from(Notification { event, audiences, expires_at, .. }: &Notification) -> Self {
        Self {
            audiences: audiences.as_slice().iter().map(key).collect(),
            name: event.name.as_ref().into(),
            source: event.source.as_ref().into(),
            timestamp: event.timestamp.as_ref().into(),
            payload: event.payload.as_bytes().clone(),
            expires_at: expires_at.map(millis),
        }
    }
}

impl Record {
    /// The notification that has the place `seq` of `epoch`.
    pub(super) fn notification(self, epoch: &Epoch, seq: Seq) -> Result<Arc<Notification>, Error> {
        let Self { audiences: keys, name, source, timestamp, payload, expires_at } = self;
        let payload = Payload::from_checked(payload)
            .map_err(|_| Error::Damaged(format!("the payload of notification {seq} is not JSON")))?;
        let audiences = audiences(&keys)
            .ok_or_else(|| Error::Damaged(format!("the audiences of notification {seq} cannot be read")))?;
        let event = Event { name: name.into(), payload, source: source.into(), timestamp: timestamp.into() };
        let expires_at = expires_at.and_then(DateTime::from_timestamp_millis);
        Ok(Arc::new(Notification::new(epoch.clone(), seq, event, audiences, expires_at)))
    }
}

/// An audience as the file knows it: `*` for everyone, `u:` and a user, `r:` and a room.
pub(super) fn key(audience: &Audience) -> String {
    match audience {
        Audience::Everyone => "*".to_owned(),
        Audience::User(user) => format!("u:{user}"),
        Audience::Room(room) => format!("r:{room}"),
    }
}

/// What has these [`key`]s; `None` if one of them is something else.
pub(super) fn audiences(keys: &[String]) -> Option<Audiences> {
    let (mut everyone, mut users, mut rooms) = (false, Vec::new(), Vec::new());
    for key in keys {
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
