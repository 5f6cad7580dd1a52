//! The thread that writes: takes what waits, commits it together, and only then lets anyone know.

mod upkeep;

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
    heap,
    journal::{
        Entry, Error, Options, Outcome,
        aging::{Aging, Hold},
        faults::{FaultKind, Faults},
        idempotency::KeyWindow,
        log::millis,
        sqlite::{
            ack_watermark::AckWatermark,
            boot_id,
            commit::{Before, STEP, Terms, Tip, Written},
            damage::Damage,
            failure,
            files::Files,
            index::PendingIndex,
            keys::KeyTable,
            mending,
            opening::Opened,
            queue::{Job, NextJob, Queue},
            read_gate::ReadGate,
            recent::{self, RecentRows},
            retention::{self, Retention},
            schema,
            shared::Shared,
        },
    },
    worker::Lifeline,
};

/// How long the writer waits for work before it looks after the file.
const IDLE: Duration = Duration::from_secs(1);

/// How long it waits when it only waits for those who read to come to an end.
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct JournalWriter {
    connection: Connection,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    aging: Aging,
    /// How much of a hold the file knows of.
    noted_hold: Hold,
    promise: Durability,
    /// What the connection does at a commit at present.
    level: Durability,
    /// It is noted in the file that there may be commits that were not synced.
    unsynced: bool,
    /// The file has the layout, the epoch and the rest of what a start writes.
    settled: bool,
    /// The connection is one that writes.
    can_write: bool,
    retention: Retention,
    tip: Tip,
    keys: KeyWindow,
    key_table: KeyTable,
    pending_index: PendingIndex,
    ack_watermark: Option<AckWatermark>,
    read_gate: Arc<ReadGate>,
    /// How many pages the write-ahead log has that the file may lack, with how many it is to be carried over, and with how many
    /// the next time.
    log_pages: Arc<AtomicI32>,
    max_log_pages: i32,
    log_bytes: u64,
    checkpoint_at: i32,
    /// The disk failed since the log was synced: what was written to it may not be there.
    log_is_suspect: bool,
    /// When the files were looked at.
    looked_at: Duration,
    /// Goes after the connection.
    files: Files,
}

impl JournalWriter {
    /// Takes over an open file.
    pub(super) fn new(
        files: Files,
        opened: Opened,
        options: &Options,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Arc<Shared>), Error> {
        let Opened { connection, access, epoch, unwritable } = opened;
        let failed = |error: rusqlite::Error| failure(&error);
        let (tip, held) = Tip::read(&connection)?;
        let faults = Arc::new(Faults::new(Arc::clone(&clock)));
        let damage = Damage::read(&connection, &faults).map_err(failed)?;
        let RecentRows { log, unindexed, cut_off } =
            recent::read(&connection, &epoch, tip.bounds(), Shared::limits(options))?;
        mending::index(&connection, &epoch, &damage, &faults, cut_off)?;
        let (keys, key_table) = read_keys(&connection, options).map_err(failed)?;
        let life = Arc::clone(keys.life());
        let shared = Arc::new(Shared::new(epoch, tip.bounds(), log, life, (faults, damage)));
        let max_log_pages = schema::max_log_pages(&connection, retention::log_bytes(options)).map_err(failed)?;
        let reached_at = Some(tip.reached_at).filter(|reached_at| *reached_at > i64::MIN);
        let mut writer = Self {
            connection,
            queue,
            shared: Arc::clone(&shared),
            aging: Aging::new(Arc::clone(&clock), reached_at, held),
            noted_hold: held,
            looked_at: clock.monotonic(),
            clock,
            promise: options.durability.into(),
            level: Durability::Fsync,
            unsynced: false,
            settled: unwritable.is_none(),
            can_write: access.can_write(),
            retention: options.into(),
            tip,
            keys,
            key_table,
            pending_index: PendingIndex::new(&unindexed, options.memory_bytes.get() / 2),
            ack_watermark: None,
            read_gate: Arc::new(ReadGate::new(access)),
            log_pages: Arc::default(),
            max_log_pages,
            log_bytes: retention::log_bytes(options),
            checkpoint_at: max_log_pages,
            log_is_suspect: false,
            files,
        };
        writer.count_log_pages().map_err(failed)?;
        writer.look_at_clock();
        if let Some(error) = unwritable {
            writer.complain(&error);
        }
        Ok((writer, shared))
    }

    /// Who admits those who read the file.
    pub(super) fn read_gate(&self) -> &Arc<ReadGate> {
        &self.read_gate
    }

    /// Lets the database say how long its log is.
    fn count_log_pages(&mut self) -> rusqlite::Result<()> {
        let counter = Arc::clone(&self.log_pages);
        let count = move |_: &mut rusqlite::hooks::Wal, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        };
        self.connection.wal_hook(Some(count))
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, lifeline: &Lifeline) {
        // Whoever waits when this thread ends, however it ends, must not wait for ever.
        let (queue, shared) = (Arc::clone(&self.queue), Arc::clone(&self.shared));
        let _abandon = Abandon { queue, shared, read_gate: Arc::clone(&self.read_gate) };
        let mut carried_over = true;
        loop {
            let next = self.queue.next(if carried_over { IDLE } else { MOMENT });
            lifeline.failpoint();
            match next {
                NextJob::Commit(jobs) => self.append(jobs),
                NextJob::Idle => {
                    if carried_over {
                        self.tidy();
                    }
                    heap::give_back();
                }
                NextJob::End => break,
            }
            carried_over = self.carry_over();
        }
        self.end();
    }

    /// Commits what waits, hands it on, and answers.
    fn append(&mut self, mut jobs: Vec<Job>) {
        let counts: Vec<_> = jobs.iter().map(|job| job.entries.len()).collect();
        let asked = jobs.iter().flat_map(|job| &job.entries).map(|entry| entry.durability).max();
        let level = asked.unwrap_or(Durability::Process).clamp(Durability::Process, self.promise);
        let entries = jobs.iter_mut().flat_map(|job| mem::take(&mut job.entries));
        let committed = self.look_at_files().and_then(|()| self.commit(entries, level));
        // Files that are gone have been complained of.
        if let Err(error) = &committed
            && !self.shared.faults.has(FaultKind::File)
        {
            self.suspect(error);
        }
        match committed {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (job, count) in jobs.into_iter().zip(counts) {
                    // Whoever asked may be gone; what was appended stays.
                    let _ = job.reply.send(Ok(outcomes.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                for job in jobs {
                    // Whoever asked may be gone.
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Writes `entries` in one transaction at `level`, and lets followers and readers have what was committed. On an error the
    /// file and this writer are as before.
    fn commit(&mut self, entries: impl Iterator<Item = Entry>, level: Durability) -> Result<Vec<Outcome>, Error> {
        let now = self.clock.wall();
        let old_at = self.look_at_clock();
        let writing = self.shared.faults.writing();
        self.settle()?;
        let committed = self.write(entries, level, now, old_at).map_err(|error| failure(&error));
        // Those who wait for a slow follower do not wait for the disk.
        drop(writing);
        if matches!(committed, Err(Error::Damaged(_))) {
            // Of what a commit reads and can do without, the keys that are gone are all that is left.
            self.key_table.rest();
        }
        let CommitOutcome { tip, notifications, outcomes } = committed?;
        self.hand_on(tip, now, notifications);
        Ok(outcomes)
    }

    fn write(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        level: Durability,
        now: DateTime<Utc>,
        old_at: Option<DateTime<Utc>>,
    ) -> rusqlite::Result<CommitOutcome> {
        if level < Durability::Fsync && !self.unsynced {
            self.set_level(Durability::Fsync)?;
            boot_id::note_unsynced(&self.connection)?;
            self.unsynced = true;
        }
        self.set_level(level)?;
        let aged = self.aged(old_at)?;
        let transaction = self.begin()?;
        let indexing = self.pending_index.is_full();
        if indexing {
            self.pending_index.write(&transaction, self.tip.oldest)?;
        }
        let ended = self.keys.ended(old_at);
        let (tip, key_table) = (self.tip, self.key_table.clone());
        let before = Before { epoch: &self.shared.epoch, tip, keys: &self.keys, key_table };
        let terms = Terms { now, level, ended, aged };
        let written = self.retention.write(&transaction, entries, before, terms)?;
        let hold = self.note_hold(&transaction)?;
        transaction.commit()?;
        self.noted_hold = hold;
        self.files.remember_log();
        if indexing {
            self.pending_index.clear();
        }
        let Written { outcomes, notifications, tip, keys, key_table } = written;
        self.pending_index.extend(&notifications);
        self.key_table = key_table;
        self.keys.expire(ended, STEP + 2 * outcomes.len());
        self.keys.commit(keys, ended, now, self.clock.monotonic());
        Ok(CommitOutcome { tip, notifications, outcomes })
    }

    /// Lets followers and readers have what was committed.
    fn hand_on(&mut self, tip: Tip, now: DateTime<Utc>, notifications: Vec<Arc<Notification>>) {
        self.tip = tip;
        if self.shared.faults.set(FaultKind::Write, None) {
            tracing::info!("the journal can be written to again");
        }
        self.shared.committed((millis(now), tip.reached_at), &notifications, tip.oldest, self.pending_index.len());
        if !notifications.is_empty() {
            self.note_acknowledged();
            self.shared.fanout.send_blocking(&notifications.into_iter().map(Delivery::from).collect());
        }
    }

    fn complain(&self, error: &Error) {
        let reason = error.to_string();
        if self.shared.faults.set(FaultKind::Write, Some(&reason)) {
            tracing::error!(reason, "the journal cannot be written to; publishes fail until it can");
        }
    }
}

/// The keys that the file has.
fn read_keys(connection: &Connection, options: &Options) -> rusqlite::Result<(KeyWindow, KeyTable)> {
    let mut keys = KeyWindow::new(options);
    let (table, damaged) = KeyTable::read(connection, &mut keys)?;
    if damaged > 0 {
        let rows = damaged;
        tracing::warn!(
            rows,
            "idempotency keys in the journal are damaged; a retry under one of them is published again"
        );
    }
    Ok((keys, table))
}

/// What a commit made.
struct CommitOutcome {
    tip: Tip,
    notifications: Vec<Arc<Notification>>,
    outcomes: Vec<Outcome>,
}

/// Lets go of whoever waits for the writer, when this is dropped.
struct Abandon {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    read_gate: Arc<ReadGate>,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        self.queue.abandon();
        self.read_gate.resume();
        if std::thread::panicking() {
            self.shared.faults.set(FaultKind::Write, Some("the journal's writer ended; start the service again"));
        }
    }
}
