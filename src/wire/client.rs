//! What clients send over a WebSocket.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{NameError, RoomId};

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Asks for a `pong`.
    Ping,
    /// Says something to the others in a room: the one given, or the client's own.
    Chat {
        /// What it says.
        message: String,
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
    #[error("Formato de mensaje inválido. Debe ser JSON válido.")]
    NotJson,
    /// It is JSON, but not an object.
    #[error("Formato de mensaje inválido. Debe ser un objeto JSON.")]
    NotAnObject,
    /// It says it is something that does not exist.
    #[error("Tipo de mensaje no reconocido: {0}")]
    UnknownType(String),
    /// A field is missing or not a text.
    #[error("El campo '{0}' es obligatorio y debe ser texto.")]
    NotText(&'static str),
    /// The room's name is not one.
    #[error("Nombre de sala inválido: {}", spanish(.0))]
    BadRoom(NameError),
}

fn spanish(error: &NameError) -> &'static str {
    match error {
        NameError::Empty => "no puede estar vacío.",
        NameError::TooLong => "admite como máximo 128 caracteres.",
        NameError::Control => "no admite caracteres de control.",
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    room: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
}

impl ClientMessage {
    /// Reads a message.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let document: &RawValue = serde_json::from_str(text).map_err(|_| MessageError::NotJson)?;
        if !document.get().starts_with('{') {
            return Err(MessageError::NotAnObject);
        }
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| MessageError::NotJson)?;
        let kind = fields.r#type.map_or("null", RawValue::get);
        match string(kind).as_deref() {
            Some("ping") => Ok(Self::Ping),
            Some("chat_message") => Ok(Self::Chat {
                message: required("message", fields.message)?.into_owned(),
                room: fields.room.filter(|room| room.get() != "null").map(|raw| room(Some(raw))).transpose()?,
            }),
            Some("join_room") => room(fields.room).map(Self::Join),
            Some("subscribe") => room(fields.room).map(Self::Subscribe),
            Some("refresh") => Ok(Self::Refresh(required("token", fields.token)?.into_owned())),
            Some("unsubscribe") => room(fields.room).map(Self::Unsubscribe),
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

fn string(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
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
        let chat = |room| ClientMessage::Chat { message: "hola".into(), room };
        let cases = [
            (r#"{"type":"ping"}"#, ClientMessage::Ping),
            (r#" {"x":[1,{"y":2}],"type":"pi\u006eg"} "#, ClientMessage::Ping),
            (r#"{"type":"chat_message","message":"hola"}"#, chat(None)),
            (r#"{"type":"chat_message","message":"hola","room":null}"#, chat(None)),
            (r#"{"type":"chat_message","message":"hola","room":"a"}"#, chat(Some(room("a")))),
            (r#"{"type":"join_room","room":"tema_1"}"#, ClientMessage::Join(room("tema_1"))),
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
            (r#"{"type":"chat_message"}"#, "El campo 'message' es obligatorio y debe ser texto."),
            (r#"{"type":"chat_message","message":1}"#, "El campo 'message' es obligatorio y debe ser texto."),
            (r#"{"type":"join_room","room":["a"]}"#, "El campo 'room' es obligatorio y debe ser texto."),
            (r#"{"type":"join_room","room":""}"#, "Nombre de sala inválido: no puede estar vacío."),
        ];
        for (text, expected) in cases {
            assert_eq!(ClientMessage::parse(text).map_err(|error| error.to_string()), Err(expected.into()), "{text}");
        }
        let deep = format!("{{\"type\":\"ping\",\"x\":{}}}", "[".repeat(100_000));
        assert_eq!(ClientMessage::parse(&deep), Err(MessageError::NotJson));
    }
}
