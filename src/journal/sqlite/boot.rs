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

/// Notes, with a commit that is synced and so syncs everything before it, that there are none any more.
pub(super) fn note_synced(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE journal SET unsynced_since_boot = NULL WHERE unsynced_since_boot IS NOT NULL";
    connection.execute(sql, [])?;
    Ok(())
}

/// Whether the machine went down over commits that were not synced: some of them may be gone, and their places with them.
pub(super) fn may_have_lost(connection: &Connection) -> rusqlite::Result<bool> {
    let noted = "SELECT unsynced_since_boot FROM journal";
    let noted: Option<String> = connection.query_row(noted, [], |row| row.get(0))?;
    Ok(noted.is_some_and(|noted| noted.is_empty() || noted != id()))
}

/// Makes good for what may be lost: places that were given to others before belong to another epoch from now on.
pub(super) fn recover(connection: &Connection) -> rusqlite::Result<()> {
    if may_have_lost(connection)? {
        let epoch = Epoch::from_random(rand::random());
        connection.execute("UPDATE journal SET epoch = ?1", [epoch.as_str()])?;
        tracing::warn!(%epoch, "the machine went down over events that were not synced; clients start anew");
    }
    note_synced(connection)
}
