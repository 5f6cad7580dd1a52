//! A WebSocket client's life as a pure state machine: its messages in, what is to be done out. No socket, no clock, no rooms
//! but the names of those it is in.

use std::num::NonZeroUsize;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    domain::{Audience, ClientId, RoomId},
    egress::Options,
    gate::{Denied, Permit, TokenError},
    wire::{
        client::{ClientMessage, JsonText},
        text,
    },
};

/// What is to be done for a client, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::egress) enum Effect {
    /// Send this text to the client itself.
    Reply(Bytes),
    /// Send this text to the others in the room.
    Relay(RoomId, Bytes),
    /// Listen to the room. The others there are not told.
    Enter(RoomId),
    /// Listen to the room no longer. The others there are not told.
    Leave(RoomId),
    /// Check this token, and go on under it.
    Refresh(String),
    /// Note that this was refused.
    Refused(Denied),
}

/// How much a client may do. There is one for each connection, so it is small.
#[derive(Debug, Clone, Copy)]
pub(in crate::egress) struct Limits {
    /// How many rooms it may listen to.
    pub(in crate::egress) max_rooms: u32,
    /// How many bytes a chat message may say, as JSON.
    pub(in crate::egress) max_chat_bytes: u32,
}

impl Limits {
    /// What the settings say.
    pub(in crate::egress) fn of(options: &Options) -> Self {
        let number = |limit: NonZeroUsize| u32::try_from(limit.get()).unwrap_or(u32::MAX);
        Self { max_rooms: number(options.max_rooms_per_connection), max_chat_bytes: number(options.max_chat_bytes) }
    }
}

/// Which rooms a client is in, and what its messages do about it.
#[derive(Debug)]
pub(in crate::egress) struct Session {
    client_id: ClientId,
    /// Its own room first, then those that it listens to besides.
    rooms: Vec<RoomId>,
    limits: Limits,
    /// What it may hear.
    permit: Permit,
}

impl Session {
    /// A client in `room`, which listens to `further` rooms besides.
    pub(in crate::egress) fn new(
        client_id: ClientId,
        room: RoomId,
        further: Vec<RoomId>,
        limits: Limits,
        permit: Permit,
    ) -> Self {
        let mut rooms = vec![room];
        for room in further {
            if !rooms.contains(&room) {
                rooms.push(room);
            }
        }
        Self { client_id, rooms, limits, permit }
    }

    /// The rooms, the client's own first.
    pub(in crate::egress) fn rooms(&self) -> &[RoomId] {
        &self.rooms
    }

    /// The client's own room: the one it chats in.
    pub(in crate::egress) fn room(&self) -> &RoomId {
        &self.rooms[0]
    }

    /// What it may hear.
    pub(in crate::egress) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Takes in a message that came `now`.
    pub(in crate::egress) fn on_text(&mut self, text: &str, now: DateTime<Utc>) -> Vec<Effect> {
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Ping) => vec![Effect::Reply(text::pong(now))],
            Ok(ClientMessage::Chat { message, room }) => self.chat(&message, room, now),
            Ok(ClientMessage::Join(room)) => self.if_allowed(&room, now, Self::join),
            Ok(ClientMessage::Subscribe(room)) => self.if_allowed(&room, now, Self::subscribe),
            Ok(ClientMessage::Refresh(token)) => vec![Effect::Refresh(token)],
            Ok(ClientMessage::Unsubscribe(room)) => self.unsubscribe(&room, now),
            Err(error) => refusal(&error.to_string(), now),
        }
    }

    /// Takes in a message that is not text.
    pub(in crate::egress) fn on_binary(&mut self, bytes: &[u8], now: DateTime<Utc>) -> Vec<Effect> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.on_text(text, now),
            Err(_) => refusal(&crate::wire::client::MessageError::NotJson.to_string(), now),
        }
    }

    /// Goes on under another permit, if that one allows all rooms that the client is in.
    pub(in crate::egress) fn renew(&mut self, permit: Permit) -> Result<(), Denied> {
        self.rooms.iter().try_for_each(|room| permit.check(Some(&Audience::Room(room.clone()))))?;
        self.permit = permit;
        Ok(())
    }

    /// Enters a room, unless it is not for the client, or nothing new is any more: its token is over, and only what was open
    /// goes on.
    fn if_allowed(
        &mut self,
        room: &RoomId,
        now: DateTime<Utc>,
        enter: fn(&mut Self, &RoomId, DateTime<Utc>) -> Vec<Effect>,
    ) -> Vec<Effect> {
        let (message, denied) = match self.permit.check(Some(&Audience::Room(room.clone()))) {
            Ok(()) if !self.permit.is_over(now.timestamp()) => return enter(self, room, now),
            Ok(()) => (text::EXPIRED.to_owned(), Denied::Unauthenticated(Some(TokenError::Expired))),
            Err(denied) => (format!("No tienes permiso para la sala {room}"), denied),
        };
        let mut effects = refusal(&message, now);
        effects.push(Effect::Refused(denied));
        effects
    }

    fn chat(&self, message: &JsonText, room: Option<RoomId>, now: DateTime<Utc>) -> Vec<Effect> {
        let room = room.unwrap_or_else(|| self.room().clone());
        if !self.rooms.contains(&room) {
            return refusal(&format!("No estás en la sala {room}"), now);
        }
        let max_bytes = self.limits.max_chat_bytes;
        if message.length() > max_bytes as usize {
            return refusal(&format!("El mensaje es demasiado largo: admite como máximo {max_bytes} bytes"), now);
        }
        let text = text::chat(&self.client_id, message.as_json(), &room, now);
        vec![Effect::Relay(room, text)]
    }

    fn join(&mut self, room: &RoomId, now: DateTime<Utc>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.room() != room {
            let left = self.rooms.remove(0);
            match self.rooms.iter().position(|joined| joined == room) {
                Some(place) => self.rooms[..=place].rotate_right(1),
                None => {
                    self.rooms.insert(0, room.clone());
                    effects.push(Effect::Enter(room.clone()));
                }
            }
            effects.insert(0, Effect::Leave(left));
        }
        effects.push(Effect::Reply(text::room_changed(room, now)));
        effects
    }

    fn subscribe(&mut self, room: &RoomId, now: DateTime<Utc>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.rooms.contains(room) {
            let max_rooms = self.limits.max_rooms;
            if self.rooms.len() >= max_rooms as usize {
                return refusal(&format!("Límite de {max_rooms} salas por conexión alcanzado"), now);
            }
            self.rooms.push(room.clone());
            effects.push(Effect::Enter(room.clone()));
        }
        effects.push(Effect::Reply(text::rooms_changed(true, room, &self.rooms, now)));
        effects
    }

    fn unsubscribe(&mut self, room: &RoomId, now: DateTime<Utc>) -> Vec<Effect> {
        if self.room() == room {
            return refusal("No puedes dejar tu sala actual; cámbiala con join_room", now);
        }
        let mut effects = Vec::new();
        if let Some(place) = self.rooms.iter().position(|joined| joined == room) {
            self.rooms.remove(place);
            effects.push(Effect::Leave(room.clone()));
        }
        effects.push(Effect::Reply(text::rooms_changed(false, room, &self.rooms, now)));
        effects
    }
}

fn refusal(message: &str, now: DateTime<Utc>) -> Vec<Effect> {
    vec![Effect::Reply(text::error(message, now))]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId::parse(name).expect("a name")
    }

    fn session(rooms: &[&str]) -> Session {
        let further = rooms[1..].iter().map(|name| room(name)).collect();
        let limits = Limits { max_rooms: 3, max_chat_bytes: 10 };
        Session::new(ClientId::parse("ana").expect("a name"), room(rooms[0]), further, limits, Permit::OPEN)
    }

    /// The effects with their texts as JSON, without the timestamps.
    fn effects(session: &mut Session, message: &Value) -> Vec<(String, Value)> {
        let content = |text: Bytes| {
            let mut value: Value = serde_json::from_slice(&text).expect("JSON");
            value.as_object_mut().expect("an object").remove("timestamp");
            value
        };
        let effects =
            session.on_text(&message.to_string(), DateTime::UNIX_EPOCH).into_iter().map(|effect| match effect {
                Effect::Reply(text) => ("reply".to_owned(), content(text)),
                Effect::Relay(room, text) => (format!("relay {room}"), content(text)),
                Effect::Enter(room) => (format!("enter {room}"), Value::Null),
                Effect::Leave(room) => (format!("leave {room}"), Value::Null),
                Effect::Refresh(token) => (format!("refresh {token}"), Value::Null),
                Effect::Refused(denied) => (format!("refused: {denied}"), Value::Null),
            });
        effects.collect()
    }

    fn names(session: &Session) -> Vec<&str> {
        session.rooms().iter().map(RoomId::as_str).collect()
    }

    #[test]
    fn joining_moves_the_client() {
        let mut ana = session(&["general", "b"]);
        let effects = effects(&mut ana, &json!({"type":"join_room","room":"c"}));
        let labels: Vec<_> = effects.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["leave general", "enter c", "reply"]);
        let answer = json!({"type":"room_changed","message":"Te uniste a la sala c","room":"c"});
        assert_eq!(effects[2].1, answer);
        assert_eq!(names(&ana), ["c", "b"]);
    }

    #[test]
    fn joining_a_room_one_is_in_enters_nothing() {
        let mut ana = session(&["general", "b", "c"]);
        let labels: Vec<_> =
            effects(&mut ana, &json!({"type":"join_room","room":"c"})).into_iter().map(|e| e.0).collect();
        assert_eq!(labels, ["leave general", "reply"]);
        assert_eq!(names(&ana), ["c", "b"]);
        assert_eq!(effects(&mut ana, &json!({"type":"join_room","room":"c"})).len(), 1);
        assert_eq!(names(&ana), ["c", "b"]);
    }

    #[test]
    fn rooms_are_added_and_left_and_bounded() {
        let mut ana = session(&["general"]);
        let added = effects(&mut ana, &json!({"type":"subscribe","room":"b"}));
        let answer = json!({"type":"subscribed","room":"b","rooms":["general","b"]});
        assert_eq!(added, [("enter b".to_owned(), Value::Null), ("reply".to_owned(), answer)]);
        assert_eq!(effects(&mut ana, &json!({"type":"subscribe","room":"b"})).len(), 1);
        effects(&mut ana, &json!({"type":"subscribe","room":"c"}));
        let refused = effects(&mut ana, &json!({"type":"subscribe","room":"d"}));
        assert_eq!(refused[0].1["type"], "error");
        let left = effects(&mut ana, &json!({"type":"unsubscribe","room":"b"}));
        let answer = json!({"type":"unsubscribed","room":"b","rooms":["general","c"]});
        assert_eq!(left, [("leave b".to_owned(), Value::Null), ("reply".to_owned(), answer)]);
        assert_eq!(effects(&mut ana, &json!({"type":"unsubscribe","room":"x"})).len(), 1);
        assert_eq!(effects(&mut ana, &json!({"type":"unsubscribe","room":"general"}))[0].1["type"], "error");
        assert_eq!(names(&ana), ["general", "c"]);
    }

    #[test]
    fn chat_goes_to_a_room_one_is_in() {
        let mut ana = session(&["general", "b"]);
        let said = effects(&mut ana, &json!({"type":"chat_message","message":"hola"}));
        let text = json!({"type":"chat_message","client_id":"ana","message":"hola","room":"general"});
        assert_eq!(said, [("relay general".to_owned(), text)]);
        assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":"x","room":"b"}))[0].0, "relay b");
        assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":"x","room":"z"}))[0].1["type"], "error");
    }

    // what counts is what the others get, however the client wrote it
    #[test]
    fn chat_is_short() {
        let mut ana = session(&["general"]);
        let error = json!({"type":"error","message":"El mensaje es demasiado largo: admite como máximo 10 bytes"});
        let refused = [("reply".to_owned(), error)];
        for (longest, too_long) in [
            ("1234567890", "12345678901"),
            ("ñññññ", "ñññññ1"),
            ("\"\n345678", "\"\n3456789"),
            ("\u{1}7890", "\u{1}78901"),
        ] {
            let said = effects(&mut ana, &json!({"type":"chat_message","message":longest}));
            assert_eq!((said[0].0.as_str(), &said[0].1["message"]), ("relay general", &json!(longest)));
            assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":too_long})), refused);
        }
        let value = effects(&mut ana, &json!({"type":"chat_message","message":["345678"]}));
        assert_eq!((value[0].0.as_str(), &value[0].1["message"]), ("relay general", &json!(["345678"])));
        assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":["3456789"]})), refused);
        let escaped = r#"{"type":"chat_message","message":"\u0031\u0032\u0033"}"#;
        assert!(matches!(ana.on_text(escaped, DateTime::UNIX_EPOCH)[..], [Effect::Relay(..)]));
    }
}
