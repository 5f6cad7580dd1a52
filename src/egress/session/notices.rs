//! What the others in a room are told of a client.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    domain::{ClientId, Ephemeral, Notice, RoomId},
    journal::{Error, Relay},
    peers::Peers,
    rooms::{Member, Membership, Reader},
};

/// The rooms, as sessions join them and speak in them.
#[derive(Debug)]
pub(super) struct RoomNotices {
    rooms: Reader,
    peers: Arc<dyn Peers>,
    relay: Arc<dyn Relay>,
    /// Who comes and goes is told in rooms of up to so many members.
    presence_limit: usize,
}

impl RoomNotices {
    pub(super) fn new(rooms: Reader, peers: Arc<dyn Peers>, relay: Arc<dyn Relay>, presence_limit: usize) -> Self {
        Self { rooms, peers, relay, presence_limit }
    }

    /// Lets `member` join rooms.
    pub(super) fn enrol(&self, member: Arc<dyn Member>) -> Membership {
        self.rooms.enrol(member)
    }

    /// How many members `room` has, on all nodes.
    pub(super) fn members(&self, room: &RoomId) -> usize {
        self.rooms.members(room) + self.peers.members(room)
    }

    /// Hands a notice to the others in its room.
    pub(super) async fn relay(&self, notice: Notice) -> Result<(), Error> {
        self.relay.relay(Ephemeral::notice(notice)).await
    }

    /// Tells the others in a room of `members`, this client counted in, that it came or left. In a large room that would
    /// be a flood, so nobody is told there.
    pub(super) async fn tell(
        &self,
        client_id: &ClientId,
        room: &RoomId,
        joined: bool,
        (members, at): (usize, DateTime<Utc>),
    ) {
        if members > 1 && members <= self.presence_limit {
            let (client_id, room) = (client_id.clone(), room.clone());
            let notice = match joined {
                true => Notice::Joined { client_id, room, at },
                false => Notice::Left { client_id, room, at },
            };
            // Nobody asked for it: where it cannot be relayed there is nobody to tell.
            let _ = self.relay(notice).await;
        }
    }
}
