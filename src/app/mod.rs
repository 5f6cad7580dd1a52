//! The composition root: the only place that knows every module.
//!
//! [`App::build`] reads what the settings point to, opens the journal and binds the listeners; [`App::run`] serves, and
//! takes everything down again in the order that loses nothing.

mod grpc;
mod http;

use std::{net::SocketAddr, num::NonZeroUsize, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{Broker, Rules},
    clock::System,
    config::{Config, Environment},
    egress::{self, Clients, History, Removal, Sockets},
    gate::{Gate, GrantsFile, Issuer, Keys},
    ingress::{self, Intake},
    journal::{Engine, Follow, Journal, Memory, Sqlite},
    listen::{self, Acceptor, Listener, TlsFiles},
    ops::{Health, Phase, Stats},
    reload::{Followed, Source},
    rooms,
};

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
}

/// Reads `source`, if there is one.
async fn follow<S: Source>(source: Option<S>) -> Result<Option<Followed<S>>, S::Error> {
    match source {
        Some(source) => Ok(Some(Followed::read(source).await?)),
        None => Ok(None),
    }
}

/// The journal that the settings name.
#[derive(Debug)]
enum Opened {
    Sqlite(Arc<Sqlite>),
    Memory(Arc<Memory>),
}

impl App {
    /// Checks the settings, opens the journal and binds the listeners.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let rules = config.check()?;
        let keys = config.gate.keys().map_err(anyhow::Error::msg)?;
        let issuer = Issuer::new(&config.gate, keys.clone()).context("JWT_JWKS_URL: no TLS")?;
        let tls = follow(config.listen.tls.files()?).await?;
        let grants = follow(config.gate.grants()).await?;
        let clock = Arc::new(System::default());
        let journal = match config.journal.engine {
            Engine::Sqlite => Opened::Sqlite(Arc::new(Sqlite::open(&config.journal, clock)?)),
            Engine::Memory => Opened::Memory(Arc::new(Memory::new(&config.journal, clock))),
        };
        let bind = async |port, name: &str| {
            let host = &config.listen.host;
            let bound = listen::bind(host, port).await;
            bound.with_context(|| format!("{name}: cannot listen on {host}:{port}; is another service there?"))
        };
        let http = bind(config.listen.port, "PORT").await?;
        let grpc = bind(config.listen.grpc_port, "GRPC_PORT").await?;
        Ok(Self { config, rules, http, grpc, journal, keys, issuer, tls, grants })
    }

    /// The address of HTTP and WebSocket.
    pub fn http_address(&self) -> SocketAddr {
        self.http.local_addr().expect("the listener is bound")
    }

    /// The address of gRPC.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.local_addr().expect("the listener is bound")
    }

    /// Serves until `shutdown` is complete, then ends within the grace time of the settings.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        for warning in self.config.warnings() {
            tracing::warn!("{warning}");
        }
        match &self.journal {
            Opened::Memory(journal) => {
                let journal = Arc::clone(journal);
                self.run_on(journal, shutdown).await;
            }
            Opened::Sqlite(journal) => {
                let journal = Arc::clone(journal);
                self.run_on(Arc::clone(&journal), shutdown).await;
                spawn_blocking(move || journal.close()).await.context("the journal was not closed")?;
            }
        }
        Ok(())
    }

    async fn run_on<J: Journal + 'static>(self, journal: Arc<J>, shutdown: impl Future<Output = ()>) {
        let Self { config, rules, http, grpc, keys, issuer, tls, grants, .. } = self;
        let life = Life::default();
        let (writer, reader) = rooms::split(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let broker = Broker::new(&config.broker, rules, Arc::clone(&journal), writer);
        let intake = Intake::new(broker.handle(), life.draining.clone(), life.in_hand.clone());
        let publishing = broker.spawn(&life.deliveries, life.closing.clone());

        let grants = grants.map(|grants| life.follow(grants));
        let open = config.gate.open(config.environment == Environment::Production);
        let gate = Gate::new(&config.gate, keys.clone(), open, grants);
        let clients = Clients::new(config.egress.max_connections.get());
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let health = Health::new(reporter, clients.clone(), Arc::clone(&journal) as _, keys);
        let history = History::new(Arc::clone(&journal) as _);
        let refusals = gate.refusals().clone();
        let stats =
            Stats::new(clients.clone(), reader.clone(), Arc::clone(&journal) as _, history.clone(), refusals.clone());
        let removal = Removal::new(clients.clone(), gate.revocations().clone());
        let sockets = Sockets::new(
            &config.egress,
            clients,
            reader.clone(),
            Arc::clone(&journal),
            gate.clone(),
            life.draining.clone(),
            life.sessions.clone(),
        );
        let service = grpc::Notifications {
            publisher: ingress::Publisher::new(&config.ingress, intake.clone()),
            subscriber: egress::Subscriber::new(
                &config.egress,
                reader,
                Arc::clone(&journal) as _,
                gate.revocations().clone(),
                life.stopping.clone(),
            ),
            history: history.clone(),
            stats: stats.clone(),
            removal,
        };
        let tls = tls.map(|tls| life.follow(tls));
        let grpc = Listener { socket: grpc, tls: tls.clone().map(Acceptor::grpc) };
        let http = Listener { socket: http, tls: tls.map(Acceptor::http) };
        let incoming = listen::grpc_incoming(grpc, &config.listen);
        let serving = grpc::serve(service, health_service, gate.clone(), incoming, &config, life.stopping.clone());
        life.servers.spawn(serving);
        let routes = http::routes(&config, intake, sockets.clone(), history, health.clone(), stats);
        let router = http::layered(routes, gate);
        let (stopping, servers) = (life.stopping.clone(), life.servers.clone());
        life.servers.spawn(listen::serve_http(http, router, config.listen.clone(), stopping, servers));
        life.deliveries.spawn(egress::keep_alive(sockets.clone()));
        life.servers.spawn(refusals.sum_up(life.stopping.clone()));

        life.serve(issuer, &health, shutdown).await;
        life.end(config.shutdown_grace, publishing, &*journal, &sockets).await;
    }
}

/// The tasks of the service, by the order in which they end.
#[derive(Debug, Default)]
struct Life {
    /// Cancelled first: nothing new comes in.
    draining: CancellationToken,
    /// Publishes that began.
    in_hand: TaskTracker,
    /// Cancelled when they are through: the broker finishes its queue.
    closing: CancellationToken,
    /// Broker and fan-outs.
    deliveries: TaskTracker,
    /// Subscribers' sessions.
    sessions: TaskTracker,
    /// Cancelled last: until then whoever asks is told that the service goes away.
    stopping: CancellationToken,
    /// Listeners and their connections.
    servers: TaskTracker,
}

impl Life {
    /// Follows the files of `value` as long as there are listeners.
    fn follow<S: Source<Value: Send + Sync, Error: Send> + Send + Sync + 'static>(
        &self,
        value: Followed<S>,
    ) -> watch::Receiver<S::Value> {
        let current = value.watch();
        let stopping = self.stopping.clone();
        self.servers.spawn(async move { stopping.run_until_cancelled(value.follow()).await });
        current
    }

    /// Says that the service serves, until `shutdown` is complete.
    async fn serve(&self, issuer: Option<Issuer>, health: &Health, shutdown: impl Future<Output = ()>) {
        if let Some(issuer) = issuer {
            self.fetch_keys(issuer).await;
        }
        health.enter(Phase::Serving, grpc::SERVICE).await;
        tracing::info!("serving");
        shutdown.await;
        tracing::info!("shutting down");
        health.enter(Phase::Draining, grpc::SERVICE).await;
    }

    /// Fetches an issuer's keys, and follows them as long as there are listeners. The first time is before anybody is let
    /// in, for their tokens need them; if it fails, there are other keys and other times.
    async fn fetch_keys(&self, issuer: Issuer) {
        let fetched = issuer.try_refresh().await;
        self.servers.spawn(self.stopping.clone().run_until_cancelled_owned(issuer.follow(fetched)));
    }

    /// Ends in the order of the flow: what is in hand is taken, what is accepted is delivered, and then the subscribers are
    /// told. A stage that does not end in its share of the grace time is left behind.
    async fn end(&self, grace: Duration, publishing: JoinHandle<()>, journal: &impl Follow, sockets: &Sockets) {
        let stage = async |name, percent, work: Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
            if timeout(grace * percent / 100, work).await.is_err() {
                tracing::warn!(stage = name, "did not end in its share of the grace time");
            }
        };
        self.draining.cancel();
        self.in_hand.close();
        stage("publishes in hand", 35, Box::pin(self.in_hand.wait())).await;
        self.closing.cancel();
        stage("queue", 20, Box::pin(async { drop(publishing.await) })).await;
        journal.end_tails();
        self.deliveries.close();
        stage("deliveries", 15, Box::pin(self.deliveries.wait())).await;
        self.sessions.close();
        sockets.close_all();
        stage("sessions", 15, Box::pin(self.sessions.wait())).await;
        self.stopping.cancel();
        self.servers.close();
        stage("answers", 10, Box::pin(self.servers.wait())).await;
        tracing::info!("ended");
    }
}
