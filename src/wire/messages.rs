//! Every text that people read, by name. It is Spanish, the language of those who use the applications; another language would be
//! added here. What only programmers read, such as the reasons of a refused publish, is English and stands with what it is about.

use std::fmt::Display;

use crate::domain::NameError;

/// What `GET /` says that the service is.
pub const SERVICE: &str = "Servicio de notificaciones en tiempo real";

/// A publish succeeded.
pub const PUBLISHED: &str = "Notificación enviada exitosamente";

/// A trial succeeded.
pub const TRIAL_PUBLISHED: &str = "Notificación de prueba enviada";

/// What a trial publishes.
pub const TRIAL: &str = "Esta es una notificación de prueba";

/// The token of a request is missing or wrong.
pub const BAD_TOKEN: &str = "Token inválido";

/// A client's token expired.
pub const EXPIRED: &str = "Tu sesión ha caducado; renueva el token.";

/// The token that a client wants to go on with is wrong.
pub const TOKEN_NOT_VALID: &str = "El token no es válido";

/// The token that a client wants to go on with is another user's, or does not allow what it listens to.
pub const TOKEN_DOES_NOT_ALLOW: &str = "El token no permite seguir en esta conexión";

/// A client's message is one too many.
pub const TOO_MANY: &str = "Demasiados mensajes: este no se ha atendido; espera un momento";

/// What a client said cannot be passed on to the others.
pub const NOT_RELAYED: &str = "El mensaje no se ha podido enviar; inténtalo de nuevo más tarde";

/// A client's message is no JSON.
pub const NOT_JSON: &str = "Formato de mensaje inválido. Debe ser JSON válido.";

/// A client's message is JSON, but no object.
pub const NOT_AN_OBJECT: &str = "Formato de mensaje inválido. Debe ser un objeto JSON.";

/// A client wants to leave the room that it is in.
pub const OWN_ROOM: &str = "No puedes dejar tu sala actual; cámbiala con join_room";

/// A client's message says that it is something that does not exist.
pub fn unknown_type(kind: impl Display) -> String {
    format!("Tipo de mensaje no reconocido: {kind}")
}

/// A field of a client's message is missing or no text.
pub fn not_text(field: impl Display) -> String {
    format!("El campo '{field}' es obligatorio y debe ser texto.")
}

/// The name of a room is none.
pub fn bad_room(error: NameError) -> String {
    let why = match error {
        NameError::Empty => "no puede estar vacío.",
        NameError::TooLong => "admite como máximo 128 caracteres.",
        NameError::Control => "no admite caracteres de control.",
    };
    format!("Nombre de sala inválido: {why}")
}

/// A client may not enter a room.
pub fn not_allowed(room: impl Display) -> String {
    format!("No tienes permiso para la sala {room}")
}

/// A client speaks in a room that it is not in.
pub fn not_in_room(room: impl Display) -> String {
    format!("No estás en la sala {room}")
}

/// A client listens to as many rooms as it may.
pub fn too_many_rooms(limit: impl Display) -> String {
    format!("Límite de {limit} salas por conexión alcanzado")
}

/// What a client says is longer than this many bytes.
pub fn chat_too_long(limit: impl Display) -> String {
    format!("El mensaje es demasiado largo: admite como máximo {limit} bytes")
}

/// A client is connected under this name.
pub fn connected(client_id: impl Display) -> String {
    format!("Conectado exitosamente como {client_id}")
}

/// A client moved to a room.
pub fn room_changed(room: impl Display) -> String {
    format!("Te uniste a la sala {room}")
}

/// Another client came into the room.
pub fn joined(client_id: impl Display) -> String {
    format!("Usuario {client_id} se unió a la sala")
}

/// Another client left the room.
pub fn left(client_id: impl Display) -> String {
    format!("Usuario {client_id} salió de la sala")
}
