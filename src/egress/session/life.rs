//! The life of a session, from when it enters until it is dropped: who takes whose client id, which rooms it is a member of, who
//! is told, and under which token it goes on. What carries the session is its handle.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    clock::Clock,
    domain::{Audience, Interest, Notice, RoomId},
    egress::session::{
        admission::Admitted,
        client_ids::{ClientIdTaken, Owner},
        handle::{Session, SessionHandle},
        notices::RoomNotices,
        registry::{Claim, Clients},
    },
    gate::{self, Gate, SubscribeScope, TokenError},
    journal::{Attending, Error},
    rooms::{Member, Membership},
    wire::{framed::Framed, json, messages, status::Close},
};

/// What every session reaches of the service while it lives.
#[derive(Debug)]
pub(super) struct SessionContext {
    pub(super) clients: Clients,
    pub(super) notices: RoomNotices,
    pub(super) gate: Gate,
    pub(super) clock: Arc<dyn Clock>,
}

/// A session with its place among the clients and the rooms.
///
/// A member of rooms has no list of them besides the session's own: what that one names is left when this is dropped.
#[derive(Debug)]
pub(in crate::egress) struct ActiveSession<C: SessionHandle + Member + 'static> {
    context: Arc<SessionContext>,
    handle: Arc<C>,
    address: IpAddr,
    membership: Option<Membership>,
    attending: Attending,
    _admitted: Admitted,
}

impl<C: SessionHandle + Member + 'static> ActiveSession<C> {
    pub(super) fn new(context: Arc<SessionContext>, handle: Arc<C>, address: IpAddr, admitted: Admitted) -> Self {
        Self { context, handle, address, membership: None, attending: Attending::default(), _admitted: admitted }
    }

    /// What carries it.
    pub(in crate::egress) fn handle(&self) -> &Arc<C> {
        &self.handle
    }

    /// Who it is, and where it listens.
    pub(in crate::egress) fn session(&self) -> &Session {
        self.handle.session()
    }

    /// Where its client is.
    pub(in crate::egress) fn address(&self) -> IpAddr {
        self.address
    }

    /// What the time is.
    pub(in crate::egress) fn now(&self) -> DateTime<Utc> {
        self.context.clock.wall()
    }

    /// Enters the clients. With a claim it takes over its client id, and has the others see the session that had it leave.
    ///
    /// Fails when the client dialled again meanwhile, and that connection came first.
    pub(in crate::egress) async fn enter(&self, claim: Option<Claim>) -> Result<(), ClientIdTaken> {
        let entered = self.context.clients.enter(claim, Arc::clone(&self.handle) as _).await?;
        let Some(replaced) = entered else { return Ok(()) };
        replaced.close(Close::Replaced);
        for room in replaced.session().rooms().iter() {
            // Whether the replaced session still counts depends on how far its own task has come.
            self.tell(room, false, self.context.notices.members(room).max(2)).await;
        }
        Ok(())
    }

    /// Closes a connection whose token was revoked while the connection was not among the clients yet, or not under it.
    pub(in crate::egress) fn close_if_revoked(&self) {
        let permit = self.session().permit();
        if permit.identity().is_some_and(|identity| self.context.gate.revocations().has(identity)) {
            self.handle.close(Close::Revoked);
        }
    }

    /// Notes that the client was refused something.
    pub(in crate::egress) fn refused(&self, denied: &gate::Error) {
        self.context.gate.holder(&self.session().permit(), self.address).refused(denied);
    }

    /// Listens to everything that is for it, from now on, and gives that.
    pub(in crate::egress) fn listen(&mut self) -> Vec<Interest> {
        let membership = self.context.notices.enrol(Arc::clone(&self.handle) as _);
        let interests: Vec<_> = self.session().audiences().into_iter().map(Interest::In).collect();
        interests.iter().for_each(|interest| membership.join(interest));
        self.membership = Some(membership);
        interests
    }

    /// Goes on attending to what it listens to.
    pub(in crate::egress) fn attend(&mut self, attending: Attending) {
        self.attending = attending;
    }

    /// Closes a session that the journal cannot serve.
    pub(in crate::egress) fn unserved(&self, error: &Error) {
        self.refused(&gate::Error::by_journal(error.code(), error));
        self.handle.close(Close::unread(error.code()));
    }

    /// Tells the others in its rooms that it came.
    pub(in crate::egress) async fn tell_joined(&self) {
        for room in self.session().rooms().iter() {
            self.tell(room, true, self.context.notices.members(room)).await;
        }
    }

    /// Listens to a room that is among its own now. A session that cannot have what is for the room does not go on without.
    pub(in crate::egress) async fn enter_room(&mut self, room: &RoomId) -> Result<(), Error> {
        let interest = Interest::In(Audience::Room(room.clone()));
        if let Some(membership) = &self.membership {
            membership.join(&interest);
        }
        self.attending.add(interest).await
    }

    /// Listens no longer to a room that is not among its own any more. It is called before anything is waited for, or the room
    /// would be left by nobody if the session was dropped meanwhile.
    pub(in crate::egress) fn leave_room(&mut self, room: &RoomId) {
        let interest = Interest::In(Audience::Room(room.clone()));
        if let Some(membership) = &self.membership {
            membership.leave(&interest);
        }
        self.attending.remove(&interest);
    }

    /// Hands a notice of the client to the others in its room.
    pub(in crate::egress) async fn relay(&self, notice: Notice) -> Result<(), Error> {
        self.context.notices.relay(notice).await
    }

    async fn tell(&self, room: &RoomId, joined: bool, members: usize) {
        self.context.notices.tell(self.session().client_id(), room, joined, (members, self.now())).await;
    }

    /// Goes on under `token`, if it is good, of the same user, and allows what the client listens to. Gives the answer.
    pub(in crate::egress) fn refresh(&self, token: &str) -> Framed {
        let now = self.now();
        let permit = match self.fresh_permit(token, now) {
            Ok(permit) => permit,
            Err(denied) => {
                self.refused(&denied);
                return json::error(messages::TOKEN_NOT_VALID, now);
            }
        };
        let expires_at = permit.identity().and_then(|identity| identity.expires_at);
        if self.changes_hands(&permit) || self.session().machine().renew(permit).is_err() {
            return json::error(messages::TOKEN_DOES_NOT_ALLOW, now);
        }
        self.close_if_revoked();
        json::token_refreshed(expires_at, now)
    }

    fn fresh_permit(&self, token: &str, now: DateTime<Utc>) -> Result<SubscribeScope, gate::Error> {
        let permit = SubscribeScope::of(self.context.gate.identify(token, self.address)?);
        // One that is over and still believed, since clocks differ, would only begin the grace anew.
        match permit.is_over(now.timestamp()) {
            true => Err(gate::Error::Unauthenticated(Some(TokenError::Expired))),
            false => Ok(permit),
        }
    }

    /// Whether under `permit` the session would be another user's, or its client id, where tokens say whose that is.
    fn changes_hands(&self, permit: &SubscribeScope) -> bool {
        let user = self.session().user_id().cloned();
        let knows = self.context.gate.knows_subscribers();
        let has_other_owner = knows && Owner::new(permit, user.clone()) != self.session().owner();
        has_other_owner || permit.user(user.clone()).ok() != Some(user)
    }

    /// Leaves the clients and the rooms. When the session was replaced, or everybody is going, nobody is told.
    pub(in crate::egress) async fn leave(&mut self, close: Close) {
        let current = self.context.clients.leave(self.session());
        if current && close != Close::GoingAway {
            let rooms = self.session().rooms();
            for room in rooms.iter() {
                let members = self.context.notices.members(room);
                self.leave_room(room);
                self.tell(room, false, members).await;
            }
        }
        self.stop_listening();
    }

    fn stop_listening(&mut self) {
        if let Some(membership) = self.membership.take() {
            for audience in self.session().audiences() {
                membership.leave(&Interest::In(audience));
            }
        }
        self.attending = Attending::default();
    }
}

impl<C: SessionHandle + Member + 'static> Drop for ActiveSession<C> {
    /// Whatever way the session ended, its client id is free again, and no room knows it.
    fn drop(&mut self) {
        self.context.clients.leave(self.session());
        self.stop_listening();
    }
}
