//! The journal in a file of the embedded database: what it acknowledged is on disk.
//!
//! One thread of its own writes; appends that wait together are committed together, with one fsync. The newest
//! notifications are also held in memory and read from there, older ones by index on threads that never wait for the writer
//! nor make it wait, and that let live delivery go first. What retention lets go leaves in small steps that ride in the commits
//! of what comes; its pages are used again, so the file stops growing, but never shrinks by itself.

mod access;
mod ack_watermark;
mod archive;
mod batch_row;
mod boot_id;
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
mod read_gate;
mod reader;
mod recent;
mod record;
mod retention;
mod schema;
mod shared;
mod snapshots;
mod threads;
mod tools;
mod walk;
mod writer;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::ErrorCode;
use tokio::task::spawn_blocking;

pub use tools::{JournalTool, JournalToolError};

use crate::{
    clock::Clock,
    domain::{Audience, Delivery, Ephemeral, Epoch, Interest, Seq},
    journal::{
        Answer, Append, Attend, Attendance, Bounds, CommitStream, Condition, Entry, Error, Follow, Incarnation,
        Journal, Options, Page, Query, Read, Relay,
        sqlite::{
            files::Files, queue::Queue, reader::Readers, shared::Shared, threads::Threads, writer::JournalWriter,
        },
    },
    worker::Worker,
};

/// A journal that survives the process and the machine. Its epoch lives in the file.
#[derive(Debug)]
pub struct Sqlite {
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

impl Sqlite {
    /// Opens the journal in the data directory and takes the directory for this process. Reads the disk, but not all of
    /// the journal.
    pub fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let files = Files::take(&options.data_dir)?;
        let path = files.path();
        let opened = opening::open(&files, !options.no_copy)?;
        let queue = Arc::new(Queue::new());
        let (writer, shared) = JournalWriter::new(files, opened, options, Arc::clone(&queue), Arc::clone(&clock))?;
        let (readers, mut workers) = Readers::open(&path, &shared, writer.read_gate())?;
        let (worker, thread) = Worker::start_thread("journal", move |lifeline| writer.run(lifeline))?;
        workers.insert(0, worker);
        let threads = Arc::new(Threads::new(queue, readers, thread, workers));
        Ok(Self { clock, shared, threads })
    }
}

#[async_trait]
impl Journal for Sqlite {
    fn workers(&self) -> Vec<Worker> {
        self.threads.workers()
    }

    async fn close(&self) -> Result<(), Error> {
        let threads = Arc::clone(&self.threads);
        // Whoever does not wait any longer leaves it to the thread that has it, and what that holds to the end of the process.
        spawn_blocking(move || threads.end()).await.map_err(|panic| Error::Io(panic.to_string()))
    }
}

impl Incarnation for Sqlite {
    fn epoch(&self) -> Epoch {
        self.shared.epoch.clone()
    }
}

#[async_trait]
impl Append for Sqlite {
    async fn append(&self, entries: Vec<Entry>) -> Result<Answer, Error> {
        let epoch = self.epoch();
        if entries.is_empty() {
            return Ok(Answer { epoch, outcomes: Vec::new() });
        }
        let appended = self.threads.queue.push(entries).await?;
        let outcomes = appended.await.unwrap_or(Err(Error::Closed))?;
        Ok(Answer { epoch, outcomes })
    }
}

#[async_trait]
impl Relay for Sqlite {
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error> {
        self.shared.fanout.send(Arc::new([Delivery::Ephemeral(Arc::new(frame))])).await;
        Ok(())
    }
}

impl Follow for Sqlite {
    fn commit_stream(&self) -> CommitStream {
        self.shared.fanout.follow()
    }

    fn end_commit_streams(&self) {
        self.shared.fanout.end();
    }
}

#[async_trait]
impl Attend for Sqlite {
    async fn attend(&self, _: &[Interest], _: Option<Seq>) -> Result<Attendance, Error> {
        Ok(Attendance::to_everything(self.epoch(), self.bounds()))
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
            (recent, Some(held)) => self.threads.readers.read(query, recent, held, now).await,
        }
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        let now = self.clock.wall();
        match self.shared.count(&audiences, after, until, now) {
            (count, None) => Ok(count),
            (recent, Some(held)) => {
                let positions = after.saturating_add(1)..until.saturating_add(1).min(held);
                Ok(recent + self.threads.readers.count(audiences, positions, now).await?)
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
