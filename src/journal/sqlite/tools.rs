//! Looking after a journal from the command line: check, export, import, prune.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::TimeDelta;
use rusqlite::Connection;

use crate::{
    clock::{Clock, System},
    domain::Seq,
    journal::{
        self,
        sqlite::{
            access::Access,
            acknowledged, archive, check, failure,
            files::{self, Files},
            keys, opening,
            retention::Retention,
            schema,
        },
    },
};

/// What can be done with a journal that is not being served from.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Tool {
    /// Read all of the journal and say whether it is sound; exit code 0 if it is, 1 if not. May run beside the service.
    Check,
    /// Write the journal as JSON lines: itself, its notifications, its idempotency keys. What is damaged is left out and
    /// counted. May run beside the service.
    Export {
        /// Where to; without, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Fill an empty journal with what `export` wrote. Places and epoch stay, so that clients resume; where notifications
    /// are missing, the epoch is a new one, so that they do not resume over a hole.
    Import {
        /// Where from.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Let the oldest notifications go, and give their room on the disk back.
    Prune {
        /// Keep only this many.
        #[arg(long, value_name = "N")]
        keep_entries: Option<NonZeroU64>,
        /// Let go of what is older than this.
        #[arg(long, value_name = "TIME", value_parser = crate::domain::parse_duration)]
        older_than: Option<Duration>,
    },
}

/// Why a tool could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no journal.
    #[error("DATA_DIR {}: there is no journal here", .0.display())]
    Absent(PathBuf),
    /// The journal has something in it already.
    #[error("DATA_DIR {}: the journal is not empty; import into an empty DATA_DIR", .0.display())]
    NotEmpty(PathBuf),
    /// A line of an export is not one.
    #[error("line {line}: {reason}")]
    Line {
        /// Which one, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal is not sound.
    #[error("the journal is damaged; save what can be read with `exposia-notifications journal export --out FILE`")]
    Unsound,
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody reads what is said.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<rusqlite::Error> for ToolError {
    fn from(error: rusqlite::Error) -> Self {
        failure(&error).into()
    }
}

impl Tool {
    /// Does the work on the journal in `dir`; what there is to say goes to `out`.
    pub fn run(&self, dir: &Path, out: &mut impl Write) -> Result<(), ToolError> {
        match self {
            Self::Check => check(&open(dir)?, dir, out),
            Self::Export { out: None } => {
                let connection = open(dir)?;
                let (count, lost) = archive::export(&connection, acknowledged(&connection, dir)?, out)?;
                say_lost(count, lost, &mut io::stderr())
            }
            Self::Export { out: Some(path) } => {
                let connection = open(dir)?;
                let file = |source| ToolError::File { path: path.clone(), source };
                let mut writer = BufWriter::new(File::create(path).map_err(file)?);
                let (count, lost) = archive::export(&connection, acknowledged(&connection, dir)?, &mut writer)?;
                writer.into_inner().map_err(|error| file(error.into_error()))?.sync_all().map_err(file)?;
                say_lost(count, lost, out)
            }
            Self::Import { file } => import(dir, file, out),
            Self::Prune { keep_entries, older_than } => prune(dir, *keep_entries, *older_than, out),
        }
    }
}

/// Opens the file as it is, to read it.
fn open(dir: &Path) -> Result<Connection, ToolError> {
    let path = dir.join(files::FILE);
    if !path.exists() {
        return Err(ToolError::Absent(dir.to_owned()));
    }
    let connection = opening::open_reader(&path, Access::Usual)?;
    match schema::Kind::of(&connection, &path)? {
        schema::Kind::New => Err(ToolError::Absent(dir.to_owned())),
        schema::Kind::Layout(_) => Ok(connection),
    }
}

/// The newest place that is known to have been given. Asked for before the journal is read, which may go on meanwhile.
fn acknowledged(connection: &Connection, dir: &Path) -> Result<Option<Seq>, ToolError> {
    Ok(acknowledged::newest(dir, &schema::ends(connection)?.epoch))
}

fn say_lost(count: u64, lost: u64, out: &mut impl Write) -> Result<(), ToolError> {
    writeln!(out, "exported {count} notifications")?;
    if lost > 0 {
        writeln!(out, "{lost} notifications are damaged and were left out")?;
        return Err(ToolError::Unsound);
    }
    Ok(())
}

fn check(connection: &Connection, dir: &Path, out: &mut impl Write) -> Result<(), ToolError> {
    let acknowledged = acknowledged(connection, dir)?;
    let snapshot = connection.unchecked_transaction()?;
    writeln!(out, "{}", dir.join(files::FILE).display())?;
    let findings = check::findings(&snapshot, acknowledged)?;
    for finding in &findings {
        writeln!(out, "damaged: {finding}")?;
    }
    if !findings.is_empty() {
        return Err(ToolError::Unsound);
    }
    let schema::Ends { epoch, oldest, newest } = schema::ends(&snapshot)?;
    let keys = keys::count(&snapshot)?;
    let count = newest + 1 - oldest;
    writeln!(out, "epoch {epoch}; {count} notifications, places {oldest} to {newest}; {keys} idempotency keys")?;
    writeln!(out, "sound")?;
    Ok(())
}

fn import(dir: &Path, file: &Path, out: &mut impl Write) -> Result<(), ToolError> {
    let reader = File::open(file).map_err(|source| ToolError::File { path: file.to_owned(), source })?;
    let files = Files::take(dir)?;
    let connection = opening::open_to_write(&files, true)?;
    let empty = "SELECT oldest = 1 AND NOT EXISTS (SELECT 1 FROM blocks) FROM journal";
    if !connection.query_row(empty, [], |row| row.get(0))? {
        return Err(ToolError::NotEmpty(dir.to_owned()));
    }
    let imported = archive::import(&connection, BufReader::new(reader))?;
    schema::checkpoint(&connection, "TRUNCATE")?;
    writeln!(out, "imported {} notifications and {} idempotency keys", imported.notifications, imported.keys)?;
    if imported.holes > 0 {
        writeln!(out, "{} notifications are missing; the epoch is a new one, clients start anew", imported.holes)?;
    }
    Ok(())
}

fn prune(
    dir: &Path,
    keep_entries: Option<NonZeroU64>,
    older_than: Option<Duration>,
    out: &mut impl Write,
) -> Result<(), ToolError> {
    const STEP: usize = 10_000;
    let path = dir.join(files::FILE);
    if !path.exists() {
        return Err(ToolError::Absent(dir.to_owned()));
    }
    let files = Files::take(dir)?;
    let connection = opening::open_to_write(&files, true)?;
    let max_age = older_than.and_then(|age| TimeDelta::from_std(age).ok()).unwrap_or(TimeDelta::MAX);
    let retention = Retention::new(keep_entries.map_or(u64::MAX, NonZeroU64::get), u64::MAX, max_age);
    let schema::Ends { oldest: first, newest, .. } = schema::ends(&connection)?;
    let mut oldest = first;
    loop {
        let aged = retention.aged(&connection, (oldest, newest), Some(System::default().wall()))?;
        let transaction = connection.unchecked_transaction()?;
        let kept = retention.apply(&transaction, (oldest, newest), aged, STEP)?;
        transaction.commit()?;
        let transaction = connection.unchecked_transaction()?;
        if retention.remove(&transaction, kept)? {
            transaction.commit()?;
        }
        if kept == oldest {
            break;
        }
        oldest = kept;
    }
    let size = || std::fs::metadata(&path).map_or(0, |file| file.len());
    schema::checkpoint(&connection, "TRUNCATE")?;
    let before = size();
    connection.execute_batch("VACUUM")?;
    schema::checkpoint(&connection, "TRUNCATE")?;
    let (gone, left) = (oldest - first, newest + 1 - oldest);
    writeln!(out, "{gone} notifications went, {left} are left; the file had {before} bytes and has {}", size())?;
    Ok(())
}
