//! Subscribers over WebSocket.
//!
//! After the handshake the connection is a bare socket again. Its `Connection` is what the rooms know: the fan-out
//! writes prepared frames straight to the socket, without waking anybody. Its `pump` is a task that reads what the
//! client says, and takes over writing when the socket is full or the journal must be read.
//!
//! Each part knows those to its right alone: `handshake` (with `upgrade` and `extension`) → `open` → `pump` and `goodbye` → `active`
//! → `protocol` (with `frames` and `inflate`) and `message_limiter` → `connection`. What a session is whatever carries it lies in
//! `egress::session`, which knows none of them.

mod active;
mod connection;
mod extension;
mod frames;
mod goodbye;
mod handshake;
mod inflate;
mod message_limiter;
mod open;
mod outbound_frame;
mod protocol;
mod pump;
mod send_state;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tracing::{Span, info_span};

use connection::Connection;
pub use handshake::router;
use outbound_frame::OutboundFrame;

use crate::{
    domain::ClientId,
    egress::{Options, Sessions},
    gate::Gate,
    journal::{Attend, Read},
};

/// Says in each line of a session's log whose it is. It is made for what a session does and goes with it: kept while the
/// session waits, a span and its texts would be a fifth of what the session takes.
fn session_span(client_id: &ClientId) -> Span {
    info_span!("session", %client_id)
}

/// Serves WebSockets.
#[derive(Debug, Clone)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    sessions: Sessions,
    journal: Arc<dyn Read>,
    attend: Arc<dyn Attend>,
    gate: Gate,
    tasks: TaskTracker,
}

impl Server {
    /// Carries some of the `sessions`, each on one of `tasks`.
    pub fn new(
        options: &Options,
        sessions: Sessions,
        (journal, attend): (Arc<dyn Read>, Arc<dyn Attend>),
        gate: Gate,
        tasks: TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner { options: options.clone(), sessions, journal, attend, gate, tasks }))
    }
}
