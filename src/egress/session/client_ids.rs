//! Who holds which client id, and who is about to: an index over those connections that have one.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use crate::{
    domain::{ClientId, UserId},
    egress::session::handle::{Session, SessionHandle},
    gate::SubscribeScope,
};

/// Whose a client id is: of the token's subject or, of those whose token names none, of the user that they say they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::egress) struct Owner {
    is_subject: bool,
    user: Option<UserId>,
}

impl Owner {
    /// The one that has this permit and is this user.
    pub(in crate::egress) fn new(permit: &SubscribeScope, user: Option<UserId>) -> Self {
        Self { is_subject: permit.identity().is_some_and(|identity| identity.user().is_some()), user }
    }
}

/// Why a connection does not get its client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::egress) enum ClientIdTaken {
    /// Another user has it.
    #[error("another user has this client id")]
    OtherUser,
    /// The same client dialled later, and that connection came first.
    #[error("a later dial of this client is connected")]
    Newer,
}

/// The client ids that are held or claimed.
#[derive(Debug, Default)]
pub(super) struct ClientIds {
    /// In order, so that whoever looks at all of them can go on where it was.
    holders: BTreeSet<ByClientId>,
    /// There are no more entries than handshakes that are being answered.
    claims: HashMap<ClientId, Claims>,
}

/// The claims of one client id, all by one owner.
#[derive(Debug)]
struct Claims {
    owner: Option<Owner>,
    count: usize,
}

impl ClientIds {
    /// The connection that holds `client_id`.
    pub(super) fn holder(&self, client_id: &ClientId) -> Option<&Arc<dyn SessionHandle>> {
        self.holders.get(client_id).map(|holder| &holder.0)
    }

    /// The first `count` holders behind `after`, in the order of the client ids.
    pub(super) fn some(&self, after: Option<&ClientId>, count: usize) -> Vec<Arc<dyn SessionHandle>> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.holders.range::<ClientId, _>((begin, Bound::Unbounded));
        behind.take(count).map(|holder| Arc::clone(&holder.0)).collect()
    }

    pub(super) fn claim(&mut self, client_id: &ClientId, owner: Option<Owner>) -> Result<(), ClientIdTaken> {
        if let Some(owner) = &owner
            && self.has_other_owner(client_id, owner)
        {
            return Err(ClientIdTaken::OtherUser);
        }
        self.claims.entry(client_id.clone()).or_insert(Claims { owner, count: 0 }).count += 1;
        Ok(())
    }

    /// A connection that is closing holds nothing any more.
    fn has_other_owner(&self, client_id: &ClientId, owner: &Owner) -> bool {
        let claimed = self.claims.get(client_id).is_some_and(|claims| claims.owner.as_ref() != Some(owner));
        let holder = self.holder(client_id);
        claimed || holder.is_some_and(|holder| holder.session().owner() != *owner && holder.is_open())
    }

    pub(super) fn give_up(&mut self, client_id: &ClientId) {
        if let Some(claims) = self.claims.get_mut(client_id) {
            claims.count -= 1;
            if claims.count == 0 {
                self.claims.remove(client_id);
            }
        }
    }

    /// Gives a connection its client id, and gives back the connection that had it.
    pub(super) fn hold(
        &mut self,
        handle: &Arc<dyn SessionHandle>,
    ) -> Result<Option<Arc<dyn SessionHandle>>, ClientIdTaken> {
        let session = handle.session();
        let holder = self.holder(session.client_id());
        if holder.is_some_and(|holder| holder.session().dial().outranks(&session.dial()) && holder.is_open()) {
            return Err(ClientIdTaken::Newer);
        }
        Ok(self.holders.replace(ByClientId(Arc::clone(handle))).map(|holder| holder.0))
    }

    /// Frees the client id of a session, if it is the one that holds it. Answers whether it was.
    pub(super) fn free(&mut self, session: &Session) -> bool {
        let holder = self.holder(session.client_id());
        let holds = holder.is_some_and(|holder| holder.session().id() == session.id());
        holds && self.holders.remove(session.client_id())
    }

    #[cfg(test)]
    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }
}

/// A connection, found by its client id: a table of these takes no room for the ids.
#[derive(Debug)]
struct ByClientId(Arc<dyn SessionHandle>);

impl ByClientId {
    fn client_id(&self) -> &ClientId {
        self.0.session().client_id()
    }
}

impl Borrow<ClientId> for ByClientId {
    fn borrow(&self) -> &ClientId {
        self.client_id()
    }
}

impl PartialEq for ByClientId {
    fn eq(&self, other: &Self) -> bool {
        self.client_id() == other.client_id()
    }
}

impl Eq for ByClientId {}

impl PartialOrd for ByClientId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByClientId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.client_id().cmp(other.client_id())
    }
}
