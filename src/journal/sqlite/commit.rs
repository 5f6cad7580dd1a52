//! One transaction: all entries that wait, their keys, and the next step of retention.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::{
    domain::{Durability, Epoch, Notification, Seq},
    journal::{
        Bounds, Entry, Outcome, Stored,
        log::millis,
        sqlite::{block, keys::Keys, retention::Retention, schema},
    },
};

/// How many notifications retention lets go of in one step, beyond as many as the step appends.
pub(super) const STEP: usize = 256;

/// Where the file ends. A transaction works on a copy, which counts only when it is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) oldest: Seq,
    pub(super) newest: Seq,
    /// The latest time at which a notification was appended, in milliseconds since 1970.
    pub(super) reached_at: i64,
    /// How many idempotency keys are known.
    pub(super) keys: usize,
}

impl Place {
    /// Where the file ends that `connection` is open on, and for how long nothing in it goes by its age.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<(Self, Duration)> {
        let schema::Ends { oldest, newest, .. } = schema::ends(connection)?;
        let reached = "SELECT coalesce(reached_at, appended_at) FROM blocks ORDER BY first DESC LIMIT 1";
        let reached_at = connection.query_row(reached, [], |row| row.get(0)).optional()?.unwrap_or(i64::MIN);
        let keys = connection.query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0))? as usize;
        let held = connection.query_row("SELECT held_ms FROM journal", [], |row| row.get::<_, i64>(0))?;
        let held = Duration::from_millis(u64::try_from(held).unwrap_or_default());
        Ok((Self { oldest, newest, reached_at, keys }, held))
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { oldest: self.oldest, newest: self.newest }
    }
}

/// What every transaction is made by.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) retention: Retention,
    pub(super) keys: Keys,
}

/// What a transaction wrote. It counts when that is committed.
#[derive(Debug)]
pub(super) struct Written {
    /// What became of each entry.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notifications: Vec<Arc<Notification>>,
    /// Where the file ends then.
    pub(super) place: Place,
}

impl Rules {
    /// Writes `entries` behind `place`, at a time and a level, and takes the next step of retention; what lies before `aged` is too
    /// old, and keys go by the time at which what is old may go.
    pub(super) fn write(
        &self,
        transaction: &Transaction<'_>,
        epoch: &Epoch,
        entries: impl Iterator<Item = Entry>,
        mut place: Place,
        (now, old_at, level): (DateTime<Utc>, Option<DateTime<Utc>>, Durability),
        aged: Seq,
    ) -> rusqlite::Result<Written> {
        let at = DateTime::from_timestamp_millis(millis(now)).unwrap_or(now);
        place.keys -= self.keys.expire(transaction, place.keys, old_at)?;
        let (mut outcomes, mut notifications) = (Vec::new(), Vec::new());
        for entry in entries {
            if let Some(outcome) = self.claim(transaction, &entry, now, &mut place)? {
                outcomes.push(outcome);
                continue;
            }
            place.newest += 1;
            let Entry { event, audiences, expires_at, .. } = entry;
            notifications.push(Arc::new(Notification::new(epoch.clone(), place.newest, event, audiences, expires_at)));
            outcomes.push(Outcome::Appended(Stored { seq: place.newest, durability: Some(level), at }));
        }
        if !notifications.is_empty() {
            place.reached_at = place.reached_at.max(millis(now));
            block::write(transaction, (millis(now), place.reached_at), &notifications)?;
        }
        let bounds = (place.oldest, place.newest);
        place.oldest = self.retention.apply(transaction, bounds, aged, STEP + 2 * outcomes.len())?;
        Ok(Written { outcomes, notifications, place })
    }

    /// Claims the key of an entry, if it has one, for the next place; the outcome when it was claimed before.
    fn claim(
        &self,
        transaction: &Transaction<'_>,
        entry: &Entry,
        now: DateTime<Utc>,
        place: &mut Place,
    ) -> rusqlite::Result<Option<Outcome>> {
        let Some((key, fingerprint)) = &entry.key else { return Ok(None) };
        let outcome = self.keys.claim(transaction, key, fingerprint, place.newest + 1, now)?;
        place.keys += usize::from(outcome.is_none());
        Ok(outcome)
    }
}
