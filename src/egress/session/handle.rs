//! A session that is connected, as everybody else sees it: who it is, and what it can be told.

use std::{fmt::Debug, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{
    clock::Clock,
    domain::{Audience, ClientId, ClientInfo, RoomId, UserId},
    egress::session::{
        attempt::{Attempt, Dial, Moment},
        client_ids::Owner,
        machine::Machine,
        registry::ConnectionId,
        request::ConnectRequest,
    },
    gate::SubscribeScope,
    wire::status::Close,
};

/// What can be told to a session that is connected, and asked of it, whatever carries it.
///
/// None of it waits, and none of it asks for the session's machine: that may be held by whoever tells.
pub(in crate::egress) trait SessionHandle: Debug + Send + Sync {
    /// Who it is, and where it listens.
    fn session(&self) -> &Session;

    /// Whether the client is still listened to: not once the connection is closing.
    fn is_open(&self) -> bool;

    /// Ends the connection: what is half written is finished, the client is told why, and nothing comes after it.
    fn close(&self, close: Close);

    /// Ends the connection as the server goes away: what waits is written first, then when the client is to come back, and to
    /// which position.
    fn reconnect(&self, after: Duration);

    /// Tells the client that its token expired, and that it has so much time to send another. Answers whether it was told: not
    /// before it was told that it is connected, nor when the connection is closing.
    fn tell_expired(&self, grace: Duration) -> bool;

    /// Closes a connection whose client is gone: it has taken nothing for `slow_timeout`, or did not answer the last ping when it
    /// is time to `ping` it again.
    fn check_liveness(&self, now: Instant, ping: bool, slow_timeout: Duration);
}

/// Who a session is, and where it listens: the one place for all of that. A handle has it, and there may be a hundred thousand,
/// so it is small.
#[derive(Debug)]
pub(in crate::egress) struct Session {
    id: ConnectionId,
    client_id: ClientId,
    user_id: Option<UserId>,
    connected_at: DateTime<Utc>,
    /// Which dial it comes from, and when it began; not as a [`Dial`], whose padding would be held, too.
    attempt: Option<Attempt>,
    began: Moment,
    /// Held while what follows from it is told to the connection, and not over an await.
    machine: Mutex<Machine>,
}

impl Session {
    /// The session that `request` asks for.
    pub(in crate::egress) fn new(id: ConnectionId, request: &ConnectRequest, clock: &dyn Clock) -> Self {
        Self {
            id,
            client_id: request.client_id.clone(),
            user_id: request.user_id.clone(),
            connected_at: clock.wall(),
            attempt: request.attempt,
            began: Moment::new(clock.monotonic()),
            machine: Mutex::new(Machine::new(&request.room, &request.rooms, request.permit.clone())),
        }
    }

    /// The number of its connection.
    pub(in crate::egress) fn id(&self) -> ConnectionId {
        self.id
    }

    /// The name that the client has. Others may have the same, and one of them holds it.
    pub(in crate::egress) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The user that it is, if it is one.
    pub(in crate::egress) fn user_id(&self) -> Option<&UserId> {
        self.user_id.as_ref()
    }

    /// Which dial of its client it comes from.
    pub(in crate::egress) fn dial(&self) -> Dial {
        Dial { attempt: self.attempt, at: self.began }
    }

    /// What its messages and the time have made of it.
    pub(in crate::egress) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock()
    }

    /// The rooms that it is in, its own first.
    pub(in crate::egress) fn rooms(&self) -> Arc<[RoomId]> {
        Arc::clone(self.machine.lock().rooms())
    }

    /// What it may hear now.
    pub(in crate::egress) fn permit(&self) -> SubscribeScope {
        self.machine.lock().permit().clone()
    }

    /// Whose it is, by the token that it is open under now.
    pub(in crate::egress) fn owner(&self) -> Owner {
        Owner::new(self.machine.lock().permit(), self.user_id.clone())
    }

    /// Whether it is open under the token with this id.
    pub(in crate::egress) fn has_token(&self, id: &str) -> bool {
        let machine = self.machine.lock();
        machine.permit().identity().is_some_and(|identity| identity.token_id.as_deref() == Some(id))
    }

    /// Everyone it is part of.
    pub(in crate::egress) fn audiences(&self) -> Vec<Audience> {
        let user = self.user_id.clone().map(Audience::User);
        let rooms = self.rooms();
        let rooms = rooms.iter().cloned().map(Audience::Room);
        [Audience::Everyone].into_iter().chain(user).chain(rooms).collect()
    }

    /// What the statistics show of it.
    pub(in crate::egress) fn info(&self) -> ClientInfo {
        ClientInfo {
            client_id: self.client_id.clone(),
            user_id: self.user_id.clone(),
            rooms: self.rooms(),
            connected_at: self.connected_at,
        }
    }
}
