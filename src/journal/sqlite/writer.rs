//! The thread that writes: takes what waits, commits it together, and only then lets anyone know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::{
    domain::{Delivery, Durability, Epoch, Notification, Seq},
    journal::{
        Bounds, Error, Options, Outcome,
        clock::Clock,
        sqlite::{
            failure,
            keys::Keys,
            queue::{Job, Next, Queue},
            record,
            retention::Retention,
            schema::{self, Lock},
            shared::Shared,
        },
    },
};

/// How long the writer waits for work before it looks after the file.
const IDLE: Duration = Duration::from_secs(1);

/// How many notifications retention lets go of in one step, beyond as many as the step appends.
const STEP: usize = 256;

/// How many pages the write-ahead log may have before they are carried over into the file.
const CHECKPOINT_PAGES: i32 = 4_096;

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    clock: Clock,
    promise: Durability,
    /// What the connection does at a commit at present.
    level: Durability,
    retention: Retention,
    keys: Keys,
    place: Place,
    /// How many pages the write-ahead log has, and with how many it is carried over.
    log_pages: Arc<AtomicI32>,
    checkpoint_at: i32,
    _lock: Lock,
}

/// Where the file ends. A transaction works on a copy, which counts only when it is committed.
#[derive(Debug, Clone, Copy)]
struct Place {
    oldest: Seq,
    newest: Seq,
    /// When the newest notification was appended: later ones are not older.
    at: DateTime<Utc>,
    keys: usize,
}

impl Writer {
    /// Takes over an open file.
    pub(super) fn new(
        mut connection: Connection,
        lock: Lock,
        options: &Options,
        queue: Arc<Queue>,
        clock: Clock,
    ) -> Result<(Self, Arc<Shared>), Error> {
        let log_pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&log_pages);
        let count = move |_: &mut rusqlite::hooks::Wal, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(count)).map_err(|error| failure(&error))?;
        let (epoch, place) = Place::read(&connection).map_err(|error| failure(&error))?;
        let shared = Arc::new(Shared::new(epoch, place.bounds(), options.memory_bytes.get()));
        let writer = Self {
            connection,
            queue,
            shared: Arc::clone(&shared),
            clock,
            promise: options.durability.into(),
            level: Durability::Fsync,
            retention: options.into(),
            keys: options.into(),
            place,
            log_pages,
            checkpoint_at: CHECKPOINT_PAGES,
            _lock: lock,
        };
        Ok((writer, shared))
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // Whoever waits when this thread ends, however it ends, must not wait for ever.
        let _abandon = Abandon(Arc::clone(&self.queue), Arc::clone(&self.shared));
        loop {
            match self.queue.next(IDLE) {
                Next::Commit(jobs) => self.append(jobs),
                Next::Idle => self.tidy(),
                Next::End => break,
            }
            self.carry_over();
        }
        self.checkpoint("TRUNCATE");
    }

    /// Commits what waits, hands it on, and answers.
    fn append(&mut self, jobs: Vec<Job>) {
        match self.commit(&jobs) {
            Ok((outcomes, place)) => {
                self.place = place;
                if self.shared.recover() {
                    tracing::info!("the journal can be written to again");
                }
                self.hand_on(jobs, outcomes);
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

    /// Writes all entries of `jobs` in one transaction. On an error the file and this writer are as before.
    fn commit(&mut self, jobs: &[Job]) -> rusqlite::Result<(Vec<Outcome>, Place)> {
        let entries = || jobs.iter().flat_map(|job| &job.entries);
        let asked = entries().map(|entry| entry.durability).max().unwrap_or(Durability::Process);
        let level = asked.clamp(Durability::Process, self.promise);
        self.set_level(level)?;
        let mut place = self.place;
        place.at = jobs.iter().map(|job| job.now).fold(place.at, DateTime::max);
        let transaction = self.connection.unchecked_transaction()?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO notifications (seq, appended_at, expires_at, audiences, name, source, timestamp, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut index =
            transaction.prepare_cached("INSERT INTO places (audience, seq, expires_at) VALUES (?1, ?2, ?3)")?;
        place.keys -= self.keys.expire(&transaction, place.keys, place.at)?;
        let mut outcomes = Vec::with_capacity(entries().count());
        for entry in entries() {
            let seq = place.newest + 1;
            if let Some((key, fingerprint)) = &entry.key {
                if let Some(outcome) = self.keys.claim(&transaction, key, fingerprint, seq, place.at)? {
                    outcomes.push(outcome);
                    continue;
                }
                place.keys += 1;
            }
            let seq_column = seq as i64;
            let expires_at = entry.expires_at.map(record::millis);
            let audiences = record::keys(&entry.audiences);
            let event = &entry.event;
            insert.execute((
                seq_column,
                record::millis(place.at),
                expires_at,
                &audiences,
                &event.name,
                &event.source,
                &event.timestamp,
                event.payload.as_bytes().as_ref(),
            ))?;
            for key in record::split(&audiences) {
                index.execute((key, seq_column, expires_at))?;
            }
            place.newest = seq;
            outcomes.push(Outcome::Appended(seq, level));
        }
        let bounds = (place.oldest, place.newest);
        place.oldest = self.retention.apply(&transaction, bounds, place.at, STEP + 2 * outcomes.len())?;
        drop((insert, index));
        transaction.commit()?;
        Ok((outcomes, place))
    }

    /// Lets followers and readers have what was committed, then those who asked for it their answers.
    fn hand_on(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        let mut outcomes = outcomes.into_iter();
        let mut notifications = Vec::new();
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let own: Vec<_> = outcomes.by_ref().take(job.entries.len()).collect();
            for (entry, outcome) in job.entries.into_iter().zip(&own) {
                if let Outcome::Appended(seq, _) = *outcome {
                    let epoch = self.shared.epoch.clone();
                    let notification = Notification::new(epoch, seq, entry.event, entry.audiences, entry.expires_at);
                    notifications.push(Arc::new(notification));
                }
            }
            answers.push((job.reply, own));
        }
        self.shared.committed(self.place.at, &notifications, self.place.oldest);
        if !notifications.is_empty() {
            self.shared.tails.send_blocking(&notifications.into_iter().map(Delivery::Notification).collect());
        }
        for (reply, own) in answers {
            // Whoever asked may be gone; what was appended stays.
            let _ = reply.send(Ok(own));
        }
    }

    /// Lets the oldest go that are too old by now, and tries whether a file that could not be written to is well again.
    fn tidy(&mut self) {
        let now = self.clock.now().max(self.place.at);
        let degraded = self.shared.is_degraded();
        if degraded {
            // Pages that are carried over make room in the log, where the disk has none.
            self.checkpoint("PASSIVE");
        }
        let tidied = self.set_level(Durability::Process).and_then(|()| {
            let transaction = self.connection.unchecked_transaction()?;
            let bounds = (self.place.oldest, self.place.newest);
            let oldest = self.retention.apply(&transaction, bounds, now, STEP)?;
            if degraded {
                transaction.execute("UPDATE journal SET oldest = ?1", [oldest as i64])?;
            }
            let keys = self.keys.expire(&transaction, self.place.keys, now)?;
            transaction.commit()?;
            Ok((oldest, keys))
        });
        match tidied {
            Ok((oldest, keys)) => {
                self.place.keys -= keys;
                self.place.oldest = oldest;
                self.shared.committed(now, &[], oldest);
                if self.shared.recover() {
                    tracing::info!("the journal can be written to again");
                }
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

    /// Carries the write-ahead log over into the file when it has grown. Where a reader still needs it, it grows on, and the
    /// next try comes as much later.
    fn carry_over(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages >= self.checkpoint_at {
            self.checkpoint("PASSIVE");
            self.checkpoint_at = pages.saturating_add(CHECKPOINT_PAGES);
        } else if pages < CHECKPOINT_PAGES {
            self.checkpoint_at = CHECKPOINT_PAGES;
        }
    }

    fn checkpoint(&self, mode: &str) {
        if let Err(error) = schema::checkpoint(&self.connection, mode) {
            self.complain(&failure(&error));
        }
    }

    fn complain(&self, error: &Error) {
        let reason = error.to_string();
        if self.shared.degrade(&reason) {
            tracing::error!(reason, "the journal cannot be written to; publishes fail until it can");
        }
    }
}

impl Place {
    fn read(connection: &Connection) -> rusqlite::Result<(Epoch, Self)> {
        let (epoch, oldest) = connection.query_row("SELECT epoch, oldest FROM journal", [], |row| {
            Ok((Epoch::from_text(row.get_ref(0)?.as_str()?), row.get::<_, i64>(1)? as Seq))
        })?;
        let newest = "SELECT seq, appended_at FROM notifications ORDER BY seq DESC LIMIT 1";
        let newest = connection.query_row(newest, [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        let (newest, at) = match newest {
            Ok((newest, at)) => (newest as Seq, at),
            Err(rusqlite::Error::QueryReturnedNoRows) => (oldest - 1, 0),
            Err(error) => return Err(error),
        };
        let at = DateTime::from_timestamp_millis(at).unwrap_or_default();
        let keys = connection.query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0))? as usize;
        Ok((epoch, Self { oldest, newest, at, keys }))
    }

    fn bounds(&self) -> Bounds {
        Bounds { oldest: self.oldest, newest: self.newest }
    }
}

/// Lets go of whoever waits for the writer, when that is dropped.
struct Abandon(Arc<Queue>, Arc<Shared>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
        if std::thread::panicking() {
            self.1.degrade("the journal's writer ended; start the service again");
        }
    }
}
