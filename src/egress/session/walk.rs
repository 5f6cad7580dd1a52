//! Walks look at all sessions without holding anybody up.

use std::{ops::Range, sync::Arc};

use tokio::task::yield_now;

use crate::{
    domain::{ClientId, ClientInfo},
    egress::session::{
        handle::SessionHandle,
        registry::{Clients, ConnectionId},
    },
};

/// How many clients are looked at while the lock of their table is held, and before other tasks of this thread have their turn.
const LOOKS_PER_YIELD: usize = 128;

/// A walk over the clients in the order of their names. It comes to everybody who is there from its beginning to its end, once;
/// who comes or goes meanwhile may be passed by.
#[derive(Debug)]
pub struct ClientWalk {
    clients: Clients,
    after: Option<ClientId>,
    ended: bool,
}

impl Clients {
    /// The clients behind `after` in the order of their names, or all, a few at a time.
    pub fn walk(&self, after: Option<ClientId>) -> ClientWalk {
        ClientWalk { clients: self.clone(), after, ended: false }
    }

    /// All sessions in the order in which they began, a few at a time.
    pub(in crate::egress) fn walk_sessions(&self) -> SessionWalk {
        SessionWalk { clients: self.clone(), left: self.ids_until_now() }
    }
}

impl ClientWalk {
    /// What is known of the next few clients; none at the end. Other tasks have their turn first.
    pub async fn next(&mut self) -> Option<Vec<ClientInfo>> {
        if self.ended {
            return None;
        }
        yield_now().await;
        let some = self.clients.some_holders(self.after.as_ref(), LOOKS_PER_YIELD);
        self.ended = some.len() < LOOKS_PER_YIELD;
        self.after = some.last().map(|handle| handle.session().client_id().clone());
        (!some.is_empty()).then(|| some.iter().map(|handle| handle.session().info()).collect())
    }
}

/// A walk over all sessions, whether they hold a client id or not. It comes to everybody who is there from its beginning to its
/// end, once; who goes meanwhile may be passed by, and who comes is, so that it ends however many come.
#[derive(Debug)]
pub(in crate::egress) struct SessionWalk {
    clients: Clients,
    /// The numbers of those it did not come to yet.
    left: Range<ConnectionId>,
}

impl SessionWalk {
    /// The next few sessions; none at the end. Other tasks have their turn first.
    pub(in crate::egress) async fn next(&mut self) -> Option<Vec<Arc<dyn SessionHandle>>> {
        if self.left.is_empty() {
            return None;
        }
        yield_now().await;
        let some = self.clients.some(self.left.clone(), LOOKS_PER_YIELD);
        self.left.start = match some.last() {
            Some(last) if some.len() == LOOKS_PER_YIELD => last.session().id().next(),
            _ => self.left.end,
        };
        (!some.is_empty()).then_some(some)
    }
}
