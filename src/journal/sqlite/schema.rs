//! The file: how it is laid out, how an older layout becomes the newest, and whether a file is one of ours at all.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{
    domain::{Epoch, Seq},
    journal::{
        Error,
        sqlite::{acknowledged, boot, failure},
    },
};

/// The name of the file in the data directory.
pub(super) const FILE: &str = "notifications.db";

/// Who holds this file's lock holds the journal.
const LOCK_FILE: &str = "lock";

/// Says in the header of the file whose it is: "ExNj".
const APPLICATION_ID: i64 = 0x4578_4e6a;

/// The steps from an empty file to the newest layout. The file's `user_version` says how many of them it has behind it; a
/// step that was released is never changed.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// How long a statement waits for another connection. Only a checkpoint ever has to.
const BUSY: Duration = Duration::from_millis(100);

/// How much of the file a connection holds in memory, in KiB.
const WRITER_CACHE: i64 = 32 * 1024;
const READER_CACHE: i64 = 2 * 1024;

/// How many statements a connection keeps ready.
const STATEMENTS: usize = 64;

/// The right to write to a data directory; given back when this is dropped, or by the system when the process ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Makes the data directory if it is not there, and takes it for this process.
pub(super) fn lock(dir: &Path) -> Result<Lock, Error> {
    let unusable = |error: std::io::Error| Error::Unusable { dir: dir.to_owned(), reason: error.to_string() };
    fs::create_dir_all(dir).map_err(unusable)?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Opens the file for writing, makes it if it is not there, and brings it to the newest layout.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(|error| unusable(path, &error))?;
    let fresh = check_kind(&connection, path)?;
    if !fresh {
        check_end(&connection, path)?;
    }
    prepare_writer(&connection, fresh).map_err(|error| match failure(&error) {
        Error::Io(_) => unusable(path, &error),
        other => other,
    })?;
    check_size(&connection, path)?;
    Ok(connection)
}

fn unusable(path: &Path, error: &rusqlite::Error) -> Error {
    Error::Unusable { dir: path.parent().map(PathBuf::from).unwrap_or_default(), reason: error.to_string() }
}

/// Opens the file for reading only.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failure(&error))?;
    let set_up = || {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "cache_size", -READER_CACHE)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(())
    };
    set_up().map_err(|error| failure(&error))?;
    Ok(connection)
}

/// Whether the file is new; an error when it is not ours, or of a later version.
pub(super) fn check_kind(connection: &Connection, path: &Path) -> Result<bool, Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let kind = || Ok((pragma("application_id")?, pragma("user_version")?, pragma("page_count")?));
    let (application, version, pages) = kind().map_err(|error| failure(&error))?;
    let known = MIGRATIONS.len() as i64;
    match (application, version) {
        (0, 0) if pages == 0 => Ok(true),
        (APPLICATION_ID, 1..) if version <= known => Ok(false),
        (APPLICATION_ID, 1..) => Err(Error::Newer { path: path.to_owned(), found: version, known }),
        _ => Err(Error::Damaged(format!("{} is not a journal of this service", path.display()))),
    }
}

fn prepare_writer(connection: &Connection, fresh: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (step, migration) in (1..).zip(MIGRATIONS).skip(version as usize) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(migration)?;
        if fresh && step == 1 {
            let epoch = Epoch::from_random(rand::random());
            transaction.execute("INSERT INTO journal (id, epoch, oldest) VALUES (1, ?1, 1)", [epoch.as_str()])?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        transaction.pragma_update(None, "user_version", step)?;
        transaction.commit()?;
    }
    // What a process that was killed left in the write-ahead log goes to its place, so that the file can be judged.
    checkpoint(connection, "TRUNCATE")?;
    boot::recover(connection)
}

/// Whose places a journal holds, and which.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    pub(super) epoch: Epoch,
    /// The oldest notification that is kept; one more than `newest` when there is none.
    pub(super) oldest: Seq,
    pub(super) newest: Seq,
}

/// Reads the ends of a journal.
pub(super) fn ends(connection: &Connection) -> rusqlite::Result<Ends> {
    let sql = "SELECT epoch, oldest, \
               coalesce((SELECT first + count - 1 FROM blocks ORDER BY first DESC LIMIT 1), oldest - 1) FROM journal";
    connection.prepare_cached(sql)?.query_row([], |row| {
        let epoch = Epoch::from_text(row.get_ref(0)?.as_str()?);
        Ok(Ends { epoch, oldest: row.get::<_, i64>(1)? as Seq, newest: row.get::<_, i64>(2)? as Seq })
    })
}

/// How many pages the write-ahead log has when it takes `bytes`; at least one. From now on it gives back what it took beyond.
pub(super) fn max_log_pages(connection: &Connection, bytes: u64) -> rusqlite::Result<i32> {
    connection.pragma_update_and_check(None, "journal_size_limit", bytes as i64, |_| Ok(()))?;
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok((bytes as i64 / page).clamp(1, i64::from(i32::MAX)) as i32)
}

/// Carries the write-ahead log over into the file, as far as nobody needs it, and says how many of its pages remain.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
    })
}

/// A journal that ends before what it acknowledged is found here, and left as it is.
fn check_end(connection: &Connection, path: &Path) -> Result<(), Error> {
    let end = || {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok((ends(connection)?, boot::may_have_lost(connection)?))
    };
    let (ends, may_have_lost) = end().map_err(|error| failure(&error))?;
    let acknowledged = acknowledged::newest(path.parent().unwrap_or(path), &ends.epoch);
    if let Some(acknowledged) = acknowledged.filter(|seq| *seq > ends.newest && !may_have_lost) {
        let newest = ends.newest;
        return Err(Error::Damaged(format!("it ends at notification {newest}, but {acknowledged} was acknowledged")));
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(|error| failure(&error))?;
    Ok(())
}

/// A file that lacks its end is found here, not when somebody happens to read there.
fn check_size(connection: &Connection, path: &Path) -> Result<(), Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let size = || Ok(pragma("page_count")? * pragma("page_size")?);
    let expected = size().map_err(|error| failure(&error))?;
    let found = fs::metadata(path)?.len();
    if found < expected as u64 {
        let path = path.display();
        return Err(Error::Damaged(format!("{path} has {found} bytes of {expected}")));
    }
    Ok(())
}
