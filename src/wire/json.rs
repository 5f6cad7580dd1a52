//! The JSON texts that the server sends over a WebSocket. Keys are the wire contract's, and so is what they
//! say to people, which `messages` has. Whoever has one made says
//! what the time is.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    domain::{ClientId, EphemeralEvent, Epoch, Event, Notice, Notification, Recovery, RoomId, Seq, UserId},
    wire::{framed::Framed, messages},
};

/// RFC 3339 in UTC, with milliseconds and `Z`.
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn json(message: &impl Serialize) -> Framed {
    let mut text = Framed::buffer(128);
    serde_json::to_writer(&mut text, message).expect("texts and numbers have a JSON form");
    Framed::text(text)
}

/// A notification, as WebSocket subscribers see it. The payload is copied as it is.
pub fn notification(notification: &Notification) -> Framed {
    let mut text = Framed::buffer(length(&notification.event));
    event(&mut text, &notification.event, &notification.id(), Some(notification.seq));
    Framed::text(text)
}

/// The same text for the history, which has no frames.
pub fn kept(notification: &Notification) -> Vec<u8> {
    let mut text = Vec::with_capacity(length(&notification.event));
    event(&mut text, &notification.event, &notification.id(), Some(notification.seq));
    text
}

/// An event that is not kept, as WebSocket subscribers see it: a notification without a `seq`.
pub fn ephemeral_event(ephemeral: &EphemeralEvent) -> Framed {
    let mut text = Framed::buffer(length(&ephemeral.event));
    event(&mut text, &ephemeral.event, &ephemeral.id, None);
    Framed::text(text)
}

/// About how long the text of an event becomes.
fn length(event: &Event) -> usize {
    160 + event.size()
}

fn event(text: &mut Vec<u8>, event: &Event, id: &str, seq: Option<Seq>) {
    text.extend_from_slice(br#"{"type":"system_notification","event":"#);
    put_string(text, &event.name);
    text.extend_from_slice(br#","payload":"#);
    text.extend_from_slice(event.payload.as_bytes());
    text.extend_from_slice(br#","timestamp":"#);
    put_string(text, &event.timestamp);
    text.extend_from_slice(br#","source":"#);
    put_string(text, &event.source);
    text.extend_from_slice(br#","id":"#);
    put_string(text, id);
    if let Some(seq) = seq {
        text.extend_from_slice(br#","seq":"#);
        text.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    }
    text.push(b'}');
}

fn put_string(text: &mut Vec<u8>, string: &str) {
    serde_json::to_writer(text, string).expect("a string has a JSON form");
}

/// What a new connection is told first.
#[derive(Debug)]
pub struct Established<'a> {
    /// The client's own name.
    pub client_id: &'a ClientId,
    /// Its user.
    pub user_id: Option<&'a UserId>,
    /// The room it is in.
    pub room: &'a RoomId,
    /// The journal's incarnation.
    pub epoch: &'a Epoch,
    /// The position from which the connection is live.
    pub seq: Seq,
    /// How it begins.
    pub recovery: Recovery,
    /// How many notifications follow that the client missed, if it resumed.
    pub replayed: u64,
    /// When it connected.
    pub at: DateTime<Utc>,
}

impl Established<'_> {
    /// The text of `connection_established`.
    pub fn text(&self) -> Framed {
        #[derive(Serialize)]
        struct Message<'a> {
            r#type: &'static str,
            message: String,
            room: &'a str,
            timestamp: String,
            client_id: &'a str,
            user_id: Option<&'a str>,
            epoch: &'a str,
            seq: Seq,
            #[serde(skip_serializing_if = "Option::is_none")]
            recovered: Option<bool>,
            #[serde(skip_serializing_if = "Option::is_none")]
            replayed: Option<u64>,
        }
        let (recovered, replayed) = match self.recovery {
            Recovery::Fresh => (None, None),
            Recovery::Unrecoverable => (Some(false), None),
            Recovery::Resumed => (Some(true), Some(self.replayed)),
        };
        json(&Message {
            r#type: "connection_established",
            message: messages::connected(self.client_id),
            room: self.room.as_str(),
            timestamp: timestamp(self.at),
            client_id: self.client_id.as_str(),
            user_id: self.user_id.map(UserId::as_str),
            epoch: self.epoch.as_str(),
            seq: self.seq,
            recovered,
            replayed,
        })
    }
}

/// The answer to a `ping`.
pub fn pong(now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message {
        r#type: &'static str,
        timestamp: String,
    }
    json(&Message { r#type: "pong", timestamp: timestamp(now) })
}

/// What a client did wrong; its connection stays.
pub fn error(message: &str, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        message: &'a str,
        timestamp: String,
    }
    json(&Message { r#type: "error", message, timestamp: timestamp(now) })
}

/// The notice that the token expired: the client has this many seconds to send another.
pub fn token_expired(grace_seconds: u64, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message {
        r#type: &'static str,
        message: &'static str,
        grace_seconds: u64,
        timestamp: String,
    }
    json(&Message { r#type: "token_expired", message: messages::EXPIRED, grace_seconds, timestamp: timestamp(now) })
}

/// The answer to `refresh`, with when the new token expires, in seconds since 1970.
pub fn token_refreshed(expires_at: Option<i64>, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message {
        r#type: &'static str,
        expires_at: Option<i64>,
        timestamp: String,
    }
    json(&Message { r#type: "token_refreshed", expires_at, timestamp: timestamp(now) })
}

/// What a client said or did, as the others in the room see it.
pub fn notice(notice: &Notice) -> Framed {
    match notice {
        Notice::Chat { client_id, room, message, at } => chat(client_id, message.as_json(), room, *at),
        Notice::Joined { client_id, room, at } => presence(true, client_id, room, *at),
        Notice::Left { client_id, room, at } => presence(false, client_id, room, *at),
    }
}

/// `message` is copied as it is.
fn chat(client_id: &ClientId, message: &RawValue, room: &RoomId, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        client_id: &'a str,
        message: &'a RawValue,
        room: &'a str,
        timestamp: String,
    }
    json(&Message {
        r#type: "chat_message",
        client_id: client_id.as_str(),
        message,
        room: room.as_str(),
        timestamp: timestamp(now),
    })
}

/// The answer to `join_room`.
pub fn room_changed(room: &RoomId, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        message: String,
        room: &'a str,
        timestamp: String,
    }
    json(&Message {
        r#type: "room_changed",
        message: messages::room_changed(room),
        room: room.as_str(),
        timestamp: timestamp(now),
    })
}

/// The answer to `subscribe` or `unsubscribe`, with the rooms that the connection now listens to.
pub fn rooms_changed(subscribed: bool, room: &RoomId, rooms: &[RoomId], now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        room: &'a str,
        rooms: Vec<&'a str>,
        timestamp: String,
    }
    json(&Message {
        r#type: if subscribed { "subscribed" } else { "unsubscribed" },
        room: room.as_str(),
        rooms: rooms.iter().map(RoomId::as_str).collect(),
        timestamp: timestamp(now),
    })
}

/// The notice that so many frames that nobody keeps did not fit, in this place, and will not come.
pub fn dropped(count: u32, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message {
        r#type: &'static str,
        count: u32,
        timestamp: String,
    }
    json(&Message { r#type: "dropped", count, timestamp: timestamp(now) })
}

fn presence(joined: bool, client_id: &ClientId, room: &RoomId, now: DateTime<Utc>) -> Framed {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        message: String,
        client_id: &'a str,
        room: &'a str,
        timestamp: String,
    }
    let (r#type, message) = match joined {
        true => ("user_joined", messages::joined(client_id)),
        false => ("user_left", messages::left(client_id)),
    };
    json(&Message { r#type, message, client_id: client_id.as_str(), room: room.as_str(), timestamp: timestamp(now) })
}

/// What a client is told before the server goes away: to come back after `after_ms` milliseconds, to the place it holds.
pub fn reconnect(after_ms: u64, seq: Seq, epoch: &Epoch) -> Framed {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'static str,
        after_ms: u64,
        seq: Seq,
        epoch: &'a str,
    }
    json(&Message { r#type: "reconnect", after_ms, seq, epoch: epoch.as_str() })
}

/// The notice that what lies from `from` to `to`, both included, is gone from the journal.
pub fn gap(from: Seq, to: Seq) -> Framed {
    #[derive(Serialize)]
    struct Message {
        r#type: &'static str,
        from: Seq,
        to: Seq,
    }
    json(&Message { r#type: "gap", from, to })
}
