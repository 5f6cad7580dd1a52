//! Looking after a journal from the command line. One file does the work of each tool; what they say of themselves is in
//! help.rs.

mod backup;
mod check;
mod clock;
mod epoch;
mod error;
mod help;
mod open;
mod part;
mod prune;
mod transfer;

use std::{io::Write, num::NonZeroU64, path::Path, path::PathBuf, time::Duration};

pub use error::JournalToolError;

/// What can be done with a journal from the command line.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum JournalTool {
    /// Read all of the journal and say whether it is sound; exit code 0 if it is, 1 if not. May run beside the service.
    #[command(after_long_help = help::CHECK)]
    Check {
        /// List all that is found, and not only the first ten of each kind.
        #[arg(long)]
        all: bool,
    },
    /// Copy the journal of a service that runs, or of one that does not, into a file.
    #[command(after_long_help = help::BACKUP)]
    Backup {
        /// Where to; there must be nothing yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How many bytes the service's write-ahead log may have while the copy is made; beyond, the copy is given up.
        #[arg(long, value_name = "BYTES", default_value = "268435456")]
        max_log_bytes: NonZeroU64,
    },
    /// Write the journal as JSON lines: itself, its notifications, its idempotency keys. What is damaged is left out,
    /// declared and counted. May run beside the service.
    #[command(after_long_help = help::EXPORT)]
    Export {
        /// Where to; there must be nothing yet. Without, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Fill an empty journal with what `export` wrote: all of it or, on an error, nothing. The epoch is a new one, so that
    /// clients start anew.
    #[command(after_long_help = help::IMPORT)]
    Import {
        /// Where from; `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Keep the epoch, so that clients resume: this is the same history, and nothing was published elsewhere after
        /// the export.
        #[arg(long)]
        keep_epoch: bool,
        /// Take in what there is of an export that was cut, or of which lines were removed.
        #[arg(long)]
        partial: bool,
    },
    /// Let the oldest notifications go, and give their room on the disk back. Not beside the service.
    #[command(after_long_help = help::PRUNE)]
    Prune {
        /// Keep only this many.
        #[arg(long, value_name = "N")]
        keep_entries: Option<NonZeroU64>,
        /// Let go of what is older than this.
        #[arg(long, value_name = "TIME", value_parser = crate::domain::parse_duration)]
        older_than: Option<Duration>,
    },
    /// Begin a new epoch: for a copy of DATA_DIR that was put back, and for a journal that lost its end. Not beside the
    /// service.
    #[command(after_long_help = help::NEW_EPOCH)]
    NewEpoch {
        /// Go on although notifications that were acknowledged are not there.
        #[arg(long)]
        accept_loss: bool,
    },
    /// Say that this machine's clock is right: what was stamped in the future no longer counts as later than now. Not
    /// beside the service.
    #[command(after_long_help = help::SETTLE_CLOCK)]
    SettleClock,
}

impl JournalTool {
    /// Does the work on the journal in `dir`; what there is to say goes to `out`.
    pub fn run(&self, dir: &Path, out: &mut impl Write) -> Result<(), JournalToolError> {
        match self {
            Self::Check { all } => check::run(dir, *all, out),
            Self::Backup { file, max_log_bytes } => backup::run(dir, file, max_log_bytes.get(), out),
            Self::Export { out: file } => transfer::export(dir, file.as_deref(), out),
            Self::Import { file, keep_epoch, partial } => transfer::import(dir, file, (*keep_epoch, *partial), out),
            Self::Prune { keep_entries, older_than } => prune::run(dir, *keep_entries, *older_than, out),
            Self::NewEpoch { accept_loss } => epoch::run(dir, *accept_loss, out),
            Self::SettleClock => clock::run(dir, out),
        }
    }
}
