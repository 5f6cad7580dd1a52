//! How one notification and its audiences are written down, and read again.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use chrono::DateTime;
use prost::encoding::{self, WireType};

use crate::{
    domain::{Audience, Audiences, Epoch, Event, Notification, Payload, Seq},
    journal::{Error, log::millis},
};

/// A notification without its position. Fields may be added: a reader that does not know one passes it over.
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

/// Writes a notification down as a [`Record`]. To make one would need copies of all its texts first, which is a good part of what
/// the writer does; so each field is written by itself, an empty one as well.
pub(super) fn write(Notification { event, audiences, expires_at, .. }: &Notification, to: &mut Vec<u8>) {
    for audience in audiences.as_slice() {
        let (kind, name) = key_parts(audience);
        text(1, &[kind, name], to);
    }
    text(2, &[&event.name], to);
    text(3, &[&event.source], to);
    text(4, &[&event.timestamp], to);
    encoding::bytes::encode(5, event.payload.as_bytes(), to);
    if let Some(expires_at) = expires_at {
        encoding::int64::encode(6, &millis(*expires_at), to);
    }
}

/// Writes a field that is the text of all `parts`, as [`encoding::string`] would if it were one `String`.
fn text(tag: u32, parts: &[&str], to: &mut Vec<u8>) {
    encoding::encode_key(tag, WireType::LengthDelimited, to);
    encoding::encode_varint(parts.iter().map(|part| part.len() as u64).sum(), to);
    parts.iter().for_each(|part| to.put_slice(part.as_bytes()));
}

impl Record {
    /// The notification that has the position `seq` of `epoch`.
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
    let (kind, name) = key_parts(audience);
    [kind, name].concat()
}

fn key_parts(audience: &Audience) -> (&'static str, &str) {
    match audience {
        Audience::Everyone => ("*", ""),
        Audience::User(user) => ("u:", user.as_str()),
        Audience::Room(room) => ("r:", room.as_str()),
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

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn notification(audiences: Audiences, expires_at: Option<i64>) -> Notification {
        let event = Event {
            name: "tema.created".into(),
            payload: Payload::parse(Bytes::from(format!(r#"{{"pad":"{}"}}"#, "x".repeat(300)))).expect("an object"),
            source: "".into(),
            timestamp: "2026-01-01T00:00:00.000Z".into(),
        };
        let expires_at = expires_at.and_then(DateTime::from_timestamp_millis);
        Notification::new(Epoch::from_text("e"), 7, event, audiences, expires_at)
    }

    #[test]
    fn what_is_written_is_a_record() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let target = |everyone, users: &[&str], rooms: &[&str]| {
            Audiences::from_target(everyone, &texts(users), &texts(rooms)).expect("a target")
        };
        let audiences =
            [target(true, &[], &[]), target(false, &["ana", "bo"], &["admin"]), target(true, &["1"], &["2"])];
        for audiences in audiences {
            for expires_at in [None, Some(-1), Some(1_767_225_600_000)] {
                let written = notification(audiences.clone(), expires_at);
                let mut bytes = Vec::new();
                write(&written, &mut bytes);
                let record = Record::decode(bytes.as_slice()).expect("a record");
                let read = record.notification(&written.epoch, 7).expect("a notification");
                assert_eq!(
                    (&read.event, &read.audiences, read.expires_at),
                    (&written.event, &written.audiences, written.expires_at)
                );
            }
        }
    }

    // Files of released versions hold these bytes: a field that is written in another way, or left out, would be a new layout.
    #[test]
    fn the_bytes_of_a_record_are_fixed() {
        let event = Event {
            name: "tema.creada".into(),
            payload: Payload::parse(Bytes::from(format!(r#"{{"p":"{}"}}"#, "x".repeat(130)))).expect("an object"),
            source: "".into(),
            timestamp: "2026-01-01T00:00:00.000Z".into(),
        };
        let texts = |text: &str| vec![text.to_owned()];
        let audiences = Audiences::from_target(true, &texts("ana"), &texts("tema_ñ")).expect("a target");
        for (expires_at, end) in [
            (None, &b""[..]),
            (Some(1_767_225_600_000), b"\x30\x80\xd0\xea\xb6\xb7\x33"),
            (Some(-1), b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ] {
            let expires_at = expires_at.and_then(DateTime::from_timestamp_millis);
            let notification =
                Notification::new(Epoch::from_text("e"), 7, event.clone(), audiences.clone(), expires_at);
            let mut written = Vec::new();
            write(&notification, &mut written);
            let mut expected = b"\x0a\x01*\x0a\x05u:ana\x0a\x09r:tema_\xc3\xb1\x12\x0btema.creada\x1a\x00".to_vec();
            expected.extend_from_slice(b"\x22\x182026-01-01T00:00:00.000Z\x2a\x8a\x01{\"p\":\"");
            expected.extend_from_slice(&[b'x'; 130]);
            expected.extend_from_slice(b"\"}");
            expected.extend_from_slice(end);
            assert_eq!(written, expected);
        }
    }
}
