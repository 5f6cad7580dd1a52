//! Giving an index to what can be read of the newest notifications, where something in between cannot.
//!
//! Before their index is written, the newest notifications are found from memory, which holds them all without a gap. Where one
//! of them cannot be read when the file is opened, those before it would be found by nothing.

use std::{ops::Range, sync::Arc};

use rusqlite::Connection;

use crate::{
    domain::{Epoch, Notification, Seq},
    journal::{
        Error,
        faults::Faults,
        sqlite::{
            damage::{DAMAGE, Damage, Ranges},
            failure,
            index::PendingIndex,
            walk::{Reach, Walk},
        },
    },
};

/// Indexes what can be read of `positions`, and notes the rest as missing, for everybody: no index says whom it was for.
pub(super) fn index(
    connection: &Connection,
    epoch: &Epoch,
    damage: &Damage,
    faults: &Faults,
    positions: Range<Seq>,
) -> Result<(), Error> {
    if positions.is_empty() {
        return Ok(());
    }
    let read = read(connection, epoch, damage, faults, &positions)?;
    match write(connection, &read, positions.start) {
        Ok(()) => read.lost.into_iter().for_each(|range| damage.miss(range)),
        // Without an index it is found by looking through it; the next start tries again.
        Err(error) => {
            tracing::warn!(%error, "what lies before the damage could not be given an index");
            read.lost.into_iter().for_each(|range| damage.miss(range));
            damage.note_index(positions, faults);
        }
    }
    Ok(())
}

/// What a stretch of the file has.
struct Stretch {
    found: Vec<Arc<Notification>>,
    lost: Vec<Range<Seq>>,
}

/// What can be read of `positions`, and what cannot. Its transaction is over afterwards: one in which a read failed writes nothing.
fn read(
    connection: &Connection,
    epoch: &Epoch,
    damage: &Damage,
    faults: &Faults,
    positions: &Range<Seq>,
) -> Result<Stretch, Error> {
    let snapshot = connection.unchecked_transaction().map_err(|error| failure(&error))?;
    let mut walk = Walk { snapshot: &snapshot, epoch, damage, faults, lost: Ranges::default() };
    let reach = Reach { positions: positions.clone(), now: i64::MIN, newest_first: false };
    let mut found = Vec::new();
    walk.all(&reach, |batch_row, seq| {
        found.push(batch_row.notification(epoch, seq)?);
        Ok(true)
    })?;
    Ok(Stretch { found, lost: walk.lost.within(positions).collect() })
}

fn write(connection: &Connection, Stretch { found, lost }: &Stretch, oldest: Seq) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    PendingIndex::new(found, 0).write(&transaction, oldest)?;
    let mut hole = transaction.prepare("INSERT INTO holes (first, last, cause) VALUES (?1, ?2, ?3)")?;
    for range in lost {
        hole.execute((range.start as i64, range.end as i64 - 1, DAMAGE))?;
    }
    drop(hole);
    transaction.commit()
}
