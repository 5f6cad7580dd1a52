//! A session as a pure state machine: its client's messages and the time in, what is to be done out. No socket, no clock, no
//! rooms but the names of those it is in.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{
    domain::{Audience, ClientId, JsonText, Notice, RoomId},
    egress::Options,
    gate::{self, SubscribeScope, TokenError},
    wire::{
        client::{ClientMessage, MessageError},
        framed::Framed,
        json, messages,
    },
};

/// What is to be done for a client, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::egress) enum Effect {
    /// Send this text to the client itself.
    Reply(Framed),
    /// Tell the others in the room.
    Relay(Notice),
    /// Listen to the room. The others there are not told.
    Enter(RoomId),
    /// Listen to the room no longer. The others there are not told.
    Leave(RoomId),
    /// Check this token, and go on under it.
    Refresh(String),
    /// Note that this was refused.
    Refused(gate::Error),
}

/// How much a client may do.
#[derive(Debug, Clone, Copy)]
pub(in crate::egress) struct SessionLimits {
    /// How many rooms it may listen to.
    pub(in crate::egress) max_rooms: u32,
    /// How many bytes a chat message may say, as JSON.
    pub(in crate::egress) max_chat_bytes: u32,
}

impl SessionLimits {
    /// What the settings say.
    pub(in crate::egress) fn of(options: &Options) -> Self {
        let number = |limit: NonZeroUsize| u32::try_from(limit.get()).unwrap_or(u32::MAX);
        Self { max_rooms: number(options.max_rooms_per_connection), max_chat_bytes: number(options.max_chat_bytes) }
    }
}

/// Whose message it is, when it came, and how much its client may do.
#[derive(Debug, Clone, Copy)]
pub(in crate::egress) struct Sender<'a> {
    pub(in crate::egress) client_id: &'a ClientId,
    pub(in crate::egress) limits: SessionLimits,
    pub(in crate::egress) now: DateTime<Utc>,
}

/// What is due of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::egress) enum TokenState {
    /// Nothing: it is good, or its client was told and has time left.
    InOrder,
    /// It expired, and its client was not told yet.
    Expired,
    /// Its client was told, and has not sent another in time.
    GraceOver,
}

/// Which rooms a client is in, what it may hear, and what its messages do about it.
#[derive(Debug)]
pub(in crate::egress) struct Machine {
    /// Its own room first, then those that it listens to besides. Whoever shows them shares them.
    rooms: Arc<[RoomId]>,
    /// What it may hear.
    permit: SubscribeScope,
    /// Since when the client has known that its token expired.
    expired_since: Option<Instant>,
}

impl Machine {
    /// A client in `room`, which listens to `further` rooms besides.
    pub(in crate::egress) fn new(room: &RoomId, further: &[RoomId], permit: SubscribeScope) -> Self {
        let mut rooms = vec![room.clone()];
        for room in further {
            if !rooms.contains(room) {
                rooms.push(room.clone());
            }
        }
        Self { rooms: rooms.into(), permit, expired_since: None }
    }

    /// The rooms, the client's own first.
    pub(in crate::egress) fn rooms(&self) -> &Arc<[RoomId]> {
        &self.rooms
    }

    /// The client's own room: the one it chats in.
    fn room(&self) -> &RoomId {
        &self.rooms[0]
    }

    /// What it may hear.
    pub(in crate::egress) fn permit(&self) -> &SubscribeScope {
        &self.permit
    }

    /// Takes in a message.
    ///
    /// Where a room is left, that is the first effect: whoever carries it out before anything else finds that a client is a
    /// member of no room but those [it is in](Self::rooms).
    pub(in crate::egress) fn take_in(
        &mut self,
        message: Result<ClientMessage, MessageError>,
        sender: &Sender<'_>,
    ) -> Vec<Effect> {
        let now = sender.now;
        match message {
            Ok(ClientMessage::Ping) => vec![Effect::Reply(json::pong(now))],
            Ok(ClientMessage::Chat { message, room }) => self.chat(message, room, sender),
            Ok(ClientMessage::Join(room)) => self.if_allowed(&room, sender, Self::join),
            Ok(ClientMessage::Subscribe(room)) => self.if_allowed(&room, sender, Self::subscribe),
            Ok(ClientMessage::Refresh(token)) => vec![Effect::Refresh(token)],
            Ok(ClientMessage::Unsubscribe(room)) => self.unsubscribe(&room, now),
            Err(error) => refusal(&error.to_string(), now),
        }
    }

    /// Goes on under another permit, if that one allows all rooms that the client is in.
    pub(in crate::egress) fn renew(&mut self, permit: SubscribeScope) -> Result<(), gate::Error> {
        self.rooms.iter().try_for_each(|room| permit.check(Some(&Audience::Room(room.clone()))))?;
        self.permit = permit;
        self.expired_since = None;
        Ok(())
    }

    /// What is due of its token at `now`, which is `time` in seconds since 1970, when a client that was told that its token
    /// expired has so much time to send another.
    pub(in crate::egress) fn check_token(&mut self, (now, time): (Instant, i64), grace: Duration) -> TokenState {
        if !self.permit.is_over(time) {
            // It never was expired: the time of day was put back.
            self.expired_since = None;
            return TokenState::InOrder;
        }
        match self.expired_since {
            Some(since) if now.duration_since(since) >= grace => TokenState::GraceOver,
            Some(_) => TokenState::InOrder,
            None => TokenState::Expired,
        }
    }

    /// Notes that the client was told `now` that its token expired.
    pub(in crate::egress) fn told_expired(&mut self, now: Instant) {
        self.expired_since = Some(now);
    }

    /// Enters a room, unless it is not for the client, or nothing new is any more: its token is over, and only what was open
    /// goes on.
    fn if_allowed(
        &mut self,
        room: &RoomId,
        sender: &Sender<'_>,
        enter: fn(&mut Self, &RoomId, &Sender<'_>) -> Vec<Effect>,
    ) -> Vec<Effect> {
        let now = sender.now;
        let (message, denied) = match self.permit.check(Some(&Audience::Room(room.clone()))) {
            Ok(()) if !self.permit.is_over(now.timestamp()) => return enter(self, room, sender),
            Ok(()) => (messages::EXPIRED.to_owned(), gate::Error::Unauthenticated(Some(TokenError::Expired))),
            Err(denied) => (messages::not_allowed(room), denied),
        };
        let mut effects = refusal(&message, now);
        effects.push(Effect::Refused(denied));
        effects
    }

    fn chat(&self, message: JsonText, room: Option<RoomId>, sender: &Sender<'_>) -> Vec<Effect> {
        let now = sender.now;
        let room = room.unwrap_or_else(|| self.room().clone());
        if !self.rooms.contains(&room) {
            return refusal(&messages::not_in_room(room), now);
        }
        let max_bytes = sender.limits.max_chat_bytes;
        if message.length() > max_bytes as usize {
            return refusal(&messages::chat_too_long(max_bytes), now);
        }
        vec![Effect::Relay(Notice::Chat { client_id: sender.client_id.clone(), room, message, at: now })]
    }

    fn join(&mut self, room: &RoomId, sender: &Sender<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.room() != room {
            let mut rooms = self.rooms.to_vec();
            effects.push(Effect::Leave(rooms.remove(0)));
            match rooms.iter().position(|joined| joined == room) {
                Some(place) => rooms[..=place].rotate_right(1),
                None => {
                    rooms.insert(0, room.clone());
                    effects.push(Effect::Enter(room.clone()));
                }
            }
            self.rooms = rooms.into();
        }
        effects.push(Effect::Reply(json::room_changed(room, sender.now)));
        effects
    }

    fn subscribe(&mut self, room: &RoomId, sender: &Sender<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.rooms.contains(room) {
            let max_rooms = sender.limits.max_rooms;
            if self.rooms.len() >= max_rooms as usize {
                return refusal(&messages::too_many_rooms(max_rooms), sender.now);
            }
            self.rooms = self.rooms.iter().chain([room]).cloned().collect();
            effects.push(Effect::Enter(room.clone()));
        }
        effects.push(Effect::Reply(json::rooms_changed(true, room, &self.rooms, sender.now)));
        effects
    }

    fn unsubscribe(&mut self, room: &RoomId, now: DateTime<Utc>) -> Vec<Effect> {
        if self.room() == room {
            return refusal(messages::OWN_ROOM, now);
        }
        let mut effects = Vec::new();
        if self.rooms.contains(room) {
            self.rooms = self.rooms.iter().filter(|joined| *joined != room).cloned().collect();
            effects.push(Effect::Leave(room.clone()));
        }
        effects.push(Effect::Reply(json::rooms_changed(false, room, &self.rooms, now)));
        effects
    }
}

fn refusal(message: &str, now: DateTime<Utc>) -> Vec<Effect> {
    vec![Effect::Reply(json::error(message, now))]
}

#[cfg(test)]
mod tests;
