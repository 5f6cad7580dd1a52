//! The thread that writes: takes what waits, commits it together, and only then lets anyone know.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::{
    clock::Clock,
    domain::{Delivery, Durability, Notification},
    journal::{
        Entry, Error, Options, Outcome,
        log::millis,
        sqlite::{
            acknowledged::Acknowledged,
            admission::Admission,
            boot,
            commit::{Place, Rules, STEP},
            failure,
            index::Unindexed,
            queue::{Job, Next, Queue},
            recent, retention,
            schema::{self, Lock},
            shared::Shared,
        },
    },
};

/// How long the writer waits for work before it looks after the file.
const IDLE: Duration = Duration::from_secs(1);

/// How long it waits when it only waits for those who read to come to an end.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    promise: Durability,
    /// What the connection does at a commit at present.
    level: Durability,
    /// It is noted in the file that there may be commits that were not synced.
    unsynced: bool,
    rules: Rules,
    place: Place,
    unindexed: Unindexed,
    acknowledged: Acknowledged,
    admission: Arc<Admission>,
    /// How many pages the write-ahead log has, with how many it is to be carried over, and with how many the next time.
    log_pages: Arc<AtomicI32>,
    max_log_pages: i32,
    checkpoint_at: i32,
    _lock: Lock,
}

impl Writer {
    /// Takes over an open file.
    pub(super) fn new(
        mut connection: Connection,
        lock: Lock,
        options: &Options,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Arc<Shared>), Error> {
        let log_pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&log_pages);
        let count = move |_: &mut rusqlite::hooks::Wal, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(count)).map_err(|error| failure(&error))?;
        let (epoch, place) = Place::read(&connection)?;
        let (recent, unindexed) = recent::read(&connection, &epoch, place.bounds(), Shared::limits(options))?;
        let acknowledged = Acknowledged::open(&options.data_dir, epoch.clone())?;
        let shared = Arc::new(Shared::new(epoch, place.bounds(), recent));
        let max_log_pages = schema::max_log_pages(&connection, retention::log_bytes(options));
        let max_log_pages = max_log_pages.map_err(|error| failure(&error))?;
        let writer = Self {
            connection,
            queue,
            shared: Arc::clone(&shared),
            clock,
            promise: options.durability.into(),
            level: Durability::Fsync,
            unsynced: false,
            rules: Rules { retention: options.into(), keys: options.into() },
            place,
            unindexed: Unindexed::new(&unindexed, options.memory_bytes.get() / 2),
            acknowledged,
            admission: Arc::default(),
            log_pages,
            max_log_pages,
            checkpoint_at: max_log_pages,
            _lock: lock,
        };
        Ok((writer, shared))
    }

    /// Who admits those who read the file.
    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // Whoever waits when this thread ends, however it ends, must not wait for ever.
        let (queue, shared) = (Arc::clone(&self.queue), Arc::clone(&self.shared));
        let _abandon = Abandon { queue, shared, admission: Arc::clone(&self.admission) };
        let mut carried_over = true;
        loop {
            match self.queue.next(if carried_over { IDLE } else { MOMENT }) {
                Next::Commit(jobs) => self.append(jobs),
                Next::Idle if carried_over => self.tidy(),
                Next::Idle => {}
                Next::End => break,
            }
            carried_over = self.carry_over();
        }
        self.end();
    }

    /// Leaves a file in which everything is synced, and no write-ahead log.
    fn end(&mut self) {
        if let Err(error) = self.set_level(Durability::Fsync).and_then(|()| boot::note_synced(&self.connection)) {
            self.complain(&failure(&error));
        }
        self.checkpoint("TRUNCATE");
    }

    /// Commits what waits, hands it on, and answers.
    fn append(&mut self, mut jobs: Vec<Job>) {
        let now = self.clock.wall();
        let counts: Vec<_> = jobs.iter().map(|job| job.entries.len()).collect();
        let asked = jobs.iter().flat_map(|job| &job.entries).map(|entry| entry.durability).max();
        let level = asked.unwrap_or(Durability::Process).clamp(Durability::Process, self.promise);
        let entries = jobs.iter_mut().flat_map(|job| mem::take(&mut job.entries));
        match self.commit(entries, level, now) {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (job, count) in jobs.into_iter().zip(counts) {
                    // Whoever asked may be gone; what was appended stays.
                    let _ = job.reply.send(Ok(outcomes.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                let error = failure(&error);
                self.complain(&error);
                for job in jobs {
                    // Whoever asked may be gone.
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Writes `entries` in one transaction at `level`, and lets followers and readers have what was committed. On an error the
    /// file and this writer are as before.
    fn commit(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        level: Durability,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<Vec<Outcome>> {
        if level < Durability::Fsync && !self.unsynced {
            self.set_level(Durability::Fsync)?;
            boot::note_unsynced(&self.connection)?;
            self.unsynced = true;
        }
        self.set_level(level)?;
        let transaction = self.connection.unchecked_transaction()?;
        let indexing = self.unindexed.is_full();
        if indexing {
            self.unindexed.write(&transaction, self.place.oldest)?;
        }
        let written = self.rules.write(&transaction, &self.shared.epoch, entries, self.place, (now, level))?;
        transaction.commit()?;
        if indexing {
            self.unindexed.clear();
        }
        self.unindexed.extend(&written.notifications);
        self.hand_on(written.place, now, written.notifications);
        Ok(written.outcomes)
    }

    /// Lets followers and readers have what was committed.
    fn hand_on(&mut self, place: Place, now: DateTime<Utc>, notifications: Vec<Arc<Notification>>) {
        self.place = place;
        if self.shared.recover() {
            tracing::info!("the journal can be written to again");
        }
        self.shared.committed((millis(now), place.reached_at), &notifications, place.oldest, self.unindexed.len());
        if !notifications.is_empty() {
            if let Err(error) = self.acknowledged.note(place.newest) {
                // With an older place there, less would be found after an accident; nothing is wrong with the journal.
                tracing::debug!(%error, "the newest acknowledged place could not be noted");
            }
            self.shared.tails.send_blocking(&notifications.into_iter().map(Delivery::from).collect());
        }
    }

    /// Lets the oldest go that are too old by now, and tries whether a file that could not be written to is well again.
    fn tidy(&mut self) {
        let now = self.clock.wall();
        let degraded = self.shared.is_degraded();
        // Pages that are carried over make room in the log, where the disk has none. Until they are, a small write may still
        // find some there, which says nothing about the next publish.
        if degraded && !self.checkpoint("PASSIVE") {
            return;
        }
        let tidied = self.set_level(Durability::Process).and_then(|()| {
            let transaction = self.connection.unchecked_transaction()?;
            let bounds = (self.place.oldest, self.place.newest);
            let oldest = self.rules.retention.apply(&transaction, bounds, now, STEP)?;
            if degraded {
                transaction.execute("UPDATE journal SET oldest = ?1", [oldest as i64])?;
            }
            let keys = self.rules.keys.expire(&transaction, self.place.keys, now)?;
            transaction.commit()?;
            Ok((oldest, keys))
        });
        match tidied {
            Ok((oldest, keys)) => {
                self.place.keys -= keys;
                self.hand_on(Place { oldest, ..self.place }, now, Vec::new());
            }
            Err(error) => self.complain(&failure(&error)),
        }
    }

    /// Says what a commit waits for: the disk, or only the system.
    fn set_level(&mut self, level: Durability) -> rusqlite::Result<()> {
        if self.level != level {
            let value = if level == Durability::Fsync { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", value)?;
            self.level = level;
        }
        Ok(())
    }

    /// Carries the write-ahead log over into the file when it has grown, so that the next commit begins it anew. Gives false
    /// while that waits for those who read; further ones are not admitted until then. Where it cannot be done, the next try
    /// comes when the log has grown as much again.
    fn carry_over(&mut self) -> bool {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.max_log_pages {
            self.checkpoint_at = self.max_log_pages;
        }
        if pages < self.checkpoint_at {
            return true;
        }
        let alone = self.admission.suspend();
        if alone {
            self.checkpoint("PASSIVE");
            self.checkpoint_at = pages.saturating_add(self.max_log_pages);
            self.admission.resume();
        }
        alone
    }

    /// Whether it could be done.
    fn checkpoint(&self, mode: &str) -> bool {
        let done = schema::checkpoint(&self.connection, mode);
        if let Err(error) = &done {
            self.complain(&failure(error));
        }
        done.is_ok()
    }

    fn complain(&self, error: &Error) {
        let reason = error.to_string();
        if self.shared.degrade(&reason) {
            tracing::error!(reason, "the journal cannot be written to; publishes fail until it can");
        }
    }
}

/// Lets go of whoever waits for the writer, when this is dropped.
struct Abandon {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    admission: Arc<Admission>,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        self.queue.abandon();
        self.admission.resume();
        if std::thread::panicking() {
            self.shared.degrade("the journal's writer ended; start the service again");
        }
    }
}
