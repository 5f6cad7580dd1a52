//! Runs a check, and says what it found.

use std::{collections::BTreeMap, io::Write, path::Path};

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::Connection;

use crate::{
    clock::{Clock, System},
    journal::{
        log::millis,
        sqlite::{
            archive,
            check::{self, FindingKind, Seen},
            files, schema,
            tools::{JournalToolError, open},
        },
    },
};

/// How much is said of one kind, unless all is asked for.
const SOME: u64 = 10;

pub(super) fn run(dir: &Path, all: bool, out: &mut impl Write) -> Result<(), JournalToolError> {
    let connection = open::reader(dir)?;
    let acknowledged = open::acknowledged(&connection, dir)?;
    let snapshot = connection.unchecked_transaction()?;
    writeln!(out, "{}", dir.join(files::FILE).display())?;
    let mut report = Report { out, all, told: BTreeMap::new(), failed: Ok(()) };
    let seen = check::findings(&snapshot, acknowledged, |kind, finding| report.tell(kind, &finding))?;
    report.end()?;
    summary(&snapshot, &seen, out)
}

/// What was said so far.
struct Report<'o, W> {
    out: &'o mut W,
    all: bool,
    /// How much there is of each kind.
    told: BTreeMap<FindingKind, u64>,
    failed: std::io::Result<()>,
}

impl<W: Write> Report<'_, W> {
    fn tell(&mut self, kind: FindingKind, finding: &str) {
        let told = self.told.entry(kind).or_default();
        *told += 1;
        if self.failed.is_ok() && (self.all || *told <= SOME) {
            self.failed = writeln!(self.out, "damaged: {finding}");
        }
    }

    /// Says how much was not said. An error when there was anything.
    fn end(self) -> Result<(), JournalToolError> {
        self.failed?;
        for (kind, told) in &self.told {
            let more = told.saturating_sub(SOME);
            if more > 0 && !self.all {
                let of = match kind {
                    FindingKind::File => "the file",
                    FindingKind::Notifications => "the notifications",
                    FindingKind::Times => "their times",
                    FindingKind::Index => "the index",
                    FindingKind::Keys => "the idempotency keys",
                    FindingKind::End => "the end",
                };
                writeln!(self.out, "damaged: {more} more findings about {of}; `journal check --all` lists them")?;
            }
        }
        if self.told.is_empty() { Ok(()) } else { Err(JournalToolError::Unsound) }
    }
}

/// What there is in a sound journal.
fn summary(snapshot: &Connection, seen: &Seen, out: &mut impl Write) -> Result<(), JournalToolError> {
    let schema::Ends { epoch, oldest, newest } = schema::ends(snapshot)?;
    let (count, keys) = (seen.notifications, archive::count_keys(snapshot)?);
    writeln!(out, "epoch {epoch}; {count} notifications, places {oldest} to {newest}; {keys} idempotency keys")?;
    if seen.known_missing > 0 {
        let missing = seen.known_missing;
        writeln!(out, "{missing} places between them are known to hold nothing; clients are told so")?;
    }
    let (rows, pages) = check::unsealed(snapshot)?;
    if rows + pages > 0 {
        writeln!(out, "{rows} rows and {pages} pages of the index have no checksum: an older version wrote them")?;
    }
    let flag = |name| snapshot.query_row(&format!("SELECT {name} FROM journal"), [], |row| row.get::<_, i64>(0));
    if flag("is_copy")? != 0 {
        writeln!(out, "it is a copy: its first start begins a new epoch")?;
    }
    if let Some(latest) = seen.latest.filter(|latest| *latest > millis(System::default().wall())) {
        let latest = DateTime::from_timestamp_millis(latest).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let latest = latest.to_rfc3339_opts(SecondsFormat::Secs, true);
        writeln!(out, "the latest stamp is {latest}, which this machine's clock has not reached; see `settle-clock`")?;
    }
    writeln!(out, "sound")?;
    Ok(())
}
