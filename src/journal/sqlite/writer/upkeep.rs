//! What the writer does beside committing: it looks after the file, its log, the clock and what is old.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, config::DbConfig};

use super::JournalWriter;
use crate::{
    domain::{Durability, Seq},
    journal::{
        Error,
        aging::Hold,
        faults::FaultKind,
        sqlite::{
            ack_watermark::AckWatermark,
            boot_id,
            commit::{STEP, Tip},
            failure,
            keys::KeyTable,
            log_file,
            opening::{self, Opened},
            retention::Aged,
            schema,
        },
    },
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long those who read have to let the file go that is to be opened anew; who comes meanwhile waits.
const LET_GO_IN: Duration = Duration::from_millis(500);

/// How much of a hold may go by before the file is told: a start after a kill begins with that much more of it.
const HOLD_STEP: Duration = Duration::from_secs(5 * 60);

impl JournalWriter {
    /// Lets the oldest go that are too old by now, and tries whether a file that could not be written to is well again.
    pub(super) fn tidy(&mut self) {
        let old_at = self.look_at_clock();
        let degraded = self.shared.faults.has(FaultKind::Write);
        let _writing = self.shared.faults.writing();
        if self.look_at_files().is_err() {
            return;
        }
        if let Err(error) = self.settle() {
            return self.suspect(&error);
        }
        // Pages that are carried over make room in the log, where the disk has none. Until they are, a small write may still
        // find some there, which says nothing about the next publish.
        if degraded && !self.checkpoint("PASSIVE") {
            return;
        }
        match self.let_go(old_at, degraded) {
            Ok((oldest, key_table, hold)) => {
                (self.key_table, self.noted_hold) = (key_table, hold);
                self.hand_on(Tip { oldest, ..self.tip }, self.clock.wall(), Vec::new());
            }
            Err(error) => {
                let error = failure(&error);
                if matches!(error, Error::Damaged(_)) {
                    self.key_table.rest();
                }
                self.suspect(&error);
            }
        }
    }

    /// One step of retention by itself, which also shows whether the file can be written to, if that is `asked`.
    fn let_go(&mut self, old_at: Option<DateTime<Utc>>, asked: bool) -> rusqlite::Result<(Seq, KeyTable, Hold)> {
        self.keys.expire(self.keys.ended(old_at), 4 * STEP);
        self.set_level(Durability::Process)?;
        let aged = self.aged(old_at)?;
        let transaction = self.begin()?;
        let bounds = (self.tip.oldest, self.tip.newest);
        let oldest = self.retention.apply(&transaction, bounds, aged, STEP)?;
        if asked {
            transaction.execute("UPDATE journal SET oldest = ?1", [oldest as i64])?;
        }
        let mut key_table = self.key_table.clone();
        key_table.tidy(&transaction, &self.keys, 4 * STEP)?;
        let hold = self.note_hold(&transaction)?;
        transaction.commit()?;
        Ok((oldest, key_table, hold))
    }

    /// The oldest position that is not too old.
    pub(super) fn aged(&self, old_at: Option<DateTime<Utc>>) -> rusqlite::Result<Aged> {
        self.retention.aged(&self.connection, (self.tip.oldest, self.tip.newest), old_at)
    }

    /// Begins a transaction, with what is gone since the last one removed.
    pub(super) fn begin(&self) -> rusqlite::Result<Transaction<'_>> {
        let transaction = self.connection.unchecked_transaction()?;
        if self.retention.remove(&transaction, self.tip.oldest)? {
            return Ok(transaction);
        }
        transaction.rollback()?;
        self.connection.unchecked_transaction()
    }

    /// Looks at the clock, and gives the time at which what is old may go, if anything may.
    pub(super) fn look_at_clock(&mut self) -> Option<DateTime<Utc>> {
        let old_at = self.aging.look(self.tip.reached_at);
        self.shared.faults.set(FaultKind::Clock, self.aging.fault().as_deref());
        old_at
    }

    /// Tells the file for how long nothing goes by its age yet, now and then, and gives what it knows of that.
    pub(super) fn note_hold(&self, connection: &Connection) -> rusqlite::Result<Hold> {
        let (held, noted) = (self.aging.held(), self.noted_hold);
        let same = held.reached_at == noted.reached_at && held.left.is_zero() == noted.left.is_zero();
        if same && held.left.abs_diff(noted.left) < HOLD_STEP {
            return Ok(noted);
        }
        let milliseconds = i64::try_from(held.left.as_millis()).unwrap_or(i64::MAX);
        let sql = "UPDATE journal SET held_ms = ?1, held_for = ?2";
        connection.prepare_cached(sql)?.execute((milliseconds, held.reached_at))?;
        Ok(held)
    }

    /// Looks now and then whether the files are still there: what is written to one that is not goes nowhere.
    pub(super) fn look_at_files(&mut self) -> Result<(), Error> {
        let now = self.clock.monotonic();
        let gone = self.shared.faults.has(FaultKind::File);
        if !gone && now.saturating_sub(self.looked_at) < LOOK_EVERY {
            return Ok(());
        }
        self.looked_at = now;
        let found = self.files.look();
        if self.shared.faults.set(FaultKind::File, found.as_ref().err().map(String::as_str))
            && let Err(reason) = &found
        {
            tracing::error!(reason, "the journal's files are not those that were opened; publishes fail");
        }
        found.map_err(Error::Io)
    }

    /// Writes what the start could not write: on a disk that was full or read-only then.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.trust_log()?;
        if self.settled {
            return Ok(());
        }
        let failed = |error: rusqlite::Error| failure(&error);
        if !self.can_write {
            self.open_again()?;
        }
        boot_id::note_epoch(&self.connection, &self.shared.epoch).map_err(failed)?;
        self.settled = true;
        Ok(())
    }

    /// Opens the file in a way in which it can be written to. Nobody may have it open otherwise meanwhile.
    fn open_again(&mut self) -> Result<(), Error> {
        let opened = if self.read_gate.suspend_within(LET_GO_IN) {
            self.connection = Connection::open_in_memory().map_err(|error| failure(&error))?;
            opening::open_again(&self.files, &self.shared.epoch)
        } else {
            Err(Error::Io("the file cannot be written to".to_owned()))
        };
        let taken = opened.and_then(|opened| self.take_over(opened));
        self.read_gate.resume();
        taken
    }

    fn take_over(&mut self, Opened { connection, access, unwritable, .. }: Opened) -> Result<(), Error> {
        self.connection = connection;
        self.read_gate.set_access(access);
        if let Some(error) = unwritable {
            return Err(error);
        }
        self.level = Durability::Fsync;
        self.can_write = access.can_write();
        schema::max_log_pages(&self.connection, self.log_bytes).map_err(|error| failure(&error))?;
        self.count_log_pages().map_err(|error| failure(&error))
    }

    /// Notes beside the file what is about to be acknowledged.
    pub(super) fn note_acknowledged(&mut self) {
        let opened = self
            .ack_watermark
            .take()
            .map_or_else(|| AckWatermark::open(self.files.dir(), self.shared.epoch.clone()), Ok);
        let noted = opened.and_then(|mut watermark| {
            watermark.note(self.tip.newest)?;
            Ok(watermark)
        });
        match noted {
            Ok(watermark) => self.ack_watermark = Some(watermark),
            // With an older position there, less would be found after an accident; nothing is wrong with the journal.
            Err(error) => tracing::debug!(%error, "the newest acknowledged place could not be noted"),
        }
    }

    /// Says what a commit waits for: the disk, or only the system.
    pub(super) fn set_level(&mut self, level: Durability) -> rusqlite::Result<()> {
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
    pub(super) fn carry_over(&mut self) -> bool {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.max_log_pages {
            self.checkpoint_at = self.max_log_pages;
        }
        if pages < self.checkpoint_at {
            return true;
        }
        let alone = self.read_gate.suspend();
        if alone {
            self.checkpoint("PASSIVE");
            self.checkpoint_at = pages.saturating_add(self.max_log_pages);
            self.read_gate.resume();
        }
        alone
    }

    /// Whether it could be done.
    pub(super) fn checkpoint(&mut self, mode: &str) -> bool {
        let _writing = self.shared.faults.writing();
        let done =
            self.trust_log().and_then(|()| schema::checkpoint(&self.connection, mode).map_err(|error| failure(&error)));
        match &done {
            // All of the log is in the file: the next commit begins it anew, whatever comes of that.
            Ok(0) => self.log_pages.store(0, Ordering::Relaxed),
            Ok(_) => {}
            Err(error) => self.suspect(error),
        }
        done.is_ok()
    }

    /// Complains of what failed; if it was the disk, what was written to the log may not be there.
    pub(super) fn suspect(&mut self, error: &Error) {
        self.log_is_suspect |= matches!(error, Error::Io(_));
        self.complain(error);
    }

    /// Writes all of the log once more, if the disk failed since it was synced; see [`log_file`].
    fn trust_log(&mut self) -> Result<(), Error> {
        if !self.log_is_suspect {
            return Ok(());
        }
        let log = log_file::of(&self.files.path());
        log_file::write_again(&log)?;
        let pages = u64::try_from(self.log_pages.load(Ordering::Relaxed)).unwrap_or_default();
        if log_file::whole_pages(&log)? < pages {
            return Err(Error::Io("the disk lost a part of the write-ahead log that it failed to sync".to_owned()));
        }
        self.log_is_suspect = false;
        Ok(())
    }

    /// Leaves a file in which everything is synced, and no write-ahead log; or the log, where that cannot be had.
    pub(super) fn end(&mut self) {
        let epoch = self.shared.epoch.clone();
        let noted = self.set_level(Durability::Fsync).and_then(|()| boot_id::note_epoch(&self.connection, &epoch));
        if let Err(error) = noted {
            self.suspect(&failure(&error));
        }
        if !self.checkpoint("TRUNCATE") && self.log_is_suspect {
            // The database would carry over what may not be there.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }
}
