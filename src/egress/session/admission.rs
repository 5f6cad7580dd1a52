//! Who may begin a session: not while the server goes away, nor when it, the address or the user has as many as it may.

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::{
    egress::session::{
        client_ids::Owner,
        registry::{Claim, Clients},
        request::ConnectRequest,
    },
    gate::{self, Caller, ConnectionPermit, Gate, Unserved},
};

/// Admits those who ask for a session, whatever is to carry it.
#[derive(Debug, Clone)]
pub(in crate::egress) struct AdmissionControl {
    clients: Clients,
    gate: Gate,
    /// Cancelled when the server goes away: nobody new comes in.
    draining: CancellationToken,
}

/// What a session holds of what there is only so much of, until it is dropped: a place among all, and one among those of its
/// address and user.
#[derive(Debug)]
pub(in crate::egress) struct Admitted {
    _among_all: OwnedSemaphorePermit,
    _of_its_own: ConnectionPermit,
}

impl AdmissionControl {
    pub(super) fn new(clients: Clients, gate: Gate, draining: CancellationToken) -> Self {
        Self { clients, gate, draining }
    }

    /// Admits one more session of `caller`.
    pub(in crate::egress) fn admit(&self, caller: &Caller) -> Result<Admitted, gate::Error> {
        if self.draining.is_cancelled() {
            let why = "the server is going away; reconnect in a second";
            return Err(gate::Error::Unserved(Unserved::Draining, why.into()));
        }
        let full = || gate::Error::Unserved(Unserved::Connections, "too many connections; try again later".into());
        let among_all = self.clients.place().ok_or_else(full)?;
        Ok(Admitted { _among_all: among_all, _of_its_own: caller.connection_permit()? })
    }

    /// Keeps the client id for a connection that is about to begin, unless another user has it.
    pub(in crate::egress) async fn claim(&self, request: &ConnectRequest) -> Result<Claim, gate::Error> {
        let owner = || Owner::new(&request.permit, request.user_id.clone());
        let owner = self.gate.knows_subscribers().then(owner);
        let claimed = self.clients.claim(&request.client_id, owner).await;
        claimed.map_err(|_| gate::Error::ClientId(request.client_id.clone()))
    }
}
