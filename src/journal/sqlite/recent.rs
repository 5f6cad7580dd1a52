//! The newest notifications, taken into memory when the file is opened: those who were just disconnected ask for them.

use chrono::DateTime;
use rusqlite::Connection;

use crate::{
    domain::{Epoch, Seq},
    journal::{
        Error,
        log::{Limits, Log},
        sqlite::{failure, record},
    },
};

/// How much is taken in at the most. More would be found by those who resume, but the start would wait for it.
const ENTRIES: i64 = 8_192;
const BYTES: usize = 16 * 1024 * 1024;

/// A log that ends at `newest` and keeps to `limits`, with what the file has of it.
pub(super) fn read(connection: &Connection, epoch: &Epoch, newest: Seq, limits: Limits) -> Result<Log, Error> {
    let columns = record::COLUMNS;
    let sql = format!("SELECT {columns}, appended_at FROM notifications ORDER BY seq DESC LIMIT ?1");
    let mut statement = connection.prepare(&sql).map_err(|error| failure(&error))?;
    let mut rows = statement.query([ENTRIES]).map_err(|error| failure(&error))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        let notification = record::notification(epoch, row)?;
        bytes += notification.size();
        // Places are consecutive in memory. In a file that was imported with holes they are not.
        if notification.seq + found.len() as Seq != newest || bytes > limits.bytes.min(BYTES) {
            break;
        }
        let appended_at: i64 = row.get(record::WIDTH).map_err(|error| failure(&error))?;
        found.push((DateTime::from_timestamp_millis(appended_at).unwrap_or_default(), notification));
    }
    let mut log = Log::new(limits, newest - found.len() as Seq);
    for (appended_at, notification) in found.into_iter().rev() {
        log.push(appended_at, notification);
    }
    Ok(log)
}
