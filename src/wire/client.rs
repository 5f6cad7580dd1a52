//! What clients send over a WebSocket.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    domain::{JsonText, NameError, Payload, RoomId},
    wire::messages,
};

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Asks for a `pong`.
    Ping,
    /// Says something to the others in a room: the one given, or the client's own.
    Chat {
        /// What it says.
        message: JsonText,
        /// Where, if not in its own room.
        room: Option<RoomId>,
    },
    /// Moves to a room.
    Join(RoomId),
    /// Listens to one more room.
    Subscribe(RoomId),
    /// Listens to a room no longer.
    Unsubscribe(RoomId),
    /// Goes on under another token.
    Refresh(String),
}

/// Why a text is not a message. The texts go to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is not JSON.
    #[error("{}", messages::NOT_JSON)]
    NotJson,
    /// It is JSON, but not an object.
    #[error("{}", messages::NOT_AN_OBJECT)]
    NotAnObject,
    /// It says it is something that does not exist.
    #[error("{}", messages::unknown_type(.0))]
    UnknownType(String),
    /// A field is missing or not a text.
    #[error("{}", messages::not_text(.0))]
    NotText(&'static str),
    /// The room's name is not one.
    #[error("{}", messages::bad_room(*.0))]
    BadRoom(NameError),
}

/// What `raw` says; nothing is the empty text. A text is written anew, and any other value is kept as it was written, if a client
/// can read it where it will be: one level deep in a message.
fn chat(raw: Option<&RawValue>) -> Result<JsonText, MessageError> {
    let Some(raw) = raw else { return Ok(JsonText::of_text("")) };
    if let Some(text) = string(raw.get()) {
        return Ok(JsonText::of_text(&text));
    }
    Payload::check_json(format!("[{}]", raw.get()).as_bytes()).map_err(|_| MessageError::NotJson)?;
    Ok(JsonText::of_value(raw))
}

/// The fields of an object, as they were written, in the order of their names here. Of one that comes twice the last counts; others
/// are passed over.
struct Fields<const N: usize>([&'static str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Fields<N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Fields<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Text(key)) = entries.next_key()? {
            match self.0.iter().position(|name| *name == key) {
                Some(place) => found[place] = Some(entries.next_value()?),
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

impl ClientMessage {
    /// Reads a message.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let document: &RawValue = serde_json::from_str(text).map_err(|_| MessageError::NotJson)?;
        if !document.get().starts_with('{') {
            return Err(MessageError::NotAnObject);
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = Fields(["type", "room", "message", "token"]).deserialize(&mut reader);
        let [kind, target, message, token] = fields.map_err(|_| MessageError::NotJson)?;
        let kind = kind.map_or("null", RawValue::get);
        match string(kind).as_deref() {
            Some("ping") => Ok(Self::Ping),
            Some("chat_message") => Ok(Self::Chat {
                message: chat(message)?,
                // An addition to the original, which counts as absent when it is nothing.
                room: target.filter(|room| room.get() != "null").map(|raw| room(Some(raw))).transpose()?,
            }),
            Some("join_room") if target.is_none() => Ok(Self::Join(RoomId::general())),
            Some("join_room") => room(target).map(Self::Join),
            Some("subscribe") => room(target).map(Self::Subscribe),
            Some("refresh") => Ok(Self::Refresh(required("token", token)?.into_owned())),
            Some("unsubscribe") => room(target).map(Self::Unsubscribe),
            Some(other) => Err(MessageError::UnknownType(shortened(other))),
            None => Err(MessageError::UnknownType(shortened(kind))),
        }
    }
}

/// The longest part of an unknown type that is sent back, in characters.
const SHOWN_CHARS: usize = 128;

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

fn required<'a>(name: &'static str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, MessageError> {
    raw.and_then(|raw| string(raw.get())).ok_or(MessageError::NotText(name))
}

fn room(raw: Option<&RawValue>) -> Result<RoomId, MessageError> {
    RoomId::parse(&required("room", raw)?).map_err(MessageError::BadRoom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId::parse(name).expect("a name")
    }

    #[test]
    fn messages_are_read() {
        let chat = |room| ClientMessage::Chat { message: JsonText::of_text("hola"), room };
        let cases = [
            (r#"{"type":"ping"}"#, ClientMessage::Ping),
            (r#" {"x":[1,{"y":2}],"type":"pi\u006eg"} "#, ClientMessage::Ping),
            (r#"{"type":"chat_message","message":"hola"}"#, chat(None)),
            (r#"{"type":"chat_message","message":"hola","room":null}"#, chat(None)),
            (r#"{"type":"chat_message","message":"hola","room":"a"}"#, chat(Some(room("a")))),
            (r#"{"type":"chat_message","message":1,"message":"h\u006fla"}"#, chat(None)),
            (r#"{"type":"join_room","room":"tema_1"}"#, ClientMessage::Join(room("tema_1"))),
            (r#"{"type":"join_room"}"#, ClientMessage::Join(RoomId::general())),
            (r#"{"type":"subscribe","room":"a"}"#, ClientMessage::Subscribe(room("a"))),
            (r#"{"type":"refresh","token":"abc"}"#, ClientMessage::Refresh("abc".into())),
            (r#"{"type":"unsubscribe","room":"a"}"#, ClientMessage::Unsubscribe(room("a"))),
        ];
        for (text, expected) in cases {
            assert_eq!(ClientMessage::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_told_why() {
        let cases = [
            ("hola", "Formato de mensaje inválido. Debe ser JSON válido."),
            ("", "Formato de mensaje inválido. Debe ser JSON válido."),
            (r#"{"type":"ping"} x"#, "Formato de mensaje inválido. Debe ser JSON válido."),
            ("[1]", "Formato de mensaje inválido. Debe ser un objeto JSON."),
            ("\"ping\"", "Formato de mensaje inválido. Debe ser un objeto JSON."),
            (r#"{"type":"nada"}"#, "Tipo de mensaje no reconocido: nada"),
            ("{}", "Tipo de mensaje no reconocido: null"),
            (r#"{"type":7}"#, "Tipo de mensaje no reconocido: 7"),
            (r#"{"type":"chat_message","message":1e999}"#, "Formato de mensaje inválido. Debe ser JSON válido."),
            (r#"{"type":"chat_message","message":"\ud800"}"#, "Formato de mensaje inválido. Debe ser JSON válido."),
            (r#"{"type":"chat_message","room":7}"#, "El campo 'room' es obligatorio y debe ser texto."),
            (r#"{"type":"join_room","room":["a"]}"#, "El campo 'room' es obligatorio y debe ser texto."),
            (r#"{"type":"join_room","room":null}"#, "El campo 'room' es obligatorio y debe ser texto."),
            (r#"{"type":"subscribe"}"#, "El campo 'room' es obligatorio y debe ser texto."),
            (r#"{"type":"join_room","room":""}"#, "Nombre de sala inválido: no puede estar vacío."),
        ];
        for (text, expected) in cases {
            assert_eq!(ClientMessage::parse(text).map_err(|error| error.to_string()), Err(expected.into()), "{text}");
        }
        let deep = format!("{{\"type\":\"ping\",\"x\":{}}}", "[".repeat(100_000));
        assert_eq!(ClientMessage::parse(&deep), Err(MessageError::NotJson));
    }
    // a text counts without its quotes, as it is passed on; anything else as it was written
    #[test]
    fn what_is_said_is_a_text_or_any_value() {
        let said = |message: &str| match ClientMessage::parse(&format!(r#"{{"type":"chat_message"{message}}}"#)) {
            Ok(ClientMessage::Chat { message, .. }) => (message.as_json().get().to_owned(), message.length()),
            other => panic!("{other:?}"),
        };
        let cases = [
            ("", r#""""#, 0),
            (r#","message":"""#, r#""""#, 0),
            (r#","message":"\u00f1\/\n""#, r#""ñ/\n""#, 5),
            (r#","message":null"#, "null", 4),
            (r#","message": 1.50 "#, "1.50", 4),
            (r#","message":[ 1 ]"#, "[ 1 ]", 5),
            (r#","message":{"b":"\u00f1","a":1}"#, r#"{"b":"\u00f1","a":1}"#, 20),
        ];
        for (message, json, length) in cases {
            assert_eq!(said(message), (json.to_owned(), length), "{message}");
        }
    }
}
