//! One transaction: all entries that wait, their keys, and the next step of retention.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::{
    domain::{Durability, Epoch, Notification, Seq},
    journal::{
        Bounds, Entry, Error, Outcome, Stored,
        aging::Hold,
        idempotency::{KeyWindow, Staged},
        log::millis,
        sqlite::{
            batch_row::{self, BatchRow},
            failure,
            keys::KeyTable,
            retention::{Aged, Retention},
            schema,
        },
    },
};

/// How many notifications retention lets go of in one step, beyond as many as the step appends.
pub(super) const STEP: usize = 256;

/// Where the file ends. A transaction works on a copy, which counts only when it is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tip {
    pub(super) oldest: Seq,
    pub(super) newest: Seq,
    /// The latest time at which a notification was appended, in milliseconds since 1970.
    pub(super) reached_at: i64,
}

impl Tip {
    /// Where the file ends that `connection` is open on, and for how long nothing in it goes by its age.
    pub(super) fn read(connection: &Connection) -> Result<(Self, Hold), Error> {
        let last = || {
            let sql = format!("SELECT {} FROM blocks ORDER BY first DESC LIMIT 1", BatchRow::COLUMNS);
            let last = connection.query_row(&sql, [], BatchRow::from_row).optional()?;
            let before = "SELECT first + count FROM blocks WHERE first < ?1 ORDER BY first DESC LIMIT 1";
            let first = last.as_ref().map_or(0, |last| last.first as i64);
            let before = connection.query_row(before, [first], |row| row.get::<_, i64>(0)).optional()?;
            Ok((schema::ends(connection)?, last, before, Self::held(connection)?))
        };
        let (schema::Ends { oldest, newest, .. }, last, before, held) =
            last().map_err(|error: rusqlite::Error| failure(&error))?;
        let reached_at = Self::reached_at(connection).map_err(|error| failure(&error))?;
        let newest = match last {
            Some(last) if !last.is_whole => {
                // No position is given twice: as many as a row may have were given, if it is where it should be.
                if before.map_or(oldest, |end| end as Seq) != last.first {
                    return Err(Error::Damaged("its newest notifications cannot be read".to_owned()));
                }
                last.first + batch_row::MAX_COUNT as Seq - 1
            }
            _ => newest,
        };
        Ok((Self { oldest, newest, reached_at }, held))
    }

    /// The time reached by the last row that is as it was written.
    fn reached_at(connection: &Connection) -> rusqlite::Result<i64> {
        let sql = format!("SELECT {} FROM blocks ORDER BY first DESC", BatchRow::COLUMNS);
        let mut rows = connection.prepare(&sql)?;
        let mut rows = rows.query_map([], BatchRow::from_row)?;
        let whole = rows.find_map(|row| row.ok().filter(|batch_row| batch_row.is_whole));
        Ok(whole.map_or(i64::MIN, |batch_row| batch_row.reached_at))
    }

    fn held(connection: &Connection) -> rusqlite::Result<Hold> {
        let (left, reached_at) = connection
            .query_row("SELECT held_ms, held_for FROM journal", [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
        Ok(Hold { left: Duration::from_millis(u64::try_from(left).unwrap_or_default()), reached_at })
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds::of_consecutive(self.oldest, self.newest)
    }
}

/// The time of a transaction, what its commit waits for, when a key was used whose window ends with it, and before which position
/// everything is too old.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: DateTime<Utc>,
    pub(super) level: Durability,
    pub(super) ended: i64,
    pub(super) aged: Aged,
}

/// What a transaction wrote. It counts when that is committed.
#[derive(Debug)]
pub(super) struct Written {
    /// What became of each entry.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notifications: Vec<Arc<Notification>>,
    /// Where the file ends then.
    pub(super) tip: Tip,
    /// The keys that were claimed, and what the file has of keys then.
    pub(super) keys: Staged,
    pub(super) key_table: KeyTable,
}

/// What a transaction begins with.
#[derive(Debug)]
pub(super) struct Before<'w> {
    pub(super) epoch: &'w Epoch,
    pub(super) tip: Tip,
    pub(super) keys: &'w KeyWindow,
    pub(super) key_table: KeyTable,
}

impl Retention {
    /// Writes `entries` and their keys behind what was there before, and takes the next step of retention.
    pub(super) fn write(
        &self,
        transaction: &Transaction<'_>,
        entries: impl Iterator<Item = Entry>,
        before: Before<'_>,
        Terms { now, level, ended, aged }: Terms,
    ) -> rusqlite::Result<Written> {
        let Before { epoch, mut tip, keys, mut key_table } = before;
        let at = DateTime::from_timestamp_millis(millis(now)).unwrap_or(now);
        let (mut outcomes, mut notifications, mut staged) = (Vec::new(), Vec::new(), Staged::default());
        for entry in entries {
            let stored = Stored { seq: tip.newest + 1, durability: Some(level), at };
            if let Some(outcome) = entry.key.as_ref().and_then(|key| keys.claim(&mut staged, key, stored, ended)) {
                outcomes.push(outcome);
                continue;
            }
            tip.newest += 1;
            let Entry { event, audiences, expires_at, .. } = entry;
            notifications.push(Arc::new(Notification::new(epoch.clone(), tip.newest, event, audiences, expires_at)));
            outcomes.push(Outcome::Appended(stored));
        }
        key_table.append(transaction, staged.keys(), ended)?;
        key_table.tidy(transaction, keys, STEP + 4 * staged.keys().len())?;
        if !notifications.is_empty() {
            tip.reached_at = tip.reached_at.max(millis(now));
            batch_row::write(transaction, (millis(now), tip.reached_at), &notifications)?;
        }
        let bounds = (tip.oldest, tip.newest);
        tip.oldest = self.apply(transaction, bounds, aged, STEP + 2 * outcomes.len())?;
        Ok(Written { outcomes, notifications, tip, keys: staged, key_table })
    }
}
