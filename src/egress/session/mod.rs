//! Sessions without what carries them: a transport is a module beside this one, and hands in what it carries a session with as a
//! [`SessionHandle`](handle::SessionHandle).
//!
//! A client asks ([`request`]) and is admitted ([`admission`]). Its session enters the clients ([`registry`], [`client_ids`]) and
//! lives among them and in the rooms ([`life`], [`notices`]); what its messages do is the [`machine`]'s. Meanwhile the sweep of
//! [`keep_alive`] and whoever takes a [`walk`] look at it through its handle. [`lifecycle_permits`] hold how many begin and end at
//! a time; [`endings`] logs the ends, and [`drain`] brings about the last.
//!
//! Nothing here names a transport or a socket (`tests/layering.rs`).

mod admission;
mod attempt;
mod client_ids;
mod drain;
mod endings;
mod handle;
mod keep_alive;
mod life;
mod lifecycle_permits;
mod machine;
mod notices;
mod registry;
mod request;
#[cfg(test)]
mod tests;
mod walk;

use std::{net::IpAddr, sync::Arc};

use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(super) use client_ids::{ClientIdTaken, Owner};
#[cfg(test)]
pub(super) use lifecycle_permits::MAX_CONCURRENT_OPEN_CLOSE;
pub(super) use {
    admission::{AdmissionControl, Admitted},
    drain::Drain,
    endings::Endings,
    handle::{Session, SessionHandle},
    life::ActiveSession,
    lifecycle_permits::{LifecyclePermit, LifecyclePermits},
    machine::{Effect, Sender, SessionLimits},
    registry::Claim,
    request::ConnectRequest,
};
pub use {registry::Clients, walk::ClientWalk};

use crate::{
    clock::Clock,
    egress::Options,
    gate::Gate,
    journal::Relay,
    peers::Peers,
    rooms::{Member, Reader},
};
use keep_alive::KeepAlive;
use life::SessionContext;
use notices::RoomNotices;

/// The sessions of the service: the parts that all of them share, of which each transport takes those that it needs.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    clients: Clients,
    context: Arc<SessionContext>,
    admission: AdmissionControl,
    lifecycle_permits: LifecyclePermits,
    keep_alive: KeepAlive,
    drain: Drain,
    endings: Endings,
}

impl Sessions {
    /// Sessions among `clients`. When `draining` is cancelled no new one begins.
    pub fn new(
        options: &Options,
        clients: Clients,
        (rooms, peers): (Reader, Arc<dyn Peers>),
        relay: Arc<dyn Relay>,
        gate: Gate,
        draining: CancellationToken,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let notices = RoomNotices::new(rooms, peers, relay, options.presence_limit);
        Self(Arc::new(Parts {
            admission: AdmissionControl::new(clients.clone(), gate.clone(), draining.clone()),
            lifecycle_permits: LifecyclePermits::default(),
            keep_alive: KeepAlive::new(options, clients.clone(), draining, Arc::clone(&clock)),
            drain: Drain::new(clients.clone(), options.drain_seconds),
            endings: Endings::new(options.log_sessions),
            context: Arc::new(SessionContext { clients: clients.clone(), notices, gate, clock }),
            clients,
        }))
    }

    /// Looks after all connections, until the server goes away: finds the clients that are gone, and the tokens that expired.
    pub fn keep_alive(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let this = self.clone();
        async move { this.0.keep_alive.run().await }
    }

    /// Says in the log how many sessions ended of which it has no line, until `stopping` is cancelled.
    pub fn sum_up(&self, stopping: CancellationToken) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.0.endings.clone().sum_up(stopping)
    }

    /// Closes every connection behind what was sent, and asks each client to come back at another moment.
    pub async fn close_all(&self) {
        self.0.drain.close_all().await;
    }

    pub(super) fn admission(&self) -> &AdmissionControl {
        &self.0.admission
    }

    pub(super) fn lifecycle_permits(&self) -> &LifecyclePermits {
        &self.0.lifecycle_permits
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.0.drain
    }

    pub(super) fn endings(&self) -> &Endings {
        &self.0.endings
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.context.clock
    }

    /// The session that `request` asks for.
    pub(super) fn session(&self, request: &ConnectRequest) -> Session {
        Session::new(self.0.clients.next_id(), request, &*self.0.context.clock)
    }

    /// A session that `handle` carries, of a client at `address`. It has entered nothing yet.
    pub(super) fn begin<C: SessionHandle + Member>(
        &self,
        handle: Arc<C>,
        address: IpAddr,
        admitted: Admitted,
    ) -> ActiveSession<C> {
        ActiveSession::new(Arc::clone(&self.0.context), handle, address, admitted)
    }
}
