//! Looking at all clients without holding anybody up.

use std::sync::Arc;

use tokio::task::yield_now;

use crate::{
    domain::ClientId,
    egress::{ClientInfo, Clients, ws::Connection},
};

/// How many clients are looked at while the lock of their table is held, and before other tasks of this thread get their turn.
const LOOKS_PER_TURN: usize = 128;

/// A walk over the clients in the order of their names. It comes to everybody who is there from its beginning to its end, once;
/// who comes or goes meanwhile may be passed by.
#[derive(Debug)]
pub struct Walk {
    clients: Clients,
    after: Option<ClientId>,
    ended: bool,
}

impl Clients {
    /// The clients behind `after` in the order of their names, or all, a few at a time.
    pub fn walk(&self, after: Option<ClientId>) -> Walk {
        Walk { clients: self.clone(), after, ended: false }
    }
}

impl Walk {
    /// What is known of the next few clients; none at the end.
    pub async fn next(&mut self) -> Option<Vec<ClientInfo>> {
        let connections = self.next_connections().await?;
        Some(connections.iter().map(|connection| connection.info()).collect())
    }

    /// The connections of the next few clients; none at the end. Other tasks have their turn first.
    pub(in crate::egress) async fn next_connections(&mut self) -> Option<Vec<Arc<Connection>>> {
        if self.ended {
            return None;
        }
        yield_now().await;
        let some = self.clients.some(self.after.as_ref(), LOOKS_PER_TURN);
        self.ended = some.len() < LOOKS_PER_TURN;
        self.after = some.last().map(|connection| connection.client_id().clone());
        Some(some).filter(|some| !some.is_empty())
    }
}
