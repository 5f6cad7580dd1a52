//! The command line.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum};

/// How often each measurement is taken, unless it is said.
const ROUNDS: usize = 3;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// What is measured; all of it, unless it is said.
    parts: Vec<Part>,
    /// How often each measurement is taken.
    #[arg(long)]
    rounds: Option<NonZeroUsize>,
    /// One short round, on a small journal.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measures the service without its peers, and adds a line of JSON for each figure to this file.
    #[arg(long)]
    pub(crate) figures: Option<PathBuf>,
    /// What cargo says to each bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Unary publishers against redis-server.
    Append,
    /// One stream of events, as fast as it goes.
    Stream,
    /// How long one publisher waits.
    Latency,
    /// What a large journal takes to open and to resume from.
    Replay,
}

impl Part {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no part is skipped").get_name().to_owned()
    }
}

impl Args {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 1 } else { ROUNDS }, NonZeroUsize::get)
    }

    /// Whether what the service is held against is run, too.
    pub(crate) fn with_peers(&self) -> bool {
        self.figures.is_none()
    }

    /// For how long a load is measured, once it has got going.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 5 })
    }

    /// Where the measured programs keep their files: on the disk of the build, unless BENCH_DIR says otherwise.
    pub(crate) fn directory() -> PathBuf {
        let base =
            std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        base.join("journal")
    }
}

/// The service that is measured: the one of this build, unless SERVER names another.
pub(crate) fn server() -> PathBuf {
    std::env::var_os("SERVER")
        .map_or_else(|| Path::new(env!("CARGO_BIN_EXE_exposia-notifications")).to_owned(), PathBuf::from)
}
