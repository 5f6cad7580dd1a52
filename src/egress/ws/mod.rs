//! Subscribers over WebSocket.
//!
//! After the handshake the connection is a bare socket again. Its [`Connection`] is what the rooms know: the fan-out
//! writes prepared frames straight to the socket, without waking anybody. Its `pump` is a task that reads what the
//! client says, and takes over writing when the socket is full or the journal must be read.

mod connection;
mod endings;
mod extension;
mod frames;
mod handshake;
mod inflate;
mod keep_alive;
mod message_limiter;
mod open;
mod out;
mod outgoing;
mod protocol;
mod pump;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::yield_now,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use connection::Connection;
use endings::Endings;
pub use endings::sum_up;
pub use handshake::router;
pub use keep_alive::keep_alive;
use outgoing::Outgoing;
use tracing::{Span, info_span};

use crate::{
    clock::Clock,
    domain::ClientId,
    egress::{Clients, Options},
    gate::Gate,
    journal::{Read, Relay},
    rooms::Reader,
};

/// How long a closing connection may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many sessions may begin or end at the same time. When everybody comes or goes at once, what is delivered meanwhile
/// waits behind these few, and behind what they tell their rooms, and not behind all of them.
const TURNS: usize = 8;

/// Says in each line of a session's log whose it is. It is made for what a session does and goes with it: kept while the
/// session waits, a span and its texts would be a fifth of what the session takes.
fn session_span(client_id: &ClientId) -> Span {
    info_span!("session", %client_id)
}

/// What every WebSocket session needs.
#[derive(Debug, Clone)]
pub struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    clients: Clients,
    rooms: Reader,
    journal: Arc<dyn Read>,
    relay: Arc<dyn Relay>,
    gate: Gate,
    /// Cancelled when the server goes away: nobody new comes in.
    draining: CancellationToken,
    /// Everybody was sent away: so is whoever was still shaking hands.
    closed: AtomicBool,
    turns: Semaphore,
    endings: Endings,
    tasks: TaskTracker,
    clock: Arc<dyn Clock>,
}

impl Sockets {
    /// Sessions run on `tasks`; when `draining` is cancelled no new one begins.
    pub fn new(
        options: &Options,
        clients: Clients,
        rooms: Reader,
        journal: Arc<impl Read + Relay + 'static>,
        gate: Gate,
        (draining, tasks): (CancellationToken, TaskTracker),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let relay = Arc::clone(&journal) as Arc<dyn Relay>;
        Self(Arc::new(Inner {
            options: options.clone(),
            clients,
            rooms,
            journal,
            relay,
            gate,
            draining,
            closed: AtomicBool::new(false),
            turns: Semaphore::new(TURNS),
            endings: Endings::new(options.log_sessions),
            tasks,
            clock,
        }))
    }

    /// Closes every connection behind what was sent, and asks each client to come back at another moment: ten thousand of
    /// them at once would be the next server's first trouble.
    pub async fn close_all(&self) {
        // Before the walk begins: a session that is not among the clients yet finds this when it has entered.
        self.0.closed.store(true, Ordering::SeqCst);
        let mut walk = self.0.clients.walk(None);
        while let Some(connections) = walk.next_connections().await {
            connections.iter().for_each(|connection| self.send_away(connection));
        }
    }

    /// Waits until a session may begin or end.
    async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.0.turns.acquire().await.expect("nobody closes the turns");
        // Whoever gives a turn on would otherwise have the next one run at once, before whatever else is ready.
        yield_now().await;
        turn
    }

    fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    fn send_away(&self, connection: &Connection) {
        let after = self.0.options.drain_seconds.mul_f64(rand::random());
        connection.send_away(after, &self.0.journal.epoch());
    }
}
