//! Why a journal cannot serve, and what to do about it.

use std::{io, path::PathBuf};

use crate::domain::Code;

/// Why the journal cannot serve.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no room left; a later try may succeed.
    #[error("the journal is full: no room is left on the disk; try again later")]
    Full,
    /// The disk does not do as it is told; a later try may succeed.
    #[error("the journal cannot be used: {0}")]
    Io(String),
    /// It was given up to wait for what was appended, which may have been kept.
    #[error(
        "the journal has not answered in time, and may have kept the event: a retry with the same idempotency key is safe, \
         one without a key may publish it twice"
    )]
    Unknown,
    /// The journal is shutting down.
    #[error("the journal is closed")]
    Closed,
    /// What is stored makes no sense.
    #[error(
        "the journal is damaged: {0}; keep a copy of DATA_DIR, look with `exposia-notifications journal check`, save what \
         can be read with `journal export --out FILE`, and `journal import FILE` it into an empty DATA_DIR"
    )]
    Damaged(String),
    /// The file was written by a later version.
    #[error(
        "{}: this journal has schema {found}, and this version knows up to {known}; start the newer version again, or \
         carry it over: `exposia-notifications journal export` there, `journal import` here into an empty DATA_DIR",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that is understood.
        known: i64,
    },
    /// What was acknowledged is not there any more.
    #[error(
        "DATA_DIR {}: the journal is gone: {known}, and notifications.db is missing or holds nothing; put it back, or restore \
         a backup, or accept the loss and begin anew with `exposia-notifications journal new-epoch --accept-loss`",
        dir.display()
    )]
    Lost {
        /// The directory.
        dir: PathBuf,
        /// By what it is known.
        known: String,
    },
    /// A copy lies beside the log of the journal that was there before.
    #[error(
        "DATA_DIR {}: notifications.db is a copy that was put back, and notifications.db-wal beside it is the log of another \
         journal, which would ruin it; move that and notifications.db-shm away, and start again: nothing was changed",
        dir.display()
    )]
    StrangeLog {
        /// The directory.
        dir: PathBuf,
    },
    /// An older layout could not be carried forward.
    #[error(
        "DATA_DIR {}: the journal has an older layout and could not be carried forward: {reason}; make room or give the right \
         to write, and start again: nothing was changed",
        dir.display()
    )]
    NotCarried {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Another process holds the journal.
    #[error(
        "{}: another process uses this DATA_DIR; stop it, or give this one a DATA_DIR of its own", dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The place for the journal cannot be used.
    #[error("DATA_DIR {}: {reason}; it must be a directory that this user may write to", dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl Error {
    /// The error as callers see it.
    pub fn code(&self) -> Code {
        match self {
            Self::Damaged(_) => Code::Internal,
            Self::Full
            | Self::Io(_)
            | Self::Unknown
            | Self::Closed
            | Self::Newer { .. }
            | Self::Lost { .. }
            | Self::StrangeLog { .. }
            | Self::NotCarried { .. }
            | Self::Locked { .. }
            | Self::Unusable { .. } => Code::Unavailable,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error.to_string()),
        }
    }
}
