//! Who is connected by WebSocket: one connection for each client id.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::{ClientId, RoomId, UserId},
    egress::ws::Connection,
};

/// The connected clients of this node, and how many more may come.
#[derive(Debug, Clone)]
pub struct Clients(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    by_id: Mutex<HashMap<ClientId, Arc<Connection>>>,
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

impl Clients {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { by_id: Mutex::default(), places }))
    }

    /// How many clients are connected.
    pub fn len(&self) -> usize {
        self.0.by_id.lock().len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connected clients, in the order of their names.
    pub fn list(&self) -> Vec<ClientInfo> {
        let mut clients: Vec<_> = self.0.by_id.lock().values().map(|connection| connection.info()).collect();
        clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        clients
    }

    /// A place for one more connection, until it is dropped; `None` when all are taken.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.places).try_acquire_owned().ok()
    }

    /// Enters a connection under its client id and gives the one that had it before.
    pub(super) fn enter(&self, connection: Arc<Connection>) -> Option<Arc<Connection>> {
        self.0.by_id.lock().insert(connection.client_id().clone(), connection)
    }

    /// Takes a connection out. Answers whether it was still the one with its client id.
    pub(super) fn leave(&self, connection: &Arc<Connection>) -> bool {
        let mut by_id = self.0.by_id.lock();
        let current = by_id.get(connection.client_id()).is_some_and(|current| Arc::ptr_eq(current, connection));
        if current {
            by_id.remove(connection.client_id());
        }
        current
    }

    /// The connections of this moment.
    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.0.by_id.lock().values().cloned().collect()
    }
}
