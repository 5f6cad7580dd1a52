//! Who is connected: every session on this node, by the number of its connection, whatever carries it.
//!
//! Beside them it has who holds which client id. An id is claimed while a handshake is answered, so that a stranger is refused
//! before it has a connection, and taken over when the connection begins. Where tokens say who somebody is, nobody takes the id
//! that another user holds. A session that enters without a claim holds no id, replaces nobody and is replaced by nobody.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::ClientId,
    egress::session::{
        client_ids::{ClientIdTaken, ClientIds, Owner},
        handle::{Session, SessionHandle},
    },
};

/// The connected clients of this node, and how many more may come.
#[derive(Debug, Clone)]
pub struct Clients(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    next_id: AtomicU64,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Registry {
    /// In order, so that whoever looks at all of them can go on where it was.
    connections: BTreeMap<ConnectionId, Arc<dyn SessionHandle>>,
    client_ids: ClientIds,
}

/// A connection's number on this node, counted from 0; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::egress) struct ConnectionId(pub(super) u64);

impl ConnectionId {
    /// The number after this one.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Which of so many rounds is its turn.
    pub(super) fn round(self, rounds: u32) -> u32 {
        u32::try_from(self.0 % u64::from(rounds)).expect("less than a u32")
    }
}

impl Clients {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { registry: Mutex::default(), next_id: AtomicU64::new(0), places }))
    }

    /// How many clients are connected.
    pub fn len(&self) -> usize {
        self.0.registry.lock().connections.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a connection that is about to begin.
    pub(in crate::egress) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.0.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The session that holds a client id.
    pub(in crate::egress) fn get(&self, client_id: &ClientId) -> Option<Arc<dyn SessionHandle>> {
        self.0.registry.lock().client_ids.holder(client_id).cloned()
    }

    /// A place for one more connection, until it is dropped; `None` when all are taken.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.places).try_acquire_owned().ok()
    }

    /// Keeps `client_id` for a connection of `owner` that is about to begin: until the claim is dropped no other owner gets it.
    /// Further connections of the same owner may claim it meanwhile. Without an owner whoever knows the id may have it.
    ///
    /// Fails when another owner has the id, or is about to.
    pub(in crate::egress) async fn claim(
        &self,
        client_id: &ClientId,
        owner: Option<Owner>,
    ) -> Result<Claim, ClientIdTaken> {
        self.0.registry.lock().client_ids.claim(client_id, owner)?;
        Ok(Claim { clients: self.clone(), client_id: client_id.clone() })
    }

    /// Enters a session, under its client id if that was claimed for it. Gives the session that had the id before, which is among
    /// the clients no longer.
    ///
    /// Fails when the session that has the id was dialled later, and leaves that one alone.
    pub(in crate::egress) async fn enter(
        &self,
        claim: Option<Claim>,
        handle: Arc<dyn SessionHandle>,
    ) -> Result<Option<Arc<dyn SessionHandle>>, ClientIdTaken> {
        let entered = self.0.registry.lock().enter(claim.is_some(), handle);
        drop(claim);
        entered
    }

    /// Takes a session out. Answers whether it still was the one with its client id.
    pub(in crate::egress) fn leave(&self, session: &Session) -> bool {
        self.0.registry.lock().leave(session)
    }

    /// The first `count` of those who hold a client id behind `after`, in the order of the ids.
    pub(super) fn some_holders(&self, after: Option<&ClientId>, count: usize) -> Vec<Arc<dyn SessionHandle>> {
        self.0.registry.lock().client_ids.some(after, count)
    }

    /// The first `count` of all whose number is in `ids`, in the order of the numbers.
    pub(super) fn some(&self, ids: Range<ConnectionId>, count: usize) -> Vec<Arc<dyn SessionHandle>> {
        self.0.registry.lock().connections.range(ids).take(count).map(|(_, handle)| Arc::clone(handle)).collect()
    }

    /// The numbers of all connections that began until now.
    pub(super) fn ids_until_now(&self) -> Range<ConnectionId> {
        ConnectionId(0)..ConnectionId(self.0.next_id.load(Ordering::Relaxed))
    }
}

/// A client id that is kept for a connection which is about to begin.
#[derive(Debug)]
pub(in crate::egress) struct Claim {
    clients: Clients,
    client_id: ClientId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.clients.0.registry.lock().client_ids.give_up(&self.client_id);
    }
}

impl Registry {
    fn enter(
        &mut self,
        holds_id: bool,
        handle: Arc<dyn SessionHandle>,
    ) -> Result<Option<Arc<dyn SessionHandle>>, ClientIdTaken> {
        let replaced = if holds_id { self.client_ids.hold(&handle)? } else { None };
        if let Some(replaced) = &replaced {
            self.connections.remove(&replaced.session().id());
        }
        self.connections.insert(handle.session().id(), handle);
        Ok(replaced)
    }

    fn leave(&mut self, session: &Session) -> bool {
        self.connections.remove(&session.id());
        self.client_ids.free(session)
    }
}

#[cfg(test)]
mod tests;
