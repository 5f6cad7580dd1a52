//! Sets up the logs: lines for people in development, JSON for machines in production.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    borrow::Cow,
    io::{self, IsTerminal, Write},
    panic, thread,
};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::worker::{Lifeline, Worker};

/// The thread that writes the log.
const THREAD: &str = "log";

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

/// A log that is written, until this is dropped, which waits about a second at the most for the last lines to be taken.
#[derive(Debug)]
#[must_use]
pub struct LogHandle {
    /// The thread that writes it, which ends when this is dropped.
    pub worker: Worker,
    _until_dropped: WorkerGuard,
}

/// Logs to standard error from now on, panics too, until what this gives is dropped. Other crates are heard only when they warn.
pub fn init(options: &Options, production: bool) -> LogHandle {
    let filter =
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), options.log_level).with_default(LevelFilter::WARN);
    let (writer, log) = written_to(io::stderr());
    let lines = fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
    let json = match options.log_format {
        Format::Auto => production,
        Format::Pretty => false,
        Format::Json => true,
    };
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    // A second subscriber in one process is a test's, which has its own.
    let _ = registry().with(filter).with(lines).try_init();
    log_panics();
    log
}

/// Has a thread of its own write to `out`: where nobody takes what is written, as when somebody stops a terminal, all that
/// log would stop.
pub fn written_to(out: impl Write + Send + 'static) -> (NonBlocking, LogHandle) {
    let (worker, lifeline) = Worker::new(THREAD);
    let builder = NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).thread_name(THREAD);
    let (writer, _until_dropped) = builder.finish(Held { out, lifeline });
    (writer, LogHandle { worker, _until_dropped })
}

/// What the thread of the log writes to. The thread has it for as long as it lives, and so its end is told.
struct Held<W> {
    out: W,
    lifeline: Lifeline,
}

impl<W: Write> Write for Held<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lifeline.failpoint();
        match escaped(bytes) {
            Cow::Borrowed(bytes) => self.out.write(bytes),
            Cow::Owned(escaped) => self.out.write_all(&escaped).map(|()| bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The bytes of lines with what would break or turn them, wherever it came from, written as JSON escapes it: the separators of
/// lines and paragraphs, and the marks that embed, override and isolate the direction of text.
fn escaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mark = |at: &[u8]| match *at {
        [0xe2, 0x80, last @ 0xa8..=0xae, ..] => Some(0x2000 | u32::from(last & 0x3f)),
        [0xe2, 0x81, last @ 0xa6..=0xa9, ..] => Some(0x2040 | u32::from(last & 0x3f)),
        _ => None,
    };
    if !bytes.contains(&0xe2) {
        return bytes.into();
    }
    let mut escaped = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        match mark(rest) {
            Some(code) => {
                escaped.extend(format!("\\u{code:04x}").bytes());
                rest = &rest[3..];
            }
            None => {
                escaped.push(*first);
                rest = &rest[1..];
            }
        }
    }
    escaped.into()
}

/// Makes each panic a line of the log, in its format, in place of some that people alone can read.
fn log_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        // A log whose own thread panics is written by nobody any more.
        if thread.name() == Some(THREAD) {
            return print(panic);
        }
        let (location, backtrace) = (panic.location().map(tracing::field::display), Backtrace::capture());
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
        tracing::error!(thread = thread.name(), location, backtrace, "panicked: {}", message(panic.payload()));
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_a_line_is_written_as_its_number() {
        let escaped = |text: &str| String::from_utf8(escaped(text.as_bytes()).into_owned()).expect("UTF-8");
        assert_eq!(escaped("ana\u{202e}\u{2028}\u{2069}."), r"ana\u202e\u2028\u2069.");
        let plain = "José “€” \u{200f}😀\n";
        assert_eq!(escaped(plain), plain);
    }
}
