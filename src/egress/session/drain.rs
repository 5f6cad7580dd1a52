//! Sending everybody away as the server goes away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::egress::session::{handle::SessionHandle, registry::Clients};

/// The end of all sessions. Whoever begins one asks it whether that end has come.
#[derive(Debug, Clone)]
pub(in crate::egress) struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clients: Clients,
    /// Over how long the clients are spread when they come back.
    spread: Duration,
    /// Everybody was sent away: so is whoever was still shaking hands.
    closed: AtomicBool,
}

impl Drain {
    pub(super) fn new(clients: Clients, spread: Duration) -> Self {
        Self(Arc::new(Inner { clients, spread, closed: AtomicBool::new(false) }))
    }

    /// Closes every connection behind what was sent, and asks each client to come back at another moment: ten thousand of
    /// them at once would be the next server's first trouble.
    pub(super) async fn close_all(&self) {
        // Before the walk begins: a session that is not among the clients yet finds this when it has entered.
        self.0.closed.store(true, Ordering::SeqCst);
        let mut walk = self.0.clients.walk_sessions();
        while let Some(handles) = walk.next().await {
            handles.iter().for_each(|handle| self.send_away(&**handle));
        }
    }

    /// Sends away a session that has just entered, if everybody was sent away before it had.
    pub(in crate::egress) fn send_latecomer_away(&self, handle: &dyn SessionHandle) {
        if self.0.closed.load(Ordering::SeqCst) {
            self.send_away(handle);
        }
    }

    /// Sends a session away, and asks its client to come back at another moment than others.
    pub(in crate::egress) fn send_away(&self, handle: &dyn SessionHandle) {
        let after = self.0.spread.mul_f64(rand::random());
        handle.reconnect(after);
    }
}
