//! What the journal's tail carries to the rooms.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::{ClientId, Notification, RoomId};

/// Something to deliver to connections.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A notification: in the journal, in order, to be delivered once.
    Notification(Arc<Notification>),
    /// A frame that nobody keeps.
    Ephemeral(Arc<Ephemeral>),
}

/// A frame that lives only as long as it takes to deliver it: chat, join and leave notices.
#[derive(Debug)]
pub struct Ephemeral {
    /// The room whose members receive it.
    pub room: RoomId,
    /// The client that does not: the one it comes from.
    pub except: ClientId,
    /// The frame as it goes to subscribers.
    pub frame: Bytes,
}
