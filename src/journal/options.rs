//! The settings of the journal.

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use chrono::TimeDelta;

use crate::{domain::Durability, journal::Error};

/// The settings of the journal.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "journal")]
#[command(next_help_heading = "Journal")]
pub struct Options {
    /// Which journal keeps the notifications: `sqlite` (in DATA_DIR) or `memory` (lost when the process ends).
    #[arg(long = "journal", env = "JOURNAL", default_value = "sqlite", value_name = "ENGINE")]
    pub engine: Engine,

    /// The directory of the journal `sqlite`; it is made if it is not there.
    #[arg(long, global = true, env = "DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// What an acknowledged notification survives in the journal `sqlite`: `fsync` (a power cut) or `process` (the end of
    /// the process, but not a power cut).
    #[arg(long, env = "DURABILITY", default_value = "fsync", value_name = "DURABILITY")]
    pub durability: Promise,

    /// Keep no copy of the journal as it was when a newer version carries it forward to another layout.
    #[arg(
        long,
        env = "JOURNAL_NO_COPY",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    pub no_copy: bool,

    /// How long the journal keeps a notification.
    #[arg(long = "journal-max-age", env = "JOURNAL_MAX_AGE", default_value = "7d", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub max_age: Duration,

    /// How many notifications the journal keeps; older ones go first.
    #[arg(long = "journal-max-entries", env = "JOURNAL_MAX_ENTRIES", default_value = "1000000", value_name = "N")]
    pub max_entries: NonZeroUsize,

    /// How many bytes the journal takes, on disk for `sqlite`; older notifications go first.
    #[arg(long = "journal-max-bytes", env = "JOURNAL_MAX_BYTES", default_value = "1073741824", value_name = "BYTES")]
    pub max_bytes: NonZeroUsize,

    /// How many bytes of the newest notifications are held in memory: all that `memory` keeps, and what `sqlite` serves
    /// without reading the disk.
    #[arg(
        long = "journal-memory-bytes",
        env = "JOURNAL_MEMORY_BYTES",
        default_value = "67108864",
        value_name = "BYTES"
    )]
    pub memory_bytes: NonZeroUsize,

    /// How long an idempotency key is remembered, as far as IDEMPOTENCY_MAX_BYTES reach.
    #[arg(long, env = "IDEMPOTENCY_WINDOW", default_value = "24h", value_name = "TIME",
        value_parser = crate::domain::parse_duration)]
    pub idempotency_window: Duration,

    /// How many bytes of memory the idempotency keys take, 64 for each, and at most a quarter of JOURNAL_MAX_BYTES; one publisher
    /// has at most half of them. The oldest go first, of whoever has most.
    #[arg(long, env = "IDEMPOTENCY_MAX_BYTES", default_value = "268435456", value_name = "BYTES")]
    pub idempotency_max_bytes: NonZeroUsize,

    /// How many idempotency keys are remembered at the most; without, only IDEMPOTENCY_MAX_BYTES bounds them.
    #[arg(long, env = "IDEMPOTENCY_MAX_KEYS", value_name = "N")]
    pub idempotency_max_keys: Option<NonZeroUsize>,
}

impl Options {
    /// Whether a journal could be written in DATA_DIR. Leaves nothing behind.
    pub fn check_place(&self) -> Result<(), Error> {
        if self.engine == Engine::Memory {
            return Ok(());
        }
        // What is missing is made at the start, below the first directory that is there.
        let there = self.data_dir.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
        let trial = there.join(format!(".check-{}", process::id()));
        let written = File::create_new(&trial).and_then(|_| fs::remove_file(&trial));
        written.map_err(|error| Error::Unusable { dir: self.data_dir.clone(), reason: error.to_string() })
    }

    pub(super) fn max_age(&self) -> TimeDelta {
        TimeDelta::from_std(self.max_age).unwrap_or(TimeDelta::MAX)
    }

    pub(super) fn idempotency_window(&self) -> TimeDelta {
        TimeDelta::from_std(self.idempotency_window).unwrap_or(TimeDelta::MAX)
    }
}

/// The stores that can hold the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// A file of the embedded database.
    Sqlite,
    /// The memory of the process.
    Memory,
}

/// What an acknowledged notification survives, where the engine can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Promise {
    /// A power cut.
    Fsync,
    /// The end of the process.
    Process,
}

impl From<Promise> for Durability {
    fn from(promise: Promise) -> Self {
        match promise {
            Promise::Fsync => Self::Fsync,
            Promise::Process => Self::Process,
        }
    }
}
