//! Telling the end of the process from the end of the machine: what was committed without a sync survives only the first.

use std::fs;

use rusqlite::Connection;

use crate::domain::Epoch;

/// The id that the kernel gives itself at each start. Empty where there is none; then every end counts as the machine's.
fn id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Notes, before the first commit without a sync, that there will be some. Is itself a commit, at the level in force.
pub(super) fn note_unsynced(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE journal SET unsynced_since_boot = ?1", [id()])?;
    Ok(())
}

/// Whether the machine went down over commits that were not synced: some of them may be gone, and their positions with them.
pub(super) fn may_have_lost(connection: &Connection) -> rusqlite::Result<bool> {
    let noted = "SELECT unsynced_since_boot FROM journal";
    let noted: Option<String> = connection.query_row(noted, [], |row| row.get(0))?;
    Ok(noted.is_some_and(|noted| noted.is_empty() || noted != id()))
}

/// The epoch that begins with this start, if one does: positions that were given to others before, or are given by the journal
/// that this one is a copy of, belong to another from now on.
pub(super) fn new_epoch(connection: &Connection) -> rusqlite::Result<Option<Epoch>> {
    let is_copy: bool = connection.query_row("SELECT is_copy FROM journal", [], |row| row.get(0))?;
    let why = match (is_copy, may_have_lost(connection)?) {
        (true, _) => "the journal is a copy of one that may have gone on",
        (_, true) => "the machine went down over events that were not synced",
        (false, false) => return Ok(None),
    };
    let epoch = Epoch::from_random(rand::random());
    tracing::warn!(%epoch, "{why}; clients start anew");
    Ok(Some(epoch))
}

/// Notes, with a commit that is synced, that this is the epoch, and that everything before is synced. Where nothing changes,
/// nothing is written.
pub(super) fn note_epoch(connection: &Connection, epoch: &Epoch) -> rusqlite::Result<()> {
    let sql = "UPDATE journal SET epoch = ?1, is_copy = 0, unsynced_since_boot = NULL \
               WHERE epoch <> ?1 OR is_copy <> 0 OR unsynced_since_boot IS NOT NULL";
    connection.execute(sql, [epoch.as_str()])?;
    Ok(())
}
