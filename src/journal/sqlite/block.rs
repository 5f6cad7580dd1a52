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
            failure,
            record::{self, Record},
        },
    },
};

/// How many notifications one row has, and from how many bytes on it takes no more: reading one notification reads its row.
const MAX_COUNT: usize = 64;
const FULL: usize = 16 * 1024;

/// Writes notifications with consecutive places that were appended at the same time.
pub(super) fn write(
    connection: &Connection,
    appended_at: i64,
    mut notifications: &[Arc<Notification>],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO blocks (first, count, appended_at, notifications) VALUES (?1, ?2, ?3, ?4)";
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
        insert.execute((first.seq as i64, count as i64, appended_at, &records))?;
        notifications = &notifications[count..];
    }
    Ok(())
}

/// A row, with its first place and how many there are.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) first: Seq,
    count: u64,
    pub(super) appended_at: i64,
    records: Vec<u8>,
}

impl Block {
    /// The columns that [`from_row`](Self::from_row) reads.
    pub(super) const COLUMNS: &str = "first, count, appended_at, notifications";

    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (first, count) = (row.get::<_, i64>(0)? as Seq, row.get::<_, i64>(1)? as u64);
        Ok(Self { first, count, appended_at: row.get(2)?, records: row.get(3)? })
    }

    /// The place behind the last one.
    pub(super) fn end(&self) -> Seq {
        self.first.saturating_add(self.count)
    }

    /// The notification at `seq`, which must be one of the block's.
    pub(super) fn notification(&self, epoch: &Epoch, seq: Seq) -> Result<Arc<Notification>, Error> {
        let damaged = || Error::Damaged(format!("notification {seq} cannot be read"));
        let mut rest = self.records.as_slice();
        for _ in self.first..seq {
            let length = prost::decode_length_delimiter(&mut rest).map_err(|_| damaged())?;
            rest = rest.get(length..).ok_or_else(damaged)?;
        }
        Record::decode_length_delimited(rest).map_err(|_| damaged())?.notification(epoch, seq)
    }
}

/// Finds notifications by their places; quick where they lie together.
pub(super) struct Blocks<'c> {
    by_place: CachedStatement<'c>,
    current: Option<Block>,
}

impl<'c> Blocks<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let columns = Block::COLUMNS;
        let sql = format!("SELECT {columns} FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1");
        Ok(Self { by_place: connection.prepare_cached(&sql)?, current: None })
    }

    /// The block that has the place `seq`.
    pub(super) fn find(&mut self, seq: Seq) -> Result<&Block, Error> {
        let has = |block: &Block| (block.first..block.end()).contains(&seq);
        if !self.current.as_ref().is_some_and(has) {
            let found = self.by_place.query_row([seq as i64], Block::from_row).optional();
            self.current = found.map_err(|error| failure(&error))?;
        }
        let found = self.current.as_ref().filter(|block| has(block));
        found.ok_or_else(|| Error::Damaged(format!("notification {seq} is missing")))
    }
}
