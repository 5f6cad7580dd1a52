//! Why a tool could not do its work, and what to do about it.

use std::{io, path::PathBuf};

use crate::{
    domain::Seq,
    journal::{self, sqlite::failure},
};

/// Why a tool could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JournalToolError {
    /// There is no journal.
    #[error("DATA_DIR {}: there is no journal here", .0.display())]
    Absent(PathBuf),
    /// A service holds the file alone.
    #[error(
        "DATA_DIR {}: the service holds the file alone, since it started on a full disk: start it again when there is room, and then \
         this", .0.display()
    )]
    HeldAlone(PathBuf),
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
    /// An export has no last line.
    #[error(
        "line {line}: the export ends here, and its last line says otherwise or is missing: it was cut; export once more, or take \
         in what there is with `journal import --partial`"
    )]
    Cut {
        /// How many lines there are.
        line: usize,
    },
    /// Notifications are missing, and the epoch was to stay.
    #[error(
        "the export lacks {missing} notifications, the first at place {first}: under the same epoch clients would resume over them \
         unawares; import it without `--keep-epoch`, and they start anew"
    )]
    KeptEpoch {
        /// How many.
        missing: u64,
        /// The first of them.
        first: Seq,
    },
    /// The journal is not sound.
    #[error("the journal is damaged; save what can be read with `exposia-notifications journal export --out FILE`")]
    Unsound,
    /// Something is where a file was to be.
    #[error("{}: there is something here already, which is never written over: name another file", .0.display())]
    Exists(PathBuf),
    /// The write-ahead log became too long.
    #[error(
        "the service's write-ahead log has {found} bytes, and the copy may let it have {most}; nothing was kept. Notifications come \
         faster than they can be copied: copy when there are fewer, to a faster disk, or allow more with `--max-log-bytes`"
    )]
    LogTooLong {
        /// How many bytes it has.
        found: u64,
        /// How many it may have.
        most: u64,
    },
    /// A file of an older version, where only a newer one will do.
    #[error(
        "this journal has the layout {found} of an older version, which cannot say of itself that it is a copy; start this version on \
         it once, or stop the service and copy DATA_DIR as a whole"
    )]
    OlderLayout {
        /// Its layout.
        found: i64,
    },
    /// Something that was acknowledged is not there.
    #[error(
        "notification {acknowledged} was acknowledged, and the journal ends at {newest}: restore a later copy, or go on without what \
         is missing with `exposia-notifications journal new-epoch --accept-loss`"
    )]
    Lost {
        /// The newest that was acknowledged.
        acknowledged: Seq,
        /// The newest that is there.
        newest: Seq,
    },
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

impl From<rusqlite::Error> for JournalToolError {
    fn from(error: rusqlite::Error) -> Self {
        failure(&error).into()
    }
}
