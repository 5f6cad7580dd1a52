//! How the parts of the service are put together, one step after the other.

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use chrono::{DateTime, Utc};
use tokio::{net::TcpListener, sync::watch};
use tonic_health::server::{HealthReporter, HealthService};

use crate::{
    app::{grpc, http, lifecycle::Lifecycle, supervisor::Supervisor},
    broker::{Broker, Rules},
    clock::Clock,
    config::{Config, Environment},
    delivery::FanOuts,
    egress::{Clients, History, Removal, Sessions, Subscriber, ws},
    gate::{self, Gate, GrantsFile, SubscribeScope, Unserved, VerificationKeys},
    ingress::{Intake, PublishService},
    journal::Journal,
    listen::{self, Acceptor, Listener, OnFull, Tls, TlsFiles},
    ops::{Health, HealthPart, Stats},
    peers::Alone,
    reload::Watched,
    rooms::{self, Reader},
    worker::Worker,
};

/// What the service is made of: the settings, and what was opened by them.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) rules: Rules,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) keys: VerificationKeys,
    pub(super) tls: Option<Watched<TlsFiles>>,
    pub(super) grants: Option<Watched<GrantsFile>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The parts of the service, which know nothing of each other but what each was given.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) lifecycle: Lifecycle,
    config: Config,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    rooms: Reader,
    intake: Intake,
    publishing: Worker,
    gate: Gate,
    tls: Option<watch::Receiver<Tls>>,
    clients: Clients,
    sessions: Sessions,
    history: History,
    stats: Stats,
    pub(super) health: Health,
    reporter: HealthReporter,
}

impl Parts {
    /// Puts the parts together in the order of the flow, and starts those that deliver.
    pub(super) fn assemble(opened: Prepared, supervisor: &mut Supervisor) -> Self {
        let lifecycle = Lifecycle::default();
        let Prepared { config, rules, journal, keys, tls, grants, clock } = opened;
        let (intake, rooms, publishing) = deliver(&config, rules, &journal, &clock, &lifecycle, supervisor);
        let grants = grants.map(|grants| lifecycle.follow("grants-file", grants, supervisor));
        let open = config.gate.open(config.environment == Environment::Production);
        let gate = Gate::new(&config.gate, keys.clone(), open, grants, Arc::clone(&clock));
        let clients = Clients::new(config.egress.max_connections.get());
        let tls = tls.map(|tls| lifecycle.follow("tls-files", tls, supervisor));
        let (health, reporter) = health(&clients, &journal, (keys, &tls), supervisor, &clock);
        let history = History::new(Arc::clone(&journal) as _);
        let (kept, refusals) = (Arc::clone(&journal) as _, gate.rejections().clone());
        let stats = Stats::new(clients.clone(), rooms.clone(), kept, history.clone(), refusals);
        let sessions = Sessions::new(
            &config.egress,
            clients.clone(),
            (rooms.clone(), Arc::new(Alone)),
            Arc::clone(&journal) as _,
            gate.clone(),
            lifecycle.draining.clone(),
            Arc::clone(&clock),
        );
        Self {
            lifecycle,
            config,
            journal,
            clock,
            rooms,
            intake,
            publishing,
            gate,
            tls,
            clients,
            sessions,
            history,
            stats,
            health,
            reporter,
        }
    }

    /// Serves gRPC.
    pub(super) fn serve_grpc(&self, socket: TcpListener, supervisor: &mut Supervisor) {
        let (stopping, servers) = (self.lifecycle.stopping.clone(), self.lifecycle.servers.clone());
        let service = grpc::GrpcService {
            publisher: PublishService::new(&self.config.ingress, self.intake.clone()),
            subscriber: Subscriber::new(
                &self.config.egress,
                self.rooms.clone(),
                (Arc::clone(&self.journal) as _, Arc::clone(&self.journal) as _),
                (stopping.clone(), servers.clone()),
                Arc::clone(&self.clock),
            ),
            history: self.history.clone(),
            stats: self.stats.clone(),
            removal: Removal::new(self.clients.clone(), self.gate.revocations().clone(), servers.clone()),
        };
        let listener = self.listener(socket, Acceptor::grpc);
        let health = HealthService::from_health_reporter(self.reporter.clone());
        let serving = grpc::serve(service, health, self.gate.clone(), listener, &self.config, stopping, servers);
        supervisor.spawn("grpc", &self.lifecycle.servers, &self.lifecycle.stopping, serving);
    }

    /// Serves HTTP and WebSocket.
    pub(super) fn serve_http(&self, socket: TcpListener, supervisor: &mut Supervisor) {
        let journal = (Arc::clone(&self.journal) as _, Arc::clone(&self.journal) as _);
        let sockets = ws::Server::new(
            &self.config.egress,
            self.sessions.clone(),
            journal,
            self.gate.clone(),
            self.lifecycle.sessions.clone(),
        );
        let routes = http::routes(
            &self.config,
            self.intake.clone(),
            sockets,
            self.history.clone(),
            self.health.clone(),
            self.stats.clone(),
        );
        let router = http::layered(routes, self.gate.clone(), self.config.listen.tls.hsts_max_age);
        let listener = self.listener(socket, Acceptor::http);
        let (stopping, servers) = (self.lifecycle.stopping.clone(), self.lifecycle.servers.clone());
        let serving = listen::serve_http(listener, router, self.config.listen.clone(), stopping, servers);
        supervisor.spawn("http", &self.lifecycle.servers, &self.lifecycle.stopping, serving);
    }

    /// Looks after the subscribers, and says what was not logged one by one.
    pub(super) fn supervise(&self, supervisor: &mut Supervisor) {
        let lifecycle = &self.lifecycle;
        supervisor.spawn("keep-alive", &lifecycle.deliveries, &lifecycle.draining, self.sessions.keep_alive());
        let refused = self.gate.rejections().clone().sum_up(lifecycle.stopping.clone());
        let ended = self.sessions.sum_up(lifecycle.stopping.clone());
        let summing_up = async move {
            tokio::join!(refused, ended);
        };
        supervisor.spawn("refusals", &lifecycle.servers, &lifecycle.stopping, summing_up);
    }

    /// Ends all parts, in the order that loses nothing, and gives what is left of the grace time.
    pub(super) async fn end(self, supervisor: &mut Supervisor) -> Duration {
        let Self { lifecycle, config, journal, publishing, sessions, .. } = self;
        supervisor.meanwhile(lifecycle.end(config.shutdown_grace, publishing, &*journal, &sessions)).await
    }

    fn listener(&self, socket: TcpListener, accept: fn(watch::Receiver<Tls>) -> Acceptor) -> Listener {
        let proxies = self.config.gate.trusted_proxies.clone();
        let (tls, on_full) = (self.tls.clone().map(accept), on_full(self.gate.clone()));
        Listener { socket, tls, proxies, on_full, partings: Arc::new(http::partings()) }
    }
}

/// Starts what is between publishers and subscribers; gives both ends, and the task that publishes.
fn deliver(
    config: &Config,
    rules: Rules,
    journal: &Arc<dyn Journal>,
    clock: &Arc<dyn Clock>,
    lifecycle: &Lifecycle,
    supervisor: &mut Supervisor,
) -> (Intake, Reader, Worker) {
    let (writer, reader) = rooms::split(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    let fan_outs = FanOuts::new(&**journal, &writer);
    let journal = (Arc::clone(journal) as _, Arc::clone(journal) as _);
    let broker = Broker::new(&config.broker, rules, journal, writer, Arc::clone(clock));
    let intake = Intake::new(broker.handle(), lifecycle.draining.clone(), lifecycle.in_hand.clone(), Arc::clone(clock));
    let publishing = broker.spawn(&lifecycle.deliveries, lifecycle.closing.clone());
    supervisor.watch(publishing.clone(), &lifecycle.closing);
    fan_outs
        .spawn(&lifecycle.deliveries)
        .into_iter()
        .for_each(|fan_out| supervisor.watch(fan_out, &lifecycle.committed));
    (intake, reader, publishing)
}

/// How the service is, over HTTP and over gRPC.
fn health(
    clients: &Clients,
    journal: &Arc<dyn Journal>,
    (keys, tls): (VerificationKeys, &Option<watch::Receiver<Tls>>),
    supervisor: &Supervisor,
    clock: &Arc<dyn Clock>,
) -> (Health, HealthReporter) {
    let reporter = HealthReporter::new();
    let certificate = tls.clone().map(|tls| Arc::new(Shown(tls)) as _);
    let (journal, failure) = (Arc::clone(journal) as _, supervisor.failure());
    let health =
        Health::new(reporter.clone(), clients.clone(), journal, (keys, certificate), failure, Arc::clone(clock));
    (health, reporter)
}

/// Counts newcomers that find the places of a listener taken, and logs them as other refusals.
fn on_full(gate: Gate) -> OnFull {
    OnFull::new(move |address, why| {
        gate.holder(&SubscribeScope::OPEN, address)
            .refused(&gate::Error::Unserved(Unserved::Connections, Arc::clone(why)));
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
