//! The idempotency keys, in the file: a key is remembered in the same commit as what was sent under it.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    domain::{Fingerprint, IdempotencyKey, Seq},
    journal::{Options, Outcome, Stored, log::millis},
};

/// How many keys are forgotten at a time.
const STEP: i64 = 1_024;

/// How long keys are remembered, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    window: TimeDelta,
    max: usize,
}

impl From<&Options> for Keys {
    fn from(options: &Options) -> Self {
        Self { window: options.idempotency_window(), max: options.idempotency_max_keys.get() }
    }
}

impl Keys {
    /// Forgets the oldest of the `known` keys that are out of the window at `now` or too many, and says how many.
    pub(super) fn expire(
        &self,
        connection: &Connection,
        known: usize,
        now: Option<DateTime<Utc>>,
    ) -> rusqlite::Result<usize> {
        if known == 0 {
            return Ok(0);
        }
        let over = (known.saturating_sub(self.max) as i64).min(STEP);
        let by_count = "DELETE FROM keys WHERE number IN (SELECT number FROM keys ORDER BY number LIMIT ?1)";
        let many = if over > 0 { connection.prepare_cached(by_count)?.execute([over])? } else { 0 };
        let by_age = "DELETE FROM keys WHERE number IN \
                      (SELECT number FROM (SELECT number, used_at FROM keys ORDER BY number LIMIT ?1) WHERE used_at <= ?2)";
        let oldest = "SELECT used_at FROM keys ORDER BY number LIMIT 1";
        let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([], |row| row.get(0)).optional()?;
        let out = now.map_or(i64::MIN, |now| self.out_of_window(now));
        let old = match oldest {
            Some(used_at) if used_at <= out => connection.prepare_cached(by_age)?.execute((STEP, out))?,
            _ => 0,
        };
        Ok(many + old)
    }

    /// Remembers that `key` stands for the place `seq`, unless it is known already: then the outcome is what it stands for.
    pub(super) fn claim(
        &self,
        connection: &Connection,
        IdempotencyKey(key): &IdempotencyKey,
        fingerprint: &Fingerprint,
        seq: Seq,
        now: DateTime<Utc>,
    ) -> rusqlite::Result<Option<Outcome>> {
        let seen = "SELECT fingerprint, seq, used_at FROM keys WHERE key = ?1 AND used_at > ?2";
        let seen = connection
            .prepare_cached(seen)?
            .query_row((key, self.out_of_window(now)), |row| {
                let same = row.get_ref(0)?.as_blob()? == fingerprint;
                let seq = row.get::<_, i64>(1)? as Seq;
                let at = DateTime::from_timestamp_millis(row.get(2)?).unwrap_or_default();
                Ok(if same { Outcome::Duplicate(Stored { seq, durability: None, at }) } else { Outcome::Conflict })
            })
            .optional()?;
        if seen.is_none() {
            let remember = "INSERT OR REPLACE INTO keys (key, used_at, fingerprint, seq) VALUES (?1, ?2, ?3, ?4)";
            let fingerprint = fingerprint.as_slice();
            connection.prepare_cached(remember)?.execute((key, millis(now), fingerprint, seq as i64))?;
        }
        Ok(seen)
    }

    fn out_of_window(&self, now: DateTime<Utc>) -> i64 {
        now.checked_sub_signed(self.window).map_or(i64::MIN, millis)
    }
}
