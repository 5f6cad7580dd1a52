//! What the journal's tail carries to the rooms.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::domain::{Audiences, ClientId, Event, Notification};

/// Something to deliver to connections.
#[derive(Debug)]
pub enum Delivery {
    /// A notification: in the journal, in order, to be delivered once.
    Notification(Committed),
    /// Something that nobody keeps.
    Ephemeral(Arc<Ephemeral>),
}

impl From<Arc<Notification>> for Delivery {
    fn from(notification: Arc<Notification>) -> Self {
        Self::Notification(Committed { notification, deflated: OnceLock::new() })
    }
}

impl Delivery {
    /// About how many bytes it has as it goes out.
    pub fn size(&self) -> usize {
        match self {
            Self::Notification(committed) => committed.notification.event.size(),
            Self::Ephemeral(ephemeral) => ephemeral.size(),
        }
    }
}

/// A notification that was just committed, on its way to whoever listens.
#[derive(Debug)]
pub struct Committed {
    /// What is delivered.
    pub notification: Arc<Notification>,
    /// Here, so that it goes when everybody has it: the journal keeps what it counts.
    deflated: OnceLock<Bytes>,
}

impl Committed {
    /// The form that all subscribers share who take it compressed; `deflate` makes it when the first one asks.
    pub fn deflated(&self, deflate: impl FnOnce(&Notification) -> Bytes) -> &Bytes {
        self.deflated.get_or_init(|| deflate(&self.notification))
    }
}

/// What lives only as long as it takes to deliver it. It has no place in the order of the notifications.
#[derive(Debug)]
pub struct Ephemeral {
    /// Who receives it.
    pub audiences: Audiences,
    /// The client that does not: the one it comes from.
    pub except: Option<ClientId>,
    /// What it is.
    pub content: Content,
}

impl Ephemeral {
    /// About how much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Frame(frame) => frame.len(),
            Content::Event(passing) => passing.event.size(),
        }
    }
}

/// What an ephemeral delivery is.
#[derive(Debug)]
pub enum Content {
    /// A frame as it goes to WebSocket subscribers: chat, join and leave notices.
    Frame(Bytes),
    /// An event that its publisher wants delivered and not kept.
    Event(Passing),
}

/// An event that passes by: it is delivered to whoever is connected, and not kept.
#[derive(Debug)]
pub struct Passing {
    /// Its id.
    pub id: Box<str>,
    /// What happened.
    pub event: Event,
    /// When it stops being of use.
    pub expires_at: Option<DateTime<Utc>>,
    encoded: OnceLock<Bytes>,
    deflated: OnceLock<Bytes>,
}

impl Passing {
    /// An event with its id.
    pub fn new(id: Box<str>, event: Event, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { id, event, expires_at, encoded: OnceLock::new(), deflated: OnceLock::new() }
    }

    /// Whether it is of no use any more at `now`.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The form that all subscribers share; `encode` makes it when the first one asks.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(self))
    }

    /// The same for those who take it compressed.
    pub fn deflated(&self, deflate: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.deflated.get_or_init(|| deflate(self))
    }
}
