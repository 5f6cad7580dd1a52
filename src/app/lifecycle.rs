//! The service's lifecycle: what it waits for before it serves, and the order in which its parts end.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::{grpc, supervisor::Supervisor},
    egress::Sessions,
    gate::Issuer,
    journal::Follow,
    ops::{Health, Phase},
    reload::{Reloadable, Watched},
    worker::Worker,
};

/// The tasks of the service, by the order in which they end.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    /// Cancelled first: nothing new comes in.
    pub(super) draining: CancellationToken,
    /// Publishes that began.
    pub(super) in_hand: TaskTracker,
    /// Cancelled when they are through: the broker finishes its queue.
    pub(super) closing: CancellationToken,
    /// Cancelled when nothing more is committed: the fan-outs deliver what was.
    pub(super) committed: CancellationToken,
    /// Broker and fan-outs.
    pub(super) deliveries: TaskTracker,
    /// Subscribers' sessions.
    pub(super) sessions: TaskTracker,
    /// Cancelled last: until then whoever asks is told that the service goes away.
    pub(super) stopping: CancellationToken,
    /// Listeners and their connections.
    pub(super) servers: TaskTracker,
}

impl Lifecycle {
    /// Follows the files of `value` as long as there are listeners.
    pub(super) fn follow<S: Reloadable<Value: Send + Sync, Error: Send> + Send + Sync + 'static>(
        &self,
        name: &'static str,
        value: Watched<S>,
        supervisor: &mut Supervisor,
    ) -> watch::Receiver<S::Value> {
        let current = value.watch();
        let stopping = self.stopping.clone();
        let following = async move {
            stopping.run_until_cancelled(value.follow()).await;
        };
        supervisor.spawn(name, &self.servers, &self.stopping, following);
        current
    }

    /// Fetches an issuer's keys, and follows them as long as there are listeners. Gives what ends with the first time.
    pub(super) fn fetch_keys(&self, issuer: Issuer, supervisor: &mut Supervisor) -> oneshot::Receiver<()> {
        let (fetched, first_time) = oneshot::channel();
        let stopping = self.stopping.clone();
        let fetching = async move {
            let worked = issuer.try_refresh().await;
            // Whoever waits may have given up: the service is on its way out.
            let _ = fetched.send(());
            issuer.follow(worked).await;
        };
        let fetching = async move {
            stopping.run_until_cancelled(fetching).await;
        };
        supervisor.spawn("issuer", &self.servers, &self.stopping, fetching);
        first_time
    }

    /// Says that the service serves, until `shutdown` is complete or something failed. Nobody is let in before the issuer's
    /// keys were `fetched`, for their tokens need them; if that failed, there are other keys and other times.
    pub(super) async fn serve(
        &self,
        fetched: Option<oneshot::Receiver<()>>,
        health: &Health,
        shutdown: impl Future<Output = ()>,
        supervisor: &mut Supervisor,
    ) {
        let serving = async {
            let mut shutdown = pin!(shutdown);
            if let Some(fetched) = fetched {
                tokio::select! {
                    biased;
                    () = &mut shutdown => return,
                    _ = fetched => {}
                }
            }
            health.enter(Phase::Serving, grpc::SERVICE).await;
            tracing::info!("serving");
            shutdown.await;
        };
        supervisor.until_failure(serving).await;
        tracing::info!("shutting down");
        health.enter(Phase::Draining, grpc::SERVICE).await;
    }

    /// Ends in the order of the flow: what is in hand is taken, what is accepted is delivered, and then the subscribers are
    /// told. A stage that does not end in its share of the grace time is left behind.
    /// Gives what is left of that time.
    pub(super) async fn end(
        &self,
        grace: Duration,
        publishing: Worker,
        journal: &dyn Follow,
        sessions: &Sessions,
    ) -> Duration {
        let begin = Instant::now();
        let stage = async |name, percent, work: Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
            if timeout(grace * percent / 100, work).await.is_err() {
                tracing::warn!(stage = name, "did not end in its share of the grace time");
            }
        };
        self.draining.cancel();
        self.in_hand.close();
        stage("publishes in hand", 35, Box::pin(self.in_hand.wait())).await;
        self.closing.cancel();
        stage("queue", 20, Box::pin(async { _ = publishing.ended().await })).await;
        self.committed.cancel();
        journal.end_commit_streams();
        self.deliveries.close();
        stage("deliveries", 15, Box::pin(self.deliveries.wait())).await;
        self.sessions.close();
        let sending_away = async {
            sessions.close_all().await;
            self.sessions.wait().await;
        };
        stage("sessions", 15, Box::pin(sending_away)).await;
        self.stopping.cancel();
        self.servers.close();
        stage("answers", 10, Box::pin(self.servers.wait())).await;
        tracing::info!("ended");
        grace.saturating_sub(begin.elapsed())
    }
}
