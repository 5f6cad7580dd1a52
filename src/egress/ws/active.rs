//! A session over WebSocket while it is open: what its task has at hand.

use std::sync::Arc;

use tokio::time::Duration;
use tracing::Span;

use crate::{
    delivery::{catch_up, outbox::CatchUpPage},
    domain::Seq,
    egress::{
        session::{ActiveSession, Effect, LifecyclePermit, Sender, SessionLimits},
        ws::{
            Connection, OutboundFrame, Server,
            message_limiter::{Decision, MessageLimiter},
            protocol::{self, Protocol},
            session_span,
        },
    },
    gate::Charge,
    journal::Error,
    wire::client::{ClientMessage, MessageError},
};

/// An open session. There may be a hundred thousand, and most of them wait, so it holds little.
pub(super) struct WebSocketSession {
    pub(super) server: Server,
    pub(super) active: ActiveSession<Connection>,
    limiter: MessageLimiter,
}

impl WebSocketSession {
    pub(super) fn new(server: Server, active: ActiveSession<Connection>) -> Self {
        Self { server, active, limiter: MessageLimiter::default() }
    }

    /// The client's socket with what waits for it.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        self.active.handle()
    }

    /// The span of what the session does.
    pub(super) fn span(&self) -> Span {
        session_span(self.active.session().client_id())
    }

    /// Waits until the session may do what all do at once when a network goes.
    pub(super) async fn lifecycle_permit(&self) -> LifecyclePermit<'_> {
        self.server.0.sessions.lifecycle_permits().lifecycle_permit().await
    }

    /// Reads what the client says, from `head` on.
    pub(super) fn protocol(&self, head: Vec<u8>) -> Box<Protocol> {
        let options = &self.server.0.options;
        let limits = protocol::ProtocolLimits {
            max_message_bytes: options.max_message_bytes,
            max_fragments: options.max_fragments,
        };
        Box::new(Protocol::new(Arc::clone(self.connection()), head, limits))
    }

    /// What is held of a message that the client did not finish yet, which is nothing so far.
    pub(super) fn charge(&self) -> Charge {
        let permit = self.active.session().permit();
        // Only a token says for certain who the user is.
        let user = permit.identity().and_then(|identity| identity.user());
        self.server.0.gate.charge(self.active.address(), user)
    }

    /// How long a message may take.
    pub(super) fn message_timeout(&self) -> Duration {
        self.server.0.gate.message_timeout()
    }

    /// What becomes of a message that is so long, and in whose course so many frames came that continue one.
    pub(super) fn limit(&mut self, length: usize, continuations: u32) -> Decision {
        self.limiter.take(self.server.0.options.message_rate.0, length, continuations)
    }

    /// Takes in a message, and says what is to be done.
    pub(super) fn take_in(&self, message: Result<ClientMessage, MessageError>) -> Vec<Effect> {
        let session = self.active.session();
        let limits = SessionLimits::of(&self.server.0.options);
        let sender = Sender { client_id: session.client_id(), limits, now: self.active.now() };
        session.machine().take_in(message, &sender)
    }

    /// Reads the next page of what lies after `cursor`.
    pub(super) async fn read_on(&self, cursor: Seq) -> Result<CatchUpPage<OutboundFrame>, Error> {
        let audiences = Some(self.active.session().audiences());
        let max_bytes = self.server.0.options.send_queue_bytes.get();
        catch_up::read_on(&*self.server.0.journal, audiences, cursor, max_bytes, |kept| kept.into()).await
    }
}
