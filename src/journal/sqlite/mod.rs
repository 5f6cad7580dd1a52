//! The journal in a file of the embedded database: what it acknowledged is on disk.
//!
//! One thread of its own writes; appends that wait together are committed together, with one fsync. The newest
//! notifications are also held in memory and read from there, older ones by index on threads that never wait for the writer
//! nor make it wait, and that let live delivery go first. What retention lets go leaves in small steps that ride in the commits
//! of what comes; its pages are used again, so the file stops growing, but never shrinks by itself.

mod access;
mod acknowledged;
mod admission;
mod archive;
mod block;
mod boot;
mod check;
mod checksum;
mod commit;
mod damage;
mod files;
mod index;
mod keys;
mod log_file;
mod mending;
mod opening;
mod queue;
mod reader;
mod recent;
mod record;
mod retention;
mod schema;
mod shared;
mod snapshots;
mod tools;
mod walk;
mod writer;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::ErrorCode;

pub use tools::{Tool, ToolError};

use crate::{
    clock::Clock,
    domain::{Audience, Delivery, Ephemeral, Epoch, Seq},
    journal::{
        Append, Bounds, Condition, Entry, Error, Follow, Incarnation, Options, Outcome, Page, Query, Read, Relay, Tail,
        sqlite::{files::Files, queue::Queue, reader::Readers, shared::Shared, writer::Writer},
    },
    worker::Worker,
};

/// A journal that survives the process and the machine. Its epoch lives in the file.
#[derive(Debug)]
pub struct Sqlite {
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    workers: Vec<Worker>,
}

impl Sqlite {
    /// Opens the journal in the data directory and takes the directory for this process. Reads the disk, but not all of
    /// the journal.
    pub fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let files = Files::take(&options.data_dir)?;
        let path = files.path();
        let opened = opening::open(&files, !options.no_copy)?;
        let queue = Arc::new(Queue::new());
        let (writer, shared) = Writer::new(files, opened, options, Arc::clone(&queue), Arc::clone(&clock))?;
        let (readers, mut workers) = Readers::open(&path, &shared, writer.admission())?;
        let (worker, thread) = Worker::start_thread("journal", move |lifeline| writer.run(lifeline))?;
        workers.insert(0, worker);
        Ok(Self { clock, shared, queue, readers, writer: Mutex::new(Some(thread)), workers })
    }

    /// The threads that write and read, which end when the journal is closed.
    pub fn workers(&self) -> Vec<Worker> {
        self.workers.clone()
    }

    /// Commits what waits, carries everything over into the file, and gives the data directory back. Blocks meanwhile; what
    /// is appended later is refused.
    pub fn close(&self) {
        // The last connection to the file is the writer's: it leaves no write-ahead log behind.
        self.readers.close();
        self.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has said so, and has nothing left to do.
            let _ = writer.join();
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
}

impl Incarnation for Sqlite {
    fn epoch(&self) -> Epoch {
        self.shared.epoch.clone()
    }
}

#[async_trait]
impl Append for Sqlite {
    async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Outcome>, Error> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.queue.push(entries).await?;
        appended.await.unwrap_or(Err(Error::Closed))
    }
}

#[async_trait]
impl Relay for Sqlite {
    async fn relay(&self, frame: Ephemeral) {
        self.shared.tails.send(Arc::new([Delivery::Ephemeral(Arc::new(frame))])).await;
    }
}

impl Follow for Sqlite {
    fn tail(&self) -> Tail {
        self.shared.tails.follow()
    }

    fn end_tails(&self) {
        self.shared.tails.end();
    }
}

#[async_trait]
impl Read for Sqlite {
    fn bounds(&self) -> Bounds {
        self.shared.bounds()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        let now = self.clock.wall();
        match self.shared.read(&query, now) {
            (page, None) => Ok(page),
            (recent, Some(held)) => self.readers.read(query, recent, held, now).await,
        }
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        let now = self.clock.wall();
        match self.shared.count(&audiences, after, until, now) {
            (count, None) => Ok(count),
            (recent, Some(held)) => {
                let places = after.saturating_add(1)..until.saturating_add(1).min(held);
                Ok(recent + self.readers.count(audiences, places, now).await?)
            }
        }
    }

    fn shortest_key_life(&self) -> Option<Duration> {
        self.shared.key_life.shortest(self.clock.monotonic())
    }

    fn condition(&self) -> Condition {
        self.shared.faults.condition()
    }
}

/// What a failure of the database means for the journal.
fn failure(error: &rusqlite::Error) -> Error {
    // A row that says of itself that it has other columns than it was given.
    if matches!(error, rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)) {
        return Error::Damaged(error.to_string());
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged(error.to_string()),
        _ => Error::Io(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
