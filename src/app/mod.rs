//! The composition root: the only place that knows every module.
//!
//! [`App::build`] reads what the settings point to, opens the journal and binds the listeners; [`App::run`] serves, and
//! takes everything down again in the order that loses nothing.

mod calls;
mod composition;
mod grpc;
mod http;
mod lifecycle;
mod reflection;
mod supervisor;
mod watching;

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

use composition::{Parts, Prepared};
use supervisor::Supervisor;
pub use supervisor::{Failure, Workers};

use crate::{
    clock::{Clock, System},
    config::Config,
    gate::Issuer,
    journal::{self, Journal},
    listen,
    reload::{Reloadable, Watched},
    worker::Worker,
};

/// How long the journal's file may take to be closed, whatever is left of the grace time.
const MIN_TO_CLOSE: Duration = Duration::from_secs(1);

/// The service, with its listeners bound and nothing running yet.
#[derive(Debug)]
pub struct App {
    opened: Prepared,
    http: TcpListener,
    grpc: TcpListener,
    issuer: Option<Issuer>,
    supervisor: Supervisor,
}

/// Reads `source`, if there is one.
async fn follow<S: Reloadable>(source: Option<S>) -> Result<Option<Watched<S>>, S::Error> {
    match source {
        Some(source) => Ok(Some(Watched::read(source).await?)),
        None => Ok(None),
    }
}

impl App {
    /// Checks the settings, opens the journal and binds the listeners.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        Self::build_with(config, Arc::new(System::default())).await
    }

    /// The same with a clock that somebody else moves.
    pub async fn build_with(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let opening = journal::open(config.journal.clone(), Arc::clone(&clock));
        Box::pin(Self::build_on(config, opening, clock)).await
    }

    /// The same on the journal that `opening` gives; it is asked only when the settings are good.
    pub async fn build_on(
        config: Config,
        opening: impl Future<Output = Result<Arc<dyn Journal>, journal::Error>>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let rules = config.check()?;
        config.listen.check_host().map_err(anyhow::Error::msg)?;
        let keys = config.gate.keys().map_err(anyhow::Error::msg)?;
        let issuer = Issuer::new(&config.gate, keys.clone())?;
        let tls = follow(config.listen.tls.files(Arc::clone(&clock))?).await?;
        let grants = follow(config.gate.grants()).await?;
        let journal = opening.await?;
        let http = bind(&config.listen.host, config.listen.port, "PORT").await?;
        let grpc = bind(&config.listen.host, config.listen.grpc_port, "GRPC_PORT").await?;
        let opened = Prepared { config, rules, journal, keys, tls, grants, clock };
        Ok(Self { opened, http, grpc, issuer, supervisor: Supervisor::default() })
    }

    /// The address of HTTP and WebSocket.
    pub fn http_address(&self) -> SocketAddr {
        self.http.local_addr().expect("the listener is bound")
    }

    /// The address of gRPC.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.local_addr().expect("the listener is bound")
    }

    /// All that is watched while it runs, by name.
    pub fn workers(&self) -> Workers {
        self.supervisor.workers()
    }

    /// Watches what was started outside and goes on until the process ends, as the log does.
    pub fn watch(&mut self, worker: Worker) {
        self.supervisor.watch(worker, &CancellationToken::new());
    }

    /// Serves until `shutdown` is complete, or until a part of the service fails, which is an error; then ends within the
    /// grace time of the settings.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        for warning in self.opened.config.warnings(self.opened.clock.wall()) {
            tracing::warn!("{warning}");
        }
        let mut supervisor = mem::take(&mut self.supervisor);
        let (journal, closed) = (Arc::clone(&self.opened.journal), CancellationToken::new());
        journal.workers().into_iter().for_each(|worker| supervisor.watch(worker, &closed));
        // In a box, as all parts of the service are in it.
        let left = Box::pin(self.serve(&mut supervisor, shutdown)).await;
        closed.cancel();
        match supervisor.meanwhile(timeout(left.max(MIN_TO_CLOSE), journal.close())).await {
            Ok(closed) => closed.context("the journal was not closed")?,
            // What was acknowledged is on disk; the next start carries it over.
            Err(_) => tracing::warn!("the journal's disk hangs: its file was not closed in the grace time"),
        }
        supervisor.outcome().context("the service shut down by itself")
    }

    /// Serves and ends, and gives what is left of the grace time.
    async fn serve(self, supervisor: &mut Supervisor, shutdown: impl Future<Output = ()>) -> Duration {
        let Self { opened, http, grpc, issuer, .. } = self;
        let parts = Parts::assemble(opened, supervisor);
        parts.serve_grpc(grpc, supervisor);
        parts.serve_http(http, supervisor);
        parts.supervise(supervisor);
        let fetched = issuer.map(|issuer| parts.lifecycle.fetch_keys(issuer, supervisor));
        parts.lifecycle.serve(fetched, &parts.health, shutdown, supervisor).await;
        parts.end(supervisor).await
    }
}

async fn bind(host: &str, port: u16, name: &str) -> anyhow::Result<TcpListener> {
    let bound = listen::bind(host, port).await;
    bound.with_context(|| format!("{name}: cannot listen on {host}:{port}; is another service there?"))
}
