//! The files of a journal: whose they are, whether those are there that were there before, and whether they still are the ones
//! that were opened.
//!
//! The lock lies on the database file itself, so that nothing that could be removed beside it lets a second process in. It is
//! taken on a descriptor that is opened before the database opens the file and closed after it: the system gives back all
//! locks of a process on a file when it closes any descriptor of it, the database's own among them. So nothing else in the
//! process may open that file; whoever wants to know of it asks by its name, or this descriptor.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::journal::{
    Error,
    sqlite::ack_watermark::{self, Note},
};

/// The name of the database file in the data directory, and that of its write-ahead log.
pub(super) const FILE: &str = "notifications.db";
const LOG: &str = "notifications.db-wal";

/// Earlier versions hold this file's lock; whoever holds the journal holds it, too, as long as it is there.
const LOCK_FILE: &str = "lock";

/// How long a process may take to let its lock go, and how often that is looked at.
const LET_GO_IN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Which file it is, whatever its name.
type Identity = (u64, u64);

/// A data directory that belongs to this process, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    database: File,
    database_is: Identity,
    /// Known from the first commit on.
    log_is: Option<Identity>,
    _lock: Option<File>,
}

impl Files {
    /// Makes the data directory if it is not there, and takes it for this process. A directory whose journal is gone is
    /// refused.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        refuse_loss(dir)?;
        refuse_strange_log(dir)?;
        Self::take_anew(dir)
    }

    /// The same for whoever knows that the journal is gone, and wants another.
    pub(super) fn take_anew(dir: &Path) -> Result<Self, Error> {
        let unusable = |error: io::Error| Error::Unusable { dir: dir.to_owned(), reason: error.to_string() };
        make(dir).map_err(unusable)?;
        let lock = match open(&dir.join(LOCK_FILE)) {
            Ok(file) => Some(held(file, dir)?),
            // Where nothing can be written, what can be read is served, and the database file has a lock of its own.
            Err(error) if cannot_write(&error) => None,
            Err(error) => return Err(unusable(error)),
        };
        let database = open(&dir.join(FILE)).map_err(unusable)?;
        let database = held(database, dir)?;
        let database_is = identity(&database.metadata().map_err(unusable)?);
        Ok(Self { dir: dir.to_owned(), database, database_is, log_is: None, _lock: lock })
    }

    /// The data directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The database file.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Whether the file is whole without its log. While this is held, nobody else writes to it.
    pub(super) fn are_without_log(&self) -> bool {
        fs::metadata(self.dir.join(LOG)).map_or(0, |log| log.len()) == 0
    }

    /// Whether the files are the ones that were opened; what is wrong, if not. What is written from then on goes nowhere.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let found = |name: &str| fs::metadata(self.dir.join(name)).map(|file| identity(&file)).ok();
        let wrong = |name: &str, what: &str| {
            let path = self.dir.join(name);
            Err(format!("{} was {what} while the service ran; put it back, or start the service again", path.display()))
        };
        match found(FILE) {
            Some(found) if found == self.database_is => {}
            Some(_) => return wrong(FILE, "replaced"),
            None => return wrong(FILE, "deleted"),
        }
        match (found(LOG), self.log_is) {
            (_, None) => {}
            (Some(found), Some(known)) if found == known => {}
            (Some(_), Some(_)) => return wrong(LOG, "replaced"),
            (None, Some(_)) => return wrong(LOG, "deleted"),
        }
        Ok(())
    }

    /// Remembers which file the log is; it is there when something was committed.
    pub(super) fn remember_log(&mut self) {
        if self.log_is.is_none() {
            self.log_is = fs::metadata(self.dir.join(LOG)).ok().map(|file| identity(&file));
        }
    }

    /// Copies the database file to `to`, beside it first, so that what has that name is whole. Nothing may write meanwhile.
    pub(super) fn copy(&self, to: &Path) -> io::Result<()> {
        let part = to.with_extension("part");
        let copied = || {
            let mut from = &self.database;
            from.seek(SeekFrom::Start(0))?;
            let mut copy = File::create(&part)?;
            copy.set_permissions(self.database.metadata()?.permissions())?;
            io::copy(&mut from, &mut copy)?;
            copy.sync_all()?;
            fs::rename(&part, to)?;
            File::open(&self.dir)?.sync_all()
        };
        copied().inspect_err(|_| drop(fs::remove_file(&part)))
    }
}

/// A file that is new or was never written to holds no journal. Was there one before, it is gone: that is told, and what is
/// left of it is not touched.
fn refuse_loss(dir: &Path) -> Result<(), Error> {
    let size = |name: &str| fs::metadata(dir.join(name)).map_or(0, |file| file.len());
    match fs::metadata(dir.join(FILE)) {
        Ok(file) if file.len() > 0 => return Ok(()),
        // Nothing here can be looked at; taking the directory says why.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
        _ => {}
    }
    refuse_acknowledged(dir)?;
    match size(LOG) {
        0 => Ok(()),
        _ => Err(Error::Lost { dir: dir.to_owned(), known: format!("its write-ahead log {LOG} is there") }),
    }
}

/// A file that was never written to through a log, as copies are, has none: one beside it is another journal's, and the database
/// would carry it over. To be asked before the database opens the file in this process.
pub(super) fn refuse_strange_log(dir: &Path) -> Result<(), Error> {
    /// Where the header says by what the file is written to, and what it says of a file without a log.
    const WRITTEN_BY: u64 = 18;
    const NO_LOG: u8 = 1;
    let mut says = [0];
    let read = File::open(dir.join(FILE)).and_then(|file| file.read_exact_at(&mut says, WRITTEN_BY));
    let log = fs::metadata(dir.join(LOG)).map_or(0, |log| log.len());
    if read.is_ok() && says == [NO_LOG] && log > 0 {
        return Err(Error::StrangeLog { dir: dir.to_owned() });
    }
    Ok(())
}

/// A data directory whose journal holds nothing, although something was acknowledged, has lost it.
pub(super) fn refuse_acknowledged(dir: &Path) -> Result<(), Error> {
    match ack_watermark::read(dir) {
        Note::Named { seq: seq @ 1.., .. } => {
            Err(Error::Lost { dir: dir.to_owned(), known: format!("notification {seq} was acknowledged") })
        }
        Note::Garbled => {
            tracing::warn!("{}: the note of what was acknowledged cannot be read; it is begun anew", dir.display());
            Ok(())
        }
        Note::Named { .. } | Note::Absent => Ok(()),
    }
}

/// Makes a directory that survives a power cut as soon as what is in it does.
fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    let dir = fs::canonicalize(dir)?;
    dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Opens a file and makes it if it is not there; only to read it, where it cannot be written to.
fn open(path: &Path) -> io::Result<File> {
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(path);
    match opened {
        Err(error) if cannot_write(&error) => File::open(path).map_err(|_| error),
        opened => opened,
    }
}

/// Whether a file cannot be written to where it can perhaps be read.
fn cannot_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied | ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// The file with its lock. A process that was killed may take a moment until the system has taken its lock from it.
fn held(file: File, dir: &Path) -> Result<File, Error> {
    let patience = Instant::now() + LET_GO_IN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => thread::park_timeout(LOOK_EVERY),
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => {
                return Err(Error::Unusable { dir: dir.to_owned(), reason: error.to_string() });
            }
        }
    }
}

fn identity(file: &fs::Metadata) -> Identity {
    (file.dev(), file.ino())
}
