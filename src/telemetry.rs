//! Logs: lines for people in development, JSON for machines in production.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// How many lines may wait for whoever takes them; further ones are lost.
const WAITING_LINES: usize = 65_536;

/// The settings of the logs.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "telemetry")]
#[command(next_help_heading = "Logs")]
pub struct Options {
    /// What is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL, and what is worse.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", value_name = "LEVEL", value_parser = level)]
    pub log_level: LevelFilter,

    /// How it looks; `auto` is pretty in development and JSON in production.
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub log_format: Format,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// As the environment suggests.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The names of Python's logging, which the original had, and those of Rust.
fn level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_uppercase().as_str() {
        "TRACE" => Ok(LevelFilter::TRACE),
        "DEBUG" => Ok(LevelFilter::DEBUG),
        "INFO" => Ok(LevelFilter::INFO),
        "WARN" | "WARNING" => Ok(LevelFilter::WARN),
        "ERROR" | "CRITICAL" => Ok(LevelFilter::ERROR),
        _ => Err("expected DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned()),
    }
}

/// Logs to standard error from now on, until what this gives is dropped, which waits about a second at the most for the last
/// lines to be taken. Other crates are heard only when they warn.
///
/// A thread of its own writes: where nobody takes what is written, as when somebody stops a terminal, all that log would stop.
pub fn init(options: &Options, production: bool) -> WorkerGuard {
    let filter =
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), options.log_level).with_default(LevelFilter::WARN);
    let writer = NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).thread_name("log");
    let (writer, until_dropped) = writer.finish(io::stderr());
    let lines = fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
    let json = match options.log_format {
        Format::Auto => production,
        Format::Pretty => false,
        Format::Json => true,
    };
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    // A second subscriber in one process is a test's, which has its own.
    let _ = registry().with(filter).with(lines).try_init();
    until_dropped
}
