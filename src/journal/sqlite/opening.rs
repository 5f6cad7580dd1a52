//! Opening the file: what is wrong with it is found before anything is written, and what can be read is served even where
//! nothing can be written.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, MAIN_DB, config::DbConfig};

use crate::{
    domain::Epoch,
    journal::{
        Error,
        sqlite::{
            access::Access,
            ack_watermark, boot_id, failure,
            files::{self, Files},
            log_file,
            schema::{self, Kind},
        },
    },
};

/// How long a statement waits for another connection. Only a checkpoint ever has to.
const BUSY: Duration = Duration::from_millis(100);

/// How much of the file a connection holds in memory, in KiB.
const WRITER_CACHE: i64 = 32 * 1024;
const READER_CACHE: i64 = 2 * 1024;

/// How many statements a connection keeps ready.
const STATEMENTS: usize = 64;

/// A file that was opened to be served from.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) access: Access,
    /// Whose positions are given from now on.
    pub(super) epoch: Epoch,
    /// Why the file cannot be written to; it may not even have the epoch yet.
    pub(super) unwritable: Option<Error>,
}

/// Opens the file, makes it if it is not there, and gives it the newest layout. One that can only be read is opened, too.
pub(super) fn open(files: &Files, keep_copy: bool) -> Result<Opened, Error> {
    open_for(files, keep_copy, None)
}

/// Opens the file again, for a journal that was opened and keeps its epoch.
pub(super) fn open_again(files: &Files, epoch: &Epoch) -> Result<Opened, Error> {
    open_for(files, true, Some(epoch))
}

fn open_for(files: &Files, keep_copy: bool, epoch: Option<&Epoch>) -> Result<Opened, Error> {
    let path = files.path();
    let (connection, access) = connect(files)?;
    let kind = Kind::of(&connection, &path)?;
    match kind {
        Kind::New => files::refuse_acknowledged(files.dir())?,
        Kind::Layout(_) => check_end(&connection, files.dir())?,
    }
    let mut unwritable = prepare(&connection, files, kind, keep_copy).err();
    if kind != Kind::New && unwritable.is_some() && !kind.is_newest() {
        let reason = unwritable.map(|error| error.to_string()).unwrap_or_default();
        return Err(Error::NotCarried { dir: files.dir().to_owned(), reason });
    }
    if let Some(error) = unwritable.take_if(|error| kind == Kind::New || matches!(error, Error::Damaged(_))) {
        return Err(error);
    }
    let (epoch, settled) = settle(&connection, epoch)?;
    Ok(Opened { connection, access, epoch, unwritable: unwritable.or(settled.err()) })
}

/// Opens the file to change it.
pub(super) fn open_to_write(files: &Files, keep_copy: bool) -> Result<Connection, Error> {
    let Opened { connection, unwritable, .. } = open(files, keep_copy)?;
    match unwritable {
        None => Ok(connection),
        Some(Error::Io(reason)) => Err(Error::Unusable { dir: files.dir().to_owned(), reason }),
        Some(error) => Err(error),
    }
}

/// Opens the file for reading only.
pub(super) fn open_reader(path: &Path, access: Access) -> Result<Connection, Error> {
    let set_up = || {
        let connection = access.open_reader(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    set_up().map_err(|error| failure(&error))
}

/// Connects in the first way in which the file can be read.
fn connect(files: &Files) -> Result<(Connection, Access), Error> {
    let path = &files.path();
    let mut refused = None;
    for access in Access::ALL.into_iter().filter(|access| *access != Access::Frozen || files.are_without_log()) {
        match look(path, access) {
            Ok(found) => return Ok(found),
            // Whether there is room for what connections share, or the right to write it.
            Err(error)
                if matches!(
                    code(&error),
                    Some(
                        ErrorCode::CannotOpen | ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly
                    )
                ) =>
            {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(unusable(path, &error)),
        }
    }
    Err(refused.map_or_else(|| Error::Io("the file cannot be opened".to_owned()), |error| unusable(path, &error)))
}

fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

/// Connects, and reads for the first time. What refuses the file afterwards leaves its log as it is.
fn look(path: &Path, access: Access) -> rusqlite::Result<(Connection, Access)> {
    let connection = access.open_writer(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let read_only = access == Access::Usual && connection.is_readonly(MAIN_DB)?;
    Ok((connection, if read_only { Access::ReadOnly } else { access }))
}

fn unusable(path: &Path, error: &rusqlite::Error) -> Error {
    match failure(error) {
        Error::Io(reason) => Error::Unusable { dir: path.parent().unwrap_or(path).to_owned(), reason },
        other => other,
    }
}

/// A journal that ends before what it acknowledged is found here, and left as it is. Of a copy nothing else is to be expected; it
/// begins a new epoch.
fn check_end(connection: &Connection, dir: &Path) -> Result<(), Error> {
    // The first layout cannot say it.
    if connection.query_row("SELECT is_copy FROM journal", [], |row| row.get(0)).unwrap_or(false) {
        return Ok(());
    }
    let end = || Ok((schema::ends(connection)?, boot_id::may_have_lost(connection)?));
    let (ends, may_have_lost) = end().map_err(|error| failure(&error))?;
    let acknowledged = ack_watermark::newest(dir, &ends.epoch);
    if let Some(acknowledged) = acknowledged.filter(|seq| *seq > ends.newest && !may_have_lost) {
        let newest = ends.newest;
        return Err(Error::Damaged(format!("it ends at notification {newest}, but {acknowledged} was acknowledged")));
    }
    Ok(())
}

/// Makes the connection one that writes, and the file one of the newest layout that can be judged.
fn prepare(connection: &Connection, files: &Files, kind: Kind, keep_copy: bool) -> Result<(), Error> {
    let set_up = || {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        if connection.is_readonly(MAIN_DB)? {
            return Ok(false);
        }
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        Ok(true)
    };
    if !set_up().map_err(|error| failure(&error))? {
        return Err(Error::Io("the file cannot be written to".to_owned()));
    }
    // A process that ended behind a sync that failed has left it to this one to sync what it wrote.
    log_file::write_again(&log_file::of(&files.path()))?;
    schema::carry_forward(connection, files, kind, keep_copy)?;
    // What a process that was killed left in the write-ahead log goes to its place, so that the file can be judged.
    if schema::checkpoint(connection, "TRUNCATE").map_err(|error| failure(&error))? == 0 {
        schema::check_size(connection, &files.path())?;
    }
    Ok(())
}

/// Says whose positions are given from now on, and whether the file knows it.
fn settle(connection: &Connection, epoch: Option<&Epoch>) -> Result<(Epoch, Result<(), Error>), Error> {
    let decide = || match epoch {
        Some(epoch) => Ok(epoch.clone()),
        None => boot_id::new_epoch(connection)?.map_or_else(|| Ok(schema::ends(connection)?.epoch), Ok),
    };
    let epoch = decide().map_err(|error: rusqlite::Error| failure(&error))?;
    let written = boot_id::note_epoch(connection, &epoch).map_err(|error| failure(&error));
    Ok((epoch, written))
}
