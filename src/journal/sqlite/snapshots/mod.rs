//! The threads that read the file, each over a connection of its own: those who wait are served from one snapshot.
//!
//! The database forgets what a connection holds of the file as soon as somebody has written to it, so a snapshot for each
//! read would begin with the index anew each time. A crowd that comes back shares one instead.

#[cfg(test)]
mod tests;

use std::{
    ffi::c_int,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, Transaction};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout},
};

use crate::{
    domain::Seq,
    heap,
    journal::{
        Error,
        sqlite::{
            access::Access,
            failure, index, opening,
            read_gate::{ReadGate, ReadGuard},
        },
    },
    worker::{Lifeline, Worker},
};

/// How long a thread waits for a job before it looks whether it can give memory back.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// How many reads go on at the same time, at the most; a crowd is through no sooner with more. A processor is left to live
/// delivery, where there are several: with as many threads as processors, whoever is delivered to meanwhile waits longer.
const MAX_THREADS: usize = 4;

/// How often a read lets others go first, in instructions of the database's virtual machine: a few look-ups, some fifty
/// microseconds.
const BREAK: c_int = 50;

/// How much the system is to prefer other threads, from 0 to 19: a tenth of a processor is left to reads that compete with
/// publishing for all of it. With 15 they had a thirtieth, and whoever resumed waited half a second; nobody was delivered to sooner.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How many reads may wait; further ones wait for a position.
const CAPACITY: usize = 64;

/// How long a snapshot is used, and the read to its end that it is used for then: what is written meanwhile is not in it.
const LIFETIME: Duration = Duration::from_millis(20);

/// How long whoever asks waits for an answer: a disk that hangs holds up nobody for good.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a read does with the snapshot, if one could be taken.
type Work = Box<dyn FnOnce(Result<&Transaction<'_>, Error>) + Send>;

/// A read on its way.
struct Job {
    /// The snapshot must know all notifications before this position by their index.
    before: Seq,
    work: Work,
    _place: OwnedSemaphorePermit,
}

/// Takes reads in, and has threads do them on snapshots that they share.
#[derive(Debug)]
pub(super) struct Snapshots {
    positions: Arc<Semaphore>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Snapshots {
    /// Gives the threads' handles, too.
    pub(super) fn open(path: &Path, read_gate: &Arc<ReadGate>) -> Result<(Self, Vec<Worker>), Error> {
        let (sender, jobs) = sync_channel(CAPACITY);
        let jobs = Arc::new(Mutex::new(jobs));
        let start = |number| {
            let reader = Reader::open(path, read_gate.enter().access)?;
            let (read_gate, jobs) = (Arc::clone(read_gate), Arc::clone(&jobs));
            let work = move |lifeline: &Lifeline| run(reader, &read_gate, &jobs, lifeline);
            Ok(Worker::start_thread(format!("journal-read-{number}"), work)?)
        };
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let started = (0..(processors - 1).clamp(1, MAX_THREADS)).map(start).collect::<Result<Vec<_>, Error>>()?;
        let (workers, threads) = started.into_iter().unzip();
        let positions = Arc::new(Semaphore::new(CAPACITY));
        Ok((Self { positions, jobs: Mutex::new(Some(sender)), threads: Mutex::new(threads) }, workers))
    }

    /// Lets nobody read any more. Blocks until those are served who wait.
    pub(super) fn close(&self) {
        self.positions.close();
        self.jobs.lock().take();
        for thread in self.threads.lock().drain(..) {
            // One that panicked has said so, and reads no more.
            let _ = thread.join();
        }
    }

    /// Does `work` on a snapshot that has everything before the position `before`.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        before: Seq,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        timeout(PATIENCE, self.ask(before, work))
            .await
            .unwrap_or_else(|_| Err(Error::Io(format!("the file could not be read within {} s", PATIENCE.as_secs()))))
    }

    async fn ask<T: Send + 'static>(
        &self,
        before: Seq,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let position = Arc::clone(&self.positions).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let work = move |snapshot: Result<&Transaction<'_>, Error>| {
            // Whoever asked may be gone.
            if !reply.is_closed() {
                let _ = reply.send(snapshot.and_then(work));
            }
        };
        let job = Job { before, work: Box::new(work), _place: position };
        self.jobs.lock().as_ref().and_then(|jobs| jobs.try_send(job).ok()).ok_or(Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// A connection that reads.
struct Reader {
    path: PathBuf,
    access: Access,
    connection: Option<Connection>,
}

impl Reader {
    fn open(path: &Path, access: Access) -> Result<Self, Error> {
        let mut reader = Self { path: path.to_owned(), access, connection: Some(connect(path, access)?) };
        reader.rest();
        Ok(reader)
    }

    /// Lets a file go that cannot be written to while somebody has it open.
    fn rest(&mut self) {
        if !self.access.can_write() {
            self.connection = None;
        }
    }

    /// A snapshot of the file as it is now, in the way in which it is opened now.
    fn snapshot(&mut self, pass: ReadGuard) -> Result<Snapshot<'_>, Error> {
        if pass.access != self.access {
            (self.access, self.connection) = (pass.access, None);
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            closed => closed.insert(connect(&self.path, self.access)?),
        };
        Snapshot::take(connection, pass, LIFETIME).map_err(|error| failure(&error))
    }
}

fn connect(path: &Path, access: Access) -> Result<Connection, Error> {
    let mut connection = opening::open_reader(path, access)?;
    give_way(&mut connection).map_err(|error| failure(&error))?;
    Ok(connection)
}

/// Whoever is delivered to live goes before whoever catches up. A thread that just reads on would keep the processor from
/// others for as long as the system lets it, a few milliseconds.
fn give_way(connection: &mut Connection) -> rusqlite::Result<()> {
    let go_on = || {
        thread::yield_now();
        false
    };
    connection.progress_handler(BREAK, Some(go_on))
}

/// Reads until nobody can ask any more.
fn run(mut reader: Reader, read_gate: &Arc<ReadGate>, jobs: &Mutex<Receiver<Job>>, lifeline: &Lifeline) {
    // On Linux the calling thread alone has it. Where it may not be changed, reads just go on as they would without.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let mut next = wait(jobs);
    while let Some(job) = next {
        lifeline.failpoint();
        next = match reader.snapshot(read_gate.enter()) {
            Ok(snapshot) => snapshot.serve(job, jobs),
            Err(error) => {
                (job.work)(Err(error));
                None
            }
        };
        reader.rest();
        next = next.or_else(|| wait(jobs));
    }
}

/// The next job; `None` when nobody can ask any more. What a page took is let go by others, when its reader has it; so the thread
/// looks every now and then what it can give back.
fn wait(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    loop {
        let waiting = jobs.lock();
        match waiting.recv_timeout(BETWEEN_LOOKS) {
            Ok(job) => return Some(job),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => MutexGuard::unlock_fair(waiting),
        }
        heap::give_back();
    }
}

/// The file as it is at one moment.
struct Snapshot<'c> {
    transaction: Transaction<'c>,
    /// Goes after the transaction.
    pass: ReadGuard,
    /// The last position that has an index.
    indexed: Seq,
    ends: Instant,
}

impl<'c> Snapshot<'c> {
    fn take(connection: &'c Connection, pass: ReadGuard, lifetime: Duration) -> rusqlite::Result<Self> {
        let transaction = connection.unchecked_transaction()?;
        let indexed = match index::end(&transaction) {
            // Whoever walks looks through what no index tells of.
            Err(error) if matches!(failure(&error), Error::Damaged(_)) => Seq::MAX,
            indexed => indexed?,
        };
        Ok(Self { transaction, pass, indexed, ends: Instant::now() + lifetime })
    }

    /// Does `job`, and those that wait, until one comes that needs another snapshot.
    fn serve(self, job: Job, jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
        self.work(job);
        while let Some(job) = jobs.try_lock().and_then(|jobs| jobs.try_recv().ok()) {
            if !self.is_fit_for(&job) {
                return Some(job);
            }
            self.work(job);
        }
        None
    }

    fn is_fit_for(&self, job: &Job) -> bool {
        let knows_all = job.before <= self.indexed.saturating_add(1);
        // The database ends a transaction by itself when a read of it fails.
        knows_all && Instant::now() <= self.ends && !self.transaction.is_autocommit() && !self.pass.is_recalled()
    }

    /// A read that panics takes nobody along but whoever asked for it.
    fn work(&self, job: Job) {
        let _ = catch_unwind(AssertUnwindSafe(|| (job.work)(Ok(&self.transaction))));
    }
}
