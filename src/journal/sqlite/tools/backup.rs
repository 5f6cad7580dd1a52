//! Copying a journal while the service writes it: one state of it, page by page.
//!
//! The state is held by a reading transaction, during which the service's write-ahead log cannot begin anew and grows with
//! all that is published. Pages are copied as they are, since that is as quick as the disk; to write the file anew (`VACUUM
//! INTO`) would hold the log several times as long, and could not be given up in between.

use std::{fs, io, io::Write, path::Path};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use crate::{
    domain::Seq,
    journal::{
        Error,
        sqlite::{
            check, files, schema,
            tools::{JournalToolError, open, part::Part},
        },
    },
};

/// How many pages are copied between two looks at the write-ahead log.
const STEP: i32 = 1_024;

/// The layout that can say of itself that it is a copy.
const LAYOUT: i64 = 2;

pub(super) fn run(dir: &Path, file: &Path, max_log_bytes: u64, out: &mut impl Write) -> Result<(), JournalToolError> {
    let connection = open::reader(dir)?;
    let found = open::layout(&connection)?;
    if found < LAYOUT {
        return Err(JournalToolError::OlderLayout { found });
    }
    let acknowledged = open::acknowledged(&connection, dir)?;
    let part = Part::create(file)?;
    let log = dir.join(format!("{}-wal", files::FILE));
    let copied = copy(&connection, part.path(), || log_is_bounded(&log, max_log_bytes));
    let state = copied.and_then(|()| seal(part.path(), acknowledged, out)).map_err(|error| match error {
        JournalToolError::Journal(Error::Full) => part.failed(io::ErrorKind::StorageFull.into()),
        other => other,
    })?;
    let bytes = part.keep()?;
    let schema::Ends { epoch, oldest, newest } = state.ends;
    writeln!(out, "{}: {bytes} bytes; epoch {epoch}, places {oldest} to {newest}", file.display())?;
    if state.findings > 0 {
        return Err(JournalToolError::Unsound);
    }
    Ok(())
}

fn log_is_bounded(log: &Path, most: u64) -> Result<(), JournalToolError> {
    let found = fs::metadata(log).map_or(0, |log| log.len());
    if found > most { Err(JournalToolError::LogTooLong { found, most }) } else { Ok(()) }
}

/// Copies one state, and asks `may_go_on` between the steps.
fn copy(
    from: &Connection,
    to: &Path,
    may_go_on: impl Fn() -> Result<(), JournalToolError>,
) -> Result<(), JournalToolError> {
    let mut to = Connection::open(to)?;
    to.pragma_update(None, "synchronous", "OFF")?;
    let snapshot = from.unchecked_transaction()?;
    // The transaction holds a state from its first look on.
    schema::ends(&snapshot)?;
    let backup = Backup::new(&snapshot, &mut to)?;
    loop {
        may_go_on()?;
        match backup.step(STEP)? {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked => std::thread::yield_now(),
            _ => {}
        }
    }
}

/// What a copy has.
struct State {
    ends: schema::Ends,
    findings: u64,
}

/// Marks a copy as one, and looks whether it is whole: its pages, its rows, its end.
fn seal(path: &Path, acknowledged: Option<Seq>, out: &mut impl Write) -> Result<State, JournalToolError> {
    let copy = Connection::open(path)?;
    // Its first start makes it a log of its own again; until then it is one file.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    copy.pragma_update(None, "cell_size_check", true)?;
    copy.execute("UPDATE journal SET is_copy = 1, unsynced_since_boot = NULL", [])?;
    let mut findings = 0;
    let mut said = Ok(());
    check::pages_and_rows(&copy, acknowledged, |_, finding| {
        findings += 1;
        if said.is_ok() && findings <= 10 {
            said = writeln!(out, "damaged: {finding}");
        }
    })?;
    said?;
    Ok(State { ends: schema::ends(&copy)?, findings })
}
