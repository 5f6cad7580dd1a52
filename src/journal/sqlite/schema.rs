//! The layout of the file: what a new one looks like, how an older layout becomes the newest, and whether a file is one of ours
//! at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction};

use crate::{
    domain::{Epoch, Seq},
    journal::{
        Error,
        sqlite::{failure, files::Files, keys::OldKeys},
    },
};

/// Says in the header of the file whose it is: "ExNj".
const APPLICATION_ID: i64 = 0x4578_4e6a;

/// The steps from an empty file to the newest layout. The file's `user_version` says how many of them it has behind it; a
/// step that was released is never changed.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// Tells what kind of file it is: a new one, or a journal of some layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One that nothing was ever written to, or that ended before its first commit.
    New,
    /// A journal with this many [`MIGRATIONS`] behind it.
    Layout(usize),
}

impl Kind {
    /// Looks at a file; an error when it is not ours, or of a later version. What its first page says of it does not count
    /// before it has a table: a process may be killed between the two.
    pub(super) fn of(connection: &Connection, path: &Path) -> Result<Self, Error> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables = || connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        let facts = || Ok((tables()?, pragma("application_id")?, pragma("user_version")?));
        let known = MIGRATIONS.len() as i64;
        match facts().map_err(|error| failure(&error))? {
            (0, ..) => Ok(Self::New),
            (_, APPLICATION_ID, version @ 1..) if version <= known => Ok(Self::Layout(version as usize)),
            (_, APPLICATION_ID, version @ 1..) => Err(Error::Newer { path: path.to_owned(), found: version, known }),
            _ => Err(Error::Damaged(format!("{} is not a journal of this service", path.display()))),
        }
    }

    /// Whether the file has the newest layout.
    pub(super) fn is_newest(self) -> bool {
        self == Self::Layout(MIGRATIONS.len())
    }
}

/// Gives a file the newest layout, all of it or nothing. The file as it was stays beside it, if `keep_copy` and there is room.
pub(super) fn carry_forward(connection: &Connection, files: &Files, kind: Kind, keep_copy: bool) -> Result<(), Error> {
    if kind.is_newest() {
        return Ok(());
    }
    if let Kind::Layout(layout) = kind {
        tracing::info!(from = layout, to = MIGRATIONS.len(), "carrying the journal forward to the newest layout");
        if keep_copy {
            copy(connection, files, layout)?;
        }
    }
    let migrated = migrate(connection, kind).map_err(|error| failure(&error));
    let (Err(Error::Full), Kind::Layout(layout)) = (&migrated, kind) else { return migrated };
    // Room for the journal goes before room for what it was.
    tracing::warn!("there is no room for a copy of the journal as it was; none is kept");
    let _ = fs::remove_file(copy_of(files, layout));
    migrate(connection, kind).map_err(|error| failure(&error))
}

/// Leaves the file as it is beside it, for who may want to go back to the version that wrote it.
fn copy(connection: &Connection, files: &Files, layout: usize) -> Result<(), Error> {
    let to = copy_of(files, layout);
    // What the log holds goes into the file first, or the copy would lack it.
    if checkpoint(connection, "TRUNCATE").map_err(|error| failure(&error))? != 0 {
        return Err(Error::Io("another process reads the journal".to_owned()));
    }
    match files.copy(&to) {
        Ok(()) => tracing::info!("the journal as it was is in {}; remove it when all is well", to.display()),
        Err(error) => tracing::warn!(%error, "no copy of the journal as it was could be kept in {}", to.display()),
    }
    Ok(())
}

fn copy_of(files: &Files, layout: usize) -> PathBuf {
    files.path().with_extension(format!("db.layout-{layout}"))
}

fn migrate(connection: &Connection, kind: Kind) -> rusqlite::Result<()> {
    let done = if let Kind::Layout(layout) = kind { layout } else { 0 };
    let old_keys = OldKeys::read(connection)?;
    let transaction = connection.unchecked_transaction()?;
    MIGRATIONS.iter().skip(done).try_for_each(|step| transaction.execute_batch(step))?;
    old_keys.carry_over(&transaction)?;
    if kind == Kind::New {
        begin(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()
}

fn begin(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let epoch = Epoch::from_random(rand::random());
    transaction.execute("INSERT INTO journal (id, epoch, oldest) VALUES (1, ?1, 1)", [epoch.as_str()])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Whose positions a journal holds, and which.
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

/// The oldest position that is kept.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Seq> {
    let sql = "SELECT oldest FROM journal";
    connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(|oldest| oldest as Seq)
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

/// A file that lacks its end is found here, not when somebody happens to read there. Everything must have been carried over
/// from the write-ahead log.
pub(super) fn check_size(connection: &Connection, path: &Path) -> Result<(), Error> {
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
