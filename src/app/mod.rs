//! The composition root: the only place that knows every module.
//!
//! [`App::build`] reads what the settings point to, opens the journal and binds the listeners; [`App::run`] serves, and
//! takes everything down again in the order that loses nothing.

mod calls;
mod grpc;
mod http;
mod lifecycle;
mod reflection;
mod supervisor;
mod watching;

use std::{mem, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::{net::TcpListener, sync::watch, task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic_health::server::{HealthReporter, HealthService};

use lifecycle::Life;
use supervisor::Supervisor;
pub use supervisor::{Failure, Workers};

use crate::{
    broker::{Broker, Rules},
    clock::{Clock, System},
    config::{Config, Environment},
    delivery::FanOuts,
    egress::{self, Clients, History, Removal, Sessions, ws},
    gate::{Denied, Gate, GrantsFile, Issuer, Keys, Permit, Unserved},
    ingress::{self, Intake},
    journal::{self, Engine, Journal, Memory, Sqlite},
    listen::{self, Acceptor, Listener, OnFull, Tls, TlsFiles},
    ops::{Health, HealthPart, Stats},
    reload::{Followed, Source},
    rooms,
    worker::Worker,
};

/// How long the journal's file may take to be closed, whatever is left of the grace time.
const MIN_TO_CLOSE: Duration = Duration::from_secs(1);

/// The service, with its listeners bound and nothing running yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    rules: Rules,
    http: TcpListener,
    grpc: TcpListener,
    journal: Opened,
    keys: Keys,
    issuer: Option<Issuer>,
    tls: Option<Followed<TlsFiles>>,
    grants: Option<Followed<GrantsFile>>,
    supervisor: Supervisor,
    clock: Arc<dyn Clock>,
}

/// Reads `source`, if there is one.
async fn follow<S: Source>(source: Option<S>) -> Result<Option<Followed<S>>, S::Error> {
    match source {
        Some(source) => Ok(Some(Followed::read(source).await?)),
        None => Ok(None),
    }
}

/// Counts newcomers that find the places of a listener taken, and logs them as other refusals.
fn on_full(gate: Gate) -> OnFull {
    OnFull::new(move |address, why| {
        gate.holder(&Permit::OPEN, address).refused(&Denied::Unserved(Unserved::Connections, Arc::clone(why)));
    })
}

/// The certificate that the listeners show.
#[derive(Debug)]
struct Shown(watch::Receiver<Tls>);

impl HealthPart for Shown {
    fn wrong(&self, now: DateTime<Utc>) -> Option<String> {
        self.0.borrow().fault(now)
    }
}

/// The journal that the settings name.
#[derive(Debug)]
enum Opened {
    Sqlite(Arc<Sqlite>),
    Memory(Arc<Memory>),
}

impl Opened {
    /// A disk may take its time; whoever does not want to wait any longer lets go of this.
    async fn open(options: journal::Options, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Ok(match options.engine {
            Engine::Memory => Self::Memory(Arc::new(Memory::new(&options, clock))),
            Engine::Sqlite => {
                let opening = spawn_blocking(move || Sqlite::open(&options, clock));
                Self::Sqlite(Arc::new(opening.await.context("opening the journal")??))
            }
        })
    }
}

impl App {
    /// Checks the settings, opens the journal and binds the listeners.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        Self::build_with(config, Arc::new(System::default())).await
    }

    /// The same with a clock that somebody else moves.
    pub async fn build_with(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let rules = config.check()?;
        config.listen.check_host().map_err(anyhow::Error::msg)?;
        let keys = config.gate.keys().map_err(anyhow::Error::msg)?;
        let issuer = Issuer::new(&config.gate, keys.clone())?;
        let tls = follow(config.listen.tls.files(Arc::clone(&clock))?).await?;
        let grants = follow(config.gate.grants()).await?;
        let journal = Opened::open(config.journal.clone(), Arc::clone(&clock)).await?;
        let bind = async |port, name: &str| {
            let host = &config.listen.host;
            let bound = listen::bind(host, port).await;
            bound.with_context(|| format!("{name}: cannot listen on {host}:{port}; is another service there?"))
        };
        let http = bind(config.listen.port, "PORT").await?;
        let grpc = bind(config.listen.grpc_port, "GRPC_PORT").await?;
        let supervisor = Supervisor::default();
        Ok(Self { config, rules, http, grpc, journal, keys, issuer, tls, grants, supervisor, clock })
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
        for warning in self.config.warnings(self.clock.wall()) {
            tracing::warn!("{warning}");
        }
        let mut supervisor = mem::take(&mut self.supervisor);
        match &self.journal {
            Opened::Memory(journal) => {
                let journal = Arc::clone(journal);
                self.run_on(journal, &mut supervisor, shutdown).await;
            }
            Opened::Sqlite(journal) => {
                let (journal, closed) = (Arc::clone(journal), CancellationToken::new());
                journal.workers().into_iter().for_each(|worker| supervisor.watch(worker, &closed));
                let left = self.run_on(Arc::clone(&journal), &mut supervisor, shutdown).await;
                closed.cancel();
                let closing = timeout(left.max(MIN_TO_CLOSE), spawn_blocking(move || journal.close()));
                match supervisor.meanwhile(closing).await {
                    Ok(closed) => closed.context("the journal was not closed")?,
                    // What was acknowledged is on disk; the next start carries it over.
                    Err(_) => tracing::warn!("the journal's disk hangs: its file was not closed in the grace time"),
                }
            }
        }
        supervisor.outcome().context("the service shut down by itself")
    }

    /// Serves and ends, and gives what is left of the grace time.
    async fn run_on<J: Journal + 'static>(
        self,
        journal: Arc<J>,
        supervisor: &mut Supervisor,
        shutdown: impl Future<Output = ()>,
    ) -> Duration {
        let Self { config, rules, http, grpc, keys, issuer, tls, grants, clock, .. } = self;
        let life = Life::default();
        let (writer, reader) = rooms::split(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let fan_outs = FanOuts::new(&*journal, &writer);
        let broker = Broker::new(&config.broker, rules, Arc::clone(&journal), writer, Arc::clone(&clock));
        let intake = Intake::new(broker.handle(), life.draining.clone(), life.in_hand.clone(), Arc::clone(&clock));
        let publishing = broker.spawn(&life.deliveries, life.closing.clone());
        supervisor.watch(publishing.clone(), &life.closing);
        fan_outs.spawn(&life.deliveries).into_iter().for_each(|fan_out| supervisor.watch(fan_out, &life.committed));

        let grants = grants.map(|grants| life.follow("grants-file", grants, supervisor));
        let open = config.gate.open(config.environment == Environment::Production);
        let gate = Gate::new(&config.gate, keys.clone(), open, grants, Arc::clone(&clock));
        let clients = Clients::new(config.egress.max_connections.get());
        let tls = tls.map(|tls| life.follow("tls-files", tls, supervisor));
        let reporter = HealthReporter::new();
        let health_service = HealthService::from_health_reporter(reporter.clone());
        let health = Health::new(
            reporter,
            clients.clone(),
            Arc::clone(&journal) as _,
            (keys, tls.clone().map(|tls| Arc::new(Shown(tls)) as _)),
            supervisor.failure(),
            Arc::clone(&clock),
        );
        let history = History::new(Arc::clone(&journal) as _);
        let refusals = gate.refusals().clone();
        let stats =
            Stats::new(clients.clone(), reader.clone(), Arc::clone(&journal) as _, history.clone(), refusals.clone());
        let removal = Removal::new(clients.clone(), gate.revocations().clone(), life.servers.clone());
        let sessions = Sessions::new(
            &config.egress,
            clients,
            reader.clone(),
            Arc::clone(&journal),
            gate.clone(),
            life.draining.clone(),
            Arc::clone(&clock),
        );
        let sockets = ws::Server::new(
            &config.egress,
            sessions.clone(),
            Arc::clone(&journal) as _,
            gate.clone(),
            life.sessions.clone(),
        );
        let service = grpc::Notifications {
            publisher: ingress::Publisher::new(&config.ingress, intake.clone()),
            subscriber: egress::Subscriber::new(
                &config.egress,
                reader,
                Arc::clone(&journal) as _,
                (life.stopping.clone(), life.servers.clone()),
                clock,
            ),
            history: history.clone(),
            stats: stats.clone(),
            removal,
        };
        let (proxies, on_full) = (config.gate.trusted_proxies.clone(), on_full(gate.clone()));
        let grpc = Listener {
            socket: grpc,
            tls: tls.clone().map(Acceptor::grpc),
            proxies: proxies.clone(),
            on_full: on_full.clone(),
            partings: Arc::default(),
        };
        let partings = Arc::new(http::partings());
        let http = Listener { socket: http, tls: tls.map(Acceptor::http), proxies, on_full, partings };
        let serving = grpc::serve(
            service,
            health_service,
            gate.clone(),
            grpc,
            &config,
            life.stopping.clone(),
            life.servers.clone(),
        );
        supervisor.spawn("grpc", &life.servers, &life.stopping, serving);
        let routes = http::routes(&config, intake, sockets, history, health.clone(), stats);
        let router = http::layered(routes, gate, config.listen.tls.hsts_max_age);
        let (stopping, servers) = (life.stopping.clone(), life.servers.clone());
        let serving = listen::serve_http(http, router, config.listen.clone(), stopping, servers);
        supervisor.spawn("http", &life.servers, &life.stopping, serving);
        supervisor.spawn("keep-alive", &life.deliveries, &life.draining, sessions.keep_alive());
        let (refused, ended) = (refusals.sum_up(life.stopping.clone()), sessions.sum_up(life.stopping.clone()));
        let summing_up = async move {
            tokio::join!(refused, ended);
        };
        supervisor.spawn("refusals", &life.servers, &life.stopping, summing_up);
        let fetched = issuer.map(|issuer| life.fetch_keys(issuer, supervisor));

        life.serve(fetched, &health, shutdown, supervisor).await;
        supervisor.meanwhile(life.end(config.shutdown_grace, publishing, &*journal, &sessions)).await
    }
}
