//! A notice is what a client tells the others in its room through the service.

use chrono::{DateTime, Utc};
use serde_json::value::{RawValue, to_raw_value};

use crate::domain::{ClientId, RoomId};

/// Something that a client said or did in a room, for the others there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It said something.
    Chat {
        /// Who said it.
        client_id: ClientId,
        /// Where.
        room: RoomId,
        /// What it said.
        message: JsonText,
        /// When it came.
        at: DateTime<Utc>,
    },
    /// It came into the room.
    Joined {
        /// Who came.
        client_id: ClientId,
        /// Where.
        room: RoomId,
        /// When.
        at: DateTime<Utc>,
    },
    /// It left the room.
    Left {
        /// Who left.
        client_id: ClientId,
        /// Where.
        room: RoomId,
        /// When.
        at: DateTime<Utc>,
    },
}

/// About how many bytes a notice has beside the texts in it as it goes out: names of fields, a time, a sentence.
const FRAMING: usize = 128;

impl Notice {
    /// The client that it comes from.
    pub fn client_id(&self) -> &ClientId {
        match self {
            Self::Chat { client_id, .. } | Self::Joined { client_id, .. } | Self::Left { client_id, .. } => client_id,
        }
    }

    /// The room that it is for.
    pub fn room(&self) -> &RoomId {
        match self {
            Self::Chat { room, .. } | Self::Joined { room, .. } | Self::Left { room, .. } => room,
        }
    }

    /// About how many bytes it has as it goes out.
    pub fn size(&self) -> usize {
        let text = match self {
            Self::Chat { message, .. } => message.length(),
            // Its name is in a sentence, too.
            Self::Joined { client_id, .. } | Self::Left { client_id, .. } => client_id.as_str().len(),
        };
        FRAMING + text + self.client_id().as_str().len() + self.room().as_str().len()
    }
}

/// What a chat message says: a text mostly, but clients may pass on any other JSON value.
#[derive(Debug, Clone)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// A text.
    pub fn of_text(text: &str) -> Self {
        Self(to_raw_value(text).expect("a text has a JSON form"))
    }

    /// A value as it was written.
    pub fn of_value(value: &RawValue) -> Self {
        Self(value.to_owned())
    }

    /// The value as JSON.
    pub fn as_json(&self) -> &RawValue {
        &self.0
    }

    /// How many bytes it has as JSON, those around a text not counted in.
    pub fn length(&self) -> usize {
        let json = self.0.get();
        if json.starts_with('"') { json.len() - 2 } else { json.len() }
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for JsonText {}
