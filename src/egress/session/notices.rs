//! What the others in a room are told of a client.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    domain::{Audience, ClientId, Content, Ephemeral, RoomId},
    journal::Relay,
    rooms::{Member, Membership, Reader},
    wire::{frame, text},
};

/// The rooms, as sessions join them and speak in them.
#[derive(Debug)]
pub(super) struct RoomNotices {
    rooms: Reader,
    relay: Arc<dyn Relay>,
    /// Who comes and goes is told in rooms of up to so many members.
    presence_limit: usize,
}

impl RoomNotices {
    pub(super) fn new(rooms: Reader, relay: Arc<dyn Relay>, presence_limit: usize) -> Self {
        Self { rooms, relay, presence_limit }
    }

    /// Lets `member` join rooms.
    pub(super) fn enrol(&self, member: Arc<dyn Member>) -> Membership {
        self.rooms.enrol(member)
    }

    /// How many members `room` has.
    pub(super) fn members(&self, room: &RoomId) -> usize {
        self.rooms.members(room)
    }

    /// Hands a text of `client_id` to the others in a room.
    pub(super) async fn relay(&self, client_id: &ClientId, room: &RoomId, text: &[u8]) {
        let audiences = Audience::Room(room.clone()).into();
        let except = Some(client_id.clone());
        let content = Content::Frame(frame::text(text));
        self.relay.relay(Ephemeral { audiences, except, content }).await;
    }

    /// Tells the others in a room of `members`, this client counted in, that it came or left. In a large room that would
    /// be a flood, so nobody is told there.
    pub(super) async fn tell(
        &self,
        client_id: &ClientId,
        room: &RoomId,
        joined: bool,
        (members, now): (usize, DateTime<Utc>),
    ) {
        if members > 1 && members <= self.presence_limit {
            self.relay(client_id, room, &text::presence(joined, client_id, room, now)).await;
        }
    }
}
