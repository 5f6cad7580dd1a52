//! The newest notifications, taken into memory when the file is opened: those that have no index yet, and before them some
//! that those ask for who were just disconnected.

use std::{ops::Range, sync::Arc};

use rusqlite::Connection;

use crate::{
    domain::{Epoch, Notification, Seq},
    journal::{
        Bounds, Error,
        log::{Log, LogLimits},
        sqlite::{batch_row::BatchRow, failure, index},
    },
};

/// How much is taken in of what has an index. More would be found by those who resume, but the start would wait for it.
const ENTRIES: usize = 8_192;
const BYTES: usize = 16 * 1024 * 1024;

/// The newest rows of the file, with which memory begins.
pub(super) struct RecentRows {
    pub(super) log: Log,
    /// What of it has no index.
    pub(super) unindexed: Vec<Arc<Notification>>,
    /// What lies before it and has no index either: something between the two cannot be read.
    pub(super) cut_off: Range<Seq>,
}

/// A log within `bounds` that keeps to `limits`, with what the file has of it.
pub(super) fn read(
    connection: &Connection,
    epoch: &Epoch,
    Bounds { oldest, newest, .. }: Bounds,
    limits: LogLimits,
) -> Result<RecentRows, Error> {
    let indexed = index::end(connection).map_err(|error| failure(&error))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    let taken = newest_first(connection, epoch, |batch_row, notification| {
        bytes += notification.size();
        let enough = found.len() >= ENTRIES || bytes > limits.bytes.min(BYTES);
        let seq = notification.seq;
        // Places are consecutive in memory. In a file that was imported with holes they are not.
        if (enough && seq <= indexed) || seq < oldest || seq + found.len() as Seq != newest {
            return false;
        }
        found.push((batch_row.appended_at, batch_row.reached_at, notification));
        true
    });
    match taken {
        // What can be read before that is found by its index.
        Ok(()) | Err(Error::Damaged(_)) => {}
        Err(error) => return Err(error),
    }
    let mut log = Log::new(limits, newest - found.len() as Seq);
    let cut_off = oldest.max(indexed + 1)..log.bounds().oldest;
    let mut unindexed = Vec::new();
    for (appended_at, reached_at, notification) in found.into_iter().rev() {
        if notification.seq > indexed {
            unindexed.push(Arc::clone(&notification));
        }
        log.push(appended_at, reached_at, notification);
    }
    Ok(RecentRows { log, unindexed, cut_off })
}

/// Gives what the file has, the newest first, until `take` has enough or something cannot be read.
fn newest_first(
    connection: &Connection,
    epoch: &Epoch,
    mut take: impl FnMut(&BatchRow, Arc<Notification>) -> bool,
) -> Result<(), Error> {
    let sql = format!("SELECT {} FROM blocks ORDER BY first DESC", BatchRow::COLUMNS);
    let mut statement = connection.prepare(&sql).map_err(|error| failure(&error))?;
    let batch_rows = statement.query_map([], BatchRow::from_row).map_err(|error| failure(&error))?;
    for batch_row in batch_rows {
        let batch_row = batch_row.map_err(|error| failure(&error))?;
        for seq in (batch_row.first..batch_row.end()).rev() {
            if !take(&batch_row, batch_row.notification(epoch, seq)?) {
                return Ok(());
            }
        }
    }
    Ok(())
}
