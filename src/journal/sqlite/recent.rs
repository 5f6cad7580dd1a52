//! The newest notifications, taken into memory when the file is opened: those that have no index yet, and before them some
//! that those ask for who were just disconnected.

use std::sync::Arc;

use rusqlite::Connection;

use crate::{
    domain::{Epoch, Notification, Seq},
    journal::{
        Bounds, Error,
        log::{Limits, Log},
        sqlite::{block::Block, failure, index},
    },
};

/// How much is taken in of what has an index. More would be found by those who resume, but the start would wait for it.
const ENTRIES: usize = 8_192;
const BYTES: usize = 16 * 1024 * 1024;

/// A log within `bounds` that keeps to `limits`, with what the file has of it, and what of that has no index.
pub(super) fn read(
    connection: &Connection,
    epoch: &Epoch,
    Bounds { oldest, newest }: Bounds,
    limits: Limits,
) -> Result<(Log, Vec<Arc<Notification>>), Error> {
    let indexed = index::end(connection).map_err(|error| failure(&error))?;
    let sql = format!("SELECT {} FROM blocks ORDER BY first DESC", Block::COLUMNS);
    let mut statement = connection.prepare(&sql).map_err(|error| failure(&error))?;
    let blocks = statement.query_map([], Block::from_row).map_err(|error| failure(&error))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    'blocks: for block in blocks {
        let block = block.map_err(|error| failure(&error))?;
        for seq in (block.first..block.end()).rev() {
            let notification = block.notification(epoch, seq)?;
            bytes += notification.size();
            let enough = found.len() >= ENTRIES || bytes > limits.bytes.min(BYTES);
            // Places are consecutive in memory. In a file that was imported with holes they are not.
            if (enough && seq <= indexed) || seq < oldest || seq + found.len() as Seq != newest {
                break 'blocks;
            }
            found.push((block.appended_at, block.reached_at, notification));
        }
    }
    let mut log = Log::new(limits, newest - found.len() as Seq);
    let mut unindexed = Vec::new();
    for (appended_at, reached_at, notification) in found.into_iter().rev() {
        if notification.seq > indexed {
            unindexed.push(Arc::clone(&notification));
        }
        log.push(appended_at, reached_at, notification);
    }
    Ok((log, unindexed))
}
