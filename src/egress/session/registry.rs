//! Who is connected, and who holds which client id: one WebSocket each.
//!
//! An id is claimed while a handshake is answered, so that a stranger is refused before it has a connection, and taken over when
//! the connection begins. Where tokens say who somebody is, nobody takes the id that another user holds.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet},
    hash::{Hash, Hasher},
    ops::Bound,
    ptr,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::{ClientId, RoomId, UserId},
    egress::ws::Connection,
    gate::Permit,
};

/// The connected clients of this node, and how many more may come.
#[derive(Debug, Clone)]
pub struct Clients(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    places: Arc<Semaphore>,
}

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name.
    pub client_id: ClientId,
    /// Its user, if it named one.
    pub user_id: Option<UserId>,
    /// The rooms it listens to, its own first.
    pub rooms: Arc<[RoomId]>,
    /// When it connected.
    pub connected_at: DateTime<Utc>,
}

/// Whose a client id is: of the token's subject or, of those whose token names none, of the user that they say they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::egress) struct Owner {
    is_subject: bool,
    user: Option<UserId>,
}

impl Owner {
    /// The one that has this permit and is this user.
    pub(in crate::egress) fn new(permit: &Permit, user: Option<UserId>) -> Self {
        Self { is_subject: permit.identity().is_some_and(|identity| identity.user().is_some()), user }
    }
}

/// Why a connection does not get its client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::egress) enum Taken {
    /// Another user has it.
    OtherUser,
    /// The same client dialled later, and that connection came first.
    Newer,
}

impl Clients {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { registry: Mutex::default(), places }))
    }

    /// How many clients are connected.
    pub fn len(&self) -> usize {
        self.0.registry.lock().connections.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection of a client.
    pub(in crate::egress) fn get(&self, client_id: &ClientId) -> Option<Arc<Connection>> {
        self.0.registry.lock().holders.get(client_id).map(|holder| Arc::clone(&holder.0))
    }

    /// A place for one more connection, until it is dropped; `None` when all are taken.
    pub(in crate::egress) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.places).try_acquire_owned().ok()
    }

    /// Keeps `client_id` for a connection of `owner` that is about to begin: until the claim is dropped no other owner gets it.
    /// Further connections of the same owner may claim it meanwhile. Without an owner whoever knows the id may have it.
    ///
    /// Fails when another owner has the id, or is about to.
    pub(in crate::egress) async fn claim(&self, client_id: &ClientId, owner: Option<Owner>) -> Result<Claim, Taken> {
        self.0.registry.lock().claim(client_id, owner)?;
        Ok(Claim { clients: self.clone(), client_id: client_id.clone() })
    }

    /// Enters a connection under the client id that it claimed, and gives the one that had it before, which is among the clients
    /// no longer.
    ///
    /// Fails when the one that has it was dialled later, and leaves that one alone.
    pub(in crate::egress) async fn enter(
        &self,
        claim: Claim,
        connection: &Arc<Connection>,
    ) -> Result<Option<Arc<Connection>>, Taken> {
        let entered = self.0.registry.lock().enter(connection);
        drop(claim);
        entered
    }

    /// Takes a connection out. Answers whether it still was the one with its client id.
    pub(in crate::egress) fn leave(&self, connection: &Arc<Connection>) -> bool {
        self.0.registry.lock().leave(connection)
    }

    /// The first `count` connections behind `after`, in the order of the client ids.
    pub(in crate::egress) fn some(&self, after: Option<&ClientId>, count: usize) -> Vec<Arc<Connection>> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let registry = self.0.registry.lock();
        let behind = registry.holders.range::<ClientId, _>((begin, Bound::Unbounded));
        behind.take(count).map(|holder| Arc::clone(&holder.0)).collect()
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
        self.clients.0.registry.lock().give_up(&self.client_id);
    }
}

#[derive(Debug, Default)]
struct Registry {
    connections: HashSet<ByIdentity>,
    /// Those of them that hold their client id, in order, so that whoever looks at all of them can go on where it was.
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

impl Registry {
    fn claim(&mut self, client_id: &ClientId, owner: Option<Owner>) -> Result<(), Taken> {
        if let Some(owner) = &owner
            && self.has_other_owner(client_id, owner)
        {
            return Err(Taken::OtherUser);
        }
        self.claims.entry(client_id.clone()).or_insert(Claims { owner, count: 0 }).count += 1;
        Ok(())
    }

    /// A connection that is closing holds nothing any more.
    fn has_other_owner(&self, client_id: &ClientId, owner: &Owner) -> bool {
        let claimed = self.claims.get(client_id).is_some_and(|claims| claims.owner.as_ref() != Some(owner));
        let holder = self.holders.get(client_id);
        claimed || holder.is_some_and(|holder| holder.0.owner() != *owner && holder.0.is_open())
    }

    fn give_up(&mut self, client_id: &ClientId) {
        if let Some(claims) = self.claims.get_mut(client_id) {
            claims.count -= 1;
            if claims.count == 0 {
                self.claims.remove(client_id);
            }
        }
    }

    fn enter(&mut self, connection: &Arc<Connection>) -> Result<Option<Arc<Connection>>, Taken> {
        let holder = self.holders.get(connection.client_id());
        if holder.is_some_and(|holder| holder.0.dial().outranks(&connection.dial()) && holder.0.is_open()) {
            return Err(Taken::Newer);
        }
        let replaced = self.holders.replace(ByClientId(Arc::clone(connection))).map(|holder| holder.0);
        if let Some(replaced) = &replaced {
            self.connections.remove(&ByIdentity(Arc::clone(replaced)));
        }
        self.connections.insert(ByIdentity(Arc::clone(connection)));
        Ok(replaced)
    }

    fn leave(&mut self, connection: &Arc<Connection>) -> bool {
        self.connections.remove(&ByIdentity(Arc::clone(connection)));
        let holder = self.holders.get(connection.client_id());
        let holds = holder.is_some_and(|holder| Arc::ptr_eq(&holder.0, connection));
        holds && self.holders.remove(connection.client_id())
    }
}

/// A connection, which is like no other.
#[derive(Debug)]
struct ByIdentity(Arc<Connection>);

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ByIdentity {}

impl Hash for ByIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Arc::as_ptr(&self.0), state);
    }
}

/// A connection, found by its client id: a table of these takes no room for the ids.
#[derive(Debug)]
struct ByClientId(Arc<Connection>);

impl Borrow<ClientId> for ByClientId {
    fn borrow(&self) -> &ClientId {
        self.0.client_id()
    }
}

impl PartialEq for ByClientId {
    fn eq(&self, other: &Self) -> bool {
        self.0.client_id() == other.0.client_id()
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
        self.0.client_id().cmp(other.0.client_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(is_subject: bool, user: &str) -> Option<Owner> {
        Some(Owner { is_subject, user: UserId::parse(user).ok() })
    }

    // whoever gives up its handshake keeps the id from nobody
    #[tokio::test]
    async fn a_claim_holds_until_it_is_dropped() {
        let clients = Clients::new(10);
        let id = ClientId::parse("tab").expect("a name");
        let claim = async |owner| clients.claim(&id, owner).await.map_err(|taken| assert_eq!(taken, Taken::OtherUser));
        let first = claim(owner(true, "ana")).await.expect("free");
        let second = claim(owner(true, "ana")).await.expect("of the same user");
        for other in [owner(true, "luis"), owner(false, "ana"), owner(false, "")] {
            assert!(claim(other).await.is_err());
        }
        drop(first);
        assert!(claim(owner(true, "luis")).await.is_err(), "the other handshake goes on");
        drop(second);
        let luis = claim(owner(true, "luis")).await.expect("free again");
        assert!(claim(owner(true, "ana")).await.is_err());
        drop(luis);
        assert!(clients.0.registry.lock().claims.is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn where_nobody_has_a_token_whoever_knows_the_id_may_claim_it() {
        let clients = Clients::new(10);
        let id = ClientId::parse("tab").expect("a name");
        let _first = clients.claim(&id, None).await.expect("free");
        clients.claim(&id, None).await.expect("anybody");
    }
}
