//! Notifications in the file: those of one commit in rows of a few dozen, so that what a row costs is paid once for all of them.
//!
//! A row holds one [`Record`] behind the other, each with its length in front. One of them is found by passing over those
//! before it.

use std::sync::Arc;

use prost::Message;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use crate::{
    domain::{Epoch, Notification, Seq},
    journal::{
        Error,
        sqlite::{
            checksum, failure,
            record::{self, Record},
        },
    },
};

/// How many notifications one row has, and from how many bytes on it takes no more: reading one notification reads its row.
pub(super) const MAX_COUNT: usize = 64;
const FULL: usize = 16 * 1024;

/// Writes notifications with consecutive positions that were appended at the same time; the journal had reached the second of the
/// two times by then, which is the same or later.
pub(super) fn write(
    connection: &Connection,
    (appended_at, reached_at): (i64, i64),
    mut notifications: &[Arc<Notification>],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO blocks (first, count, appended_at, notifications, checksum, reached_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let reached_at = (reached_at != appended_at).then_some(reached_at);
    let mut insert = connection.prepare_cached(sql)?;
    let (mut records, mut record) = (Vec::with_capacity(2 * FULL), Vec::new());
    while let Some(first) = notifications.first() {
        let mut count = 0;
        records.clear();
        while let Some(next) = notifications.get(count)
            && count < MAX_COUNT
            && records.len() < FULL
        {
            record.clear();
            record::write(next, &mut record);
            prost::encode_length_delimiter(record.len(), &mut records).expect("a vector has room");
            records.extend_from_slice(&record);
            count += 1;
        }
        let numbers = [first.seq as i64, count as i64, appended_at];
        let checksum = checksum::of(&numbers, &records);
        insert.execute((numbers[0], numbers[1], appended_at, &records, checksum, reached_at))?;
        notifications = &notifications[count..];
    }
    Ok(())
}

/// A row of notifications that were committed together, with the first position and how many there are.
#[derive(Debug)]
pub(super) struct BatchRow {
    pub(super) first: Seq,
    count: u64,
    pub(super) appended_at: i64,
    pub(super) reached_at: i64,
    /// It is as it was written.
    pub(super) is_whole: bool,
    records: Vec<u8>,
}

impl BatchRow {
    /// The columns that [`from_row`](Self::from_row) reads.
    pub(super) const COLUMNS: &str = "first, count, appended_at, notifications, checksum, reached_at";

    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (first, count) = (row.get::<_, i64>(0)? as Seq, row.get::<_, i64>(1)? as u64);
        let appended_at = row.get(2)?;
        let reached_at = row.get::<_, Option<i64>>(5)?.unwrap_or(appended_at);
        let records: Vec<u8> = row.get(3)?;
        let is_whole = checksum::holds(row.get(4)?, &[first as i64, count as i64, appended_at], &records);
        Ok(Self { first, count, appended_at, reached_at, is_whole, records })
    }

    /// The position behind the last one.
    pub(super) fn end(&self) -> Seq {
        self.first.saturating_add(self.count)
    }

    /// The notification at `seq`, which must be one of the row's.
    pub(super) fn notification(&self, epoch: &Epoch, seq: Seq) -> Result<Arc<Notification>, Error> {
        let damaged = || Error::Damaged(format!("notification {seq} cannot be read"));
        if !self.is_whole {
            return Err(damaged());
        }
        let mut rest = self.records.as_slice();
        for _ in self.first..seq {
            let length = prost::decode_length_delimiter(&mut rest).map_err(|_| damaged())?;
            rest = rest.get(length..).ok_or_else(damaged)?;
        }
        Record::decode_length_delimited(rest).map_err(|_| damaged())?.notification(epoch, seq)
    }
}

/// Finds notifications by their positions; quick where they lie together.
pub(super) struct BatchRows<'c> {
    by_seq: CachedStatement<'c>,
    current: Option<BatchRow>,
}

impl<'c> BatchRows<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let columns = BatchRow::COLUMNS;
        let sql = format!("SELECT {columns} FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1");
        Ok(Self { by_seq: connection.prepare_cached(&sql)?, current: None })
    }

    /// The row that has the position `seq`.
    pub(super) fn find(&mut self, seq: Seq) -> Result<&BatchRow, Error> {
        let has = |batch_row: &BatchRow| (batch_row.first..batch_row.end()).contains(&seq);
        if !self.current.as_ref().is_some_and(has) {
            let found = self.by_seq.query_row([seq as i64], BatchRow::from_row).optional();
            self.current = found.map_err(|error| failure(&error))?;
        }
        let found = self.current.as_ref().filter(|batch_row| has(batch_row));
        found.ok_or_else(|| Error::Damaged(format!("notification {seq} is missing")))
    }
}
