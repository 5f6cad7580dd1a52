//! Opening a journal as it is, to read it: also one of an older layout, and beside the service that writes it.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::{
    domain::Seq,
    journal::sqlite::{access::Access, acknowledged, files, opening, schema::Kind, tools::ToolError},
};

/// Shows a file of the first layout as one of the second, for as long as the connection lives. Nothing is written.
const LAYOUT_1_AS_2: &str = "
    PRAGMA temp_store = MEMORY;
    CREATE TEMP VIEW journal AS SELECT *, 0 AS held_ms, 0 AS is_copy FROM main.journal;
    CREATE TEMP VIEW blocks AS SELECT *, NULL AS checksum, NULL AS reached_at FROM main.blocks;
    CREATE TEMP VIEW segments AS SELECT *, NULL AS checksum FROM main.segments;
    CREATE TEMP VIEW pages AS SELECT *, NULL AS checksum, NULL AS next FROM main.pages;
    CREATE TEMP TABLE holes (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, cause TEXT NOT NULL);
    CREATE TEMP TABLE key_batches
        (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, ended INTEGER NOT NULL, keys BLOB NOT NULL, checksum INTEGER NOT NULL);
";

/// The file in `dir`, which must be there.
pub(super) fn existing(dir: &Path) -> Result<PathBuf, ToolError> {
    let path = dir.join(files::FILE);
    if path.exists() { Ok(path) } else { Err(ToolError::Absent(dir.to_owned())) }
}

/// Opens the file in `dir` for reading only.
pub(super) fn reader(dir: &Path) -> Result<Connection, ToolError> {
    let path = existing(dir)?;
    files::refuse_strange_log(dir)?;
    let connection = opening::open_reader(&path, Access::Usual)?;
    match Kind::of(&connection, &path)? {
        Kind::New => return Err(ToolError::Absent(dir.to_owned())),
        Kind::Layout(1) => connection.execute_batch(LAYOUT_1_AS_2)?,
        Kind::Layout(_) => {}
    }
    Ok(connection)
}

/// The layout of a file.
pub(super) fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The newest place that is known to have been given. Asked for before the journal is read, which may go on meanwhile.
pub(super) fn acknowledged(connection: &Connection, dir: &Path) -> Result<Option<Seq>, ToolError> {
    let epoch: String = connection.query_row("SELECT epoch FROM journal", [], |row| row.get(0))?;
    Ok(acknowledged::newest(dir, &crate::domain::Epoch::from_text(&epoch)))
}
