//! Opening a journal as it is, to read it: also one of an older layout, and beside the service that writes it.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, config::DbConfig};

use crate::{
    domain::Seq,
    journal::sqlite::{
        access::Access,
        ack_watermark,
        files::{self, Files},
        schema::Kind,
        tools::JournalToolError,
    },
};

/// How long is waited for one that holds the file: it may only be starting or ending.
const PATIENCE: Duration = Duration::from_secs(2);

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
pub(super) fn existing(dir: &Path) -> Result<PathBuf, JournalToolError> {
    let path = dir.join(files::FILE);
    if path.exists() { Ok(path) } else { Err(JournalToolError::Absent(dir.to_owned())) }
}

/// A connection that reads. Where nothing can be written beside the file, it holds the journal's lock as long as it lives.
pub(super) struct FileReader {
    // In this order: the lock is given back when the database has closed the file.
    connection: Connection,
    _files: Option<Files>,
}

impl Deref for FileReader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens the file in `dir` for reading only.
pub(super) fn reader(dir: &Path) -> Result<FileReader, JournalToolError> {
    let path = existing(dir)?;
    files::refuse_strange_log(dir)?;
    let reader = connect(dir, &path)?;
    match Kind::of(&reader, &path)? {
        Kind::New => return Err(JournalToolError::Absent(dir.to_owned())),
        Kind::Layout(1) => reader.execute_batch(LAYOUT_1_AS_2)?,
        Kind::Layout(_) => {}
    }
    // One that is alone could write.
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

/// Connects in the first way in which the file can be read: as beside a service or, when none has the journal, in the ways that
/// are left where the disk is full or read-only.
fn connect(dir: &Path, path: &Path) -> Result<FileReader, JournalToolError> {
    let refused = match usual(path) {
        Ok(connection) => return Ok(FileReader { connection, _files: None }),
        Err(refused) => refused,
    };
    if refused.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        return Err(JournalToolError::HeldAlone(dir.to_owned()));
    }
    let lacks_room =
        [ErrorCode::CannotOpen, ErrorCode::DiskFull, ErrorCode::SystemIoFailure, ErrorCode::ReadOnly].map(Some);
    if !lacks_room.contains(&refused.sqlite_error_code()) {
        return Err(refused.into());
    }
    // With the lock, nobody writes meanwhile. Somebody who has it may be able to do what cannot be done here.
    let Ok(files) = Files::take(dir) else { return Err(refused.into()) };
    for access in [Access::Alone, Access::Frozen] {
        if access == Access::Frozen && !files.are_without_log() {
            continue;
        }
        if let Ok(connection) = alone(path, access) {
            return Ok(FileReader { connection, _files: Some(files) });
        }
    }
    Err(refused.into())
}

/// Connects as beside a service, and reads for the first time.
fn usual(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Access::Usual.open_reader(path)?;
    connection.busy_timeout(PATIENCE)?;
    look(connection)
}

/// Connects without others, and reads for the first time. What the log holds stays there.
fn alone(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    // Only a connection that could write gets to what a process shares with itself alone.
    let connection = access.open_writer(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    look(connection)
}

fn look(connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// The layout of a file.
pub(super) fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The newest position that is known to have been given. Asked for before the journal is read, which may go on meanwhile.
pub(super) fn acknowledged(connection: &Connection, dir: &Path) -> Result<Option<Seq>, JournalToolError> {
    let epoch: String = connection.query_row("SELECT epoch FROM journal", [], |row| row.get(0))?;
    Ok(ack_watermark::newest(dir, &crate::domain::Epoch::from_text(&epoch)))
}
