//! Watches what must live as long as the service does. What ends before it was asked to, or panics, is a line in the log
//! and the end of the service: a process that goes on with a part missing serves some and tells nobody.
//!
//! It knows names and ends, and nothing of what the workers do.

use std::{future::pending, pin::pin, sync::Arc};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{sync::watch, task::coop::unconstrained};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::worker::{Exit, Worker};

/// A worker that ended by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the worker `{worker}` {}", how(.exit))]
pub struct Failure {
    worker: Arc<str>,
    exit: Exit,
}

fn how(exit: &Exit) -> &'static str {
    match exit {
        Exit::Ended => "ended before it was asked to",
        Exit::Panicked => "panicked",
    }
}

/// All workers that are watched.
#[derive(Debug, Clone, Default)]
pub struct Workers(Arc<Mutex<Vec<Worker>>>);

impl Workers {
    /// Their names, in the order in which they were started.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().iter().map(|worker| worker.name().to_owned()).collect()
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<Worker> {
        self.0.lock().iter().find(|worker| worker.name() == name).cloned()
    }
}

/// Watches workers while it is asked to do something else meanwhile.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    workers: Workers,
    ends: FuturesUnordered<BoxFuture<'static, Option<Failure>>>,
    first: Option<Failure>,
    told: watch::Sender<Option<Arc<str>>>,
}

impl Supervisor {
    /// All that is watched.
    pub(super) fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// What failed first, for whoever is asked how the service is.
    pub(super) fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.told.subscribe()
    }

    /// Watches `worker`, which may end when `asked` is cancelled. A panic is a failure then, too.
    pub(super) fn watch(&mut self, worker: Worker, asked: &CancellationToken) {
        self.workers.0.lock().push(worker.clone());
        let asked = asked.clone();
        let end = async move {
            let name = Arc::from(worker.name());
            let exit = worker.ended().await;
            let failed = exit == Exit::Panicked || !asked.is_cancelled();
            failed.then_some(Failure { worker: name, exit })
        };
        self.ends.push(end.boxed());
    }

    /// Runs `work` on `tasks`, and watches it.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        tasks: &TaskTracker,
        asked: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.watch(Worker::spawn(name, tasks, work), asked);
    }

    /// Does `work` until it is done or something failed.
    pub(super) async fn until_failure(&mut self, work: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            failure = next(&mut self.ends) => self.note(failure),
            () = work => {}
        }
    }

    /// Does `work`, whatever fails meanwhile.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                failure = next(&mut self.ends) => self.note(failure),
                done = &mut work => return done,
            }
        }
    }

    /// What failed first, if something did.
    pub(super) fn outcome(mut self) -> Result<(), Failure> {
        // What ended last may not have been looked at yet.
        while let Some(failure) = unconstrained(next(&mut self.ends)).now_or_never() {
            self.note(failure);
        }
        self.first.map_or(Ok(()), Err)
    }

    fn note(&mut self, failure: Failure) {
        tracing::error!(worker = %failure.worker, "{failure}; the service shuts down");
        if self.first.is_none() {
            self.told.send_replace(Some(format!("{failure}; the service shuts down").into()));
            self.first = Some(failure);
        }
    }
}

/// The next failure.
async fn next(ends: &mut FuturesUnordered<BoxFuture<'static, Option<Failure>>>) -> Failure {
    loop {
        match ends.next().await {
            Some(Some(failure)) => return failure,
            // It ended as it should.
            Some(None) => {}
            None => pending().await,
        }
    }
}
