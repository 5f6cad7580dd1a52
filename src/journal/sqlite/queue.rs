//! Where appends wait for the writer: those that wait together are committed together.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::journal::{Entry, Error, Outcome};

/// How many appends may wait; further ones wait for a position.
const CAPACITY: usize = 64;

/// How many entries are committed together before the rest waits for the next commit.
const MAX_COMMIT: usize = 4_096;

type Entrance = tokio::sync::Mutex<()>;

/// What became of an append.
pub(super) type Appended = Result<Vec<Outcome>, Error>;

/// An append on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entries: Vec<Entry>,
    pub(super) reply: oneshot::Sender<Appended>,
    _place: OwnedSemaphorePermit,
}

/// What the writer shall do next.
#[derive(Debug)]
pub(super) enum NextJob {
    /// Commit these together.
    Commit(Vec<Job>),
    /// Nothing came for a while.
    Idle,
    /// End: nothing comes any more, and nothing waits.
    End,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    positions: Arc<Semaphore>,
    /// Held from the first look for a position until the append has it, so that whoever came first is served first, whoever of those
    /// who wait is polled first.
    entrance: Entrance,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            positions: Arc::new(Semaphore::new(CAPACITY)),
            entrance: Entrance::default(),
        }
    }

    /// Puts entries into the queue, in the order in which the calls were first polled, and gives where the outcome will come.
    pub(super) async fn push(&self, entries: Vec<Entry>) -> Result<oneshot::Receiver<Appended>, Error> {
        let _entrance = self.entrance.lock().await;
        let position = Arc::clone(&self.positions).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (reply, appended) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Error::Closed);
        }
        waiting.jobs.push_back(Job { entries, reply, _place: position });
        self.changed.notify_one();
        Ok(appended)
    }

    /// Waits for what comes, but not longer than `patience`.
    pub(super) fn next(&self, patience: Duration) -> NextJob {
        let mut waiting = self.waiting.lock();
        if waiting.jobs.is_empty() && !waiting.closed {
            self.changed.wait_for(&mut waiting, patience);
        }
        let mut entries = 0;
        let mut jobs = Vec::new();
        while let Some(job) = waiting.jobs.front()
            && (entries == 0 || entries + job.entries.len() <= MAX_COMMIT)
        {
            entries += job.entries.len();
            jobs.extend(waiting.jobs.pop_front());
        }
        match jobs.is_empty() {
            false => NextJob::Commit(jobs),
            true if waiting.closed => NextJob::End,
            true => NextJob::Idle,
        }
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.positions.close();
        self.changed.notify_one();
    }

    /// Closes, and lets go of what waits: whoever asked for it learns that it was not done.
    pub(super) fn abandon(&self) {
        self.close();
        self.waiting.lock().jobs.clear();
    }
}
