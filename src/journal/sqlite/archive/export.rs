//! Writes the lines of an export.

use std::{
    io::Write,
    ops::{Range, RangeInclusive},
    str,
};

use rusqlite::Connection;

use crate::{
    domain::{self, Payload, Seq},
    journal::{
        log::millis,
        sqlite::{
            archive::{
                FORMAT, Line, Notification, key,
                walk::{Found, Holes, Joined, RowWalk, sum},
            },
            index, record, schema,
            tools::JournalToolError,
        },
    },
};

/// What was exported, and what was not.
#[derive(Debug, Default)]
pub(in crate::journal::sqlite) struct Exported {
    pub(in crate::journal::sqlite) notifications: u64,
    pub(in crate::journal::sqlite) keys: u64,
    /// How many positions were known to hold nothing.
    pub(in crate::journal::sqlite) known_missing: u64,
    /// How many more could not be read.
    pub(in crate::journal::sqlite) damaged: u64,
    /// Some keys could not be read.
    pub(in crate::journal::sqlite) unread_keys: bool,
}

/// Writes a journal, of which `acknowledged` is the newest position that is known to have been given, whatever the file has.
pub(in crate::journal::sqlite) fn export(
    connection: &Connection,
    acknowledged: Option<Seq>,
    out: &mut impl Write,
) -> Result<Exported, JournalToolError> {
    let snapshot = connection.unchecked_transaction()?;
    let (epoch, positions) = positions(&snapshot, acknowledged)?;
    let newest = acknowledged.unwrap_or(0).max(positions.end - 1);
    write(out, &Line::Journal { format: FORMAT, epoch: epoch.to_string(), oldest: positions.start, newest })?;
    let holes = Holes::read(&snapshot, &positions)?;
    let mut export = Export { out, holes, missing: Joined::default(), exported: Exported::default() };
    export.notifications(&snapshot, &epoch, positions.clone())?;
    if newest >= positions.end {
        export.miss(positions.end..=newest)?;
    }
    export.declare()?;
    let Export { out, mut exported, .. } = export;
    exported.unread_keys = !key::each(&snapshot, |line| {
        exported.keys += 1;
        write(out, &Line::Key(line))
    })?;
    let Exported { notifications, keys, known_missing, damaged, .. } = exported;
    write(out, &Line::End { notifications, missing: known_missing + damaged, keys })?;
    out.flush()?;
    Ok(exported)
}

/// Whose positions there are, and which. Where the last row cannot be read, all are meant that may be there.
fn positions(
    snapshot: &Connection,
    acknowledged: Option<Seq>,
) -> Result<(domain::Epoch, Range<Seq>), JournalToolError> {
    if let Ok(schema::Ends { epoch, oldest, newest }) = schema::ends(snapshot) {
        return Ok((epoch, oldest..newest + 1));
    }
    let (epoch, oldest) = snapshot.query_row("SELECT epoch, oldest FROM journal", [], |row| {
        Ok((domain::Epoch::from_text(row.get_ref(0)?.as_str()?), row.get::<_, i64>(1)? as Seq))
    })?;
    let newest = acknowledged.unwrap_or(0).max(index::end(snapshot).unwrap_or(0));
    Ok((epoch, oldest..newest.max(oldest - 1) + 1))
}

fn write(out: &mut impl Write, line: &Line<&str>) -> Result<(), JournalToolError> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// How far an export is.
struct Export<'o, W> {
    out: &'o mut W,
    holes: Holes,
    /// What was missing last and is not declared yet: more may follow on it.
    missing: Joined,
    exported: Exported,
}

impl<W: Write> Export<'_, W> {
    fn notifications(
        &mut self,
        snapshot: &Connection,
        epoch: &domain::Epoch,
        positions: Range<Seq>,
    ) -> Result<(), JournalToolError> {
        for found in RowWalk::new(snapshot, positions) {
            match found {
                Found::Nothing(range) => self.miss(range)?,
                Found::BatchRow(batch_row, positions) => {
                    for seq in positions {
                        match batch_row.notification(epoch, seq) {
                            Ok(notification) => self.notification(&notification, batch_row.appended_at)?,
                            Err(_) => self.miss(seq..=seq)?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn notification(&mut self, notification: &domain::Notification, appended_at: i64) -> Result<(), JournalToolError> {
        let domain::Notification { seq, event, audiences, expires_at, .. } = notification;
        // A row without a checksum may have anything in it, and nobody could import this again.
        let Ok(payload) = Payload::check_json(event.payload.as_bytes()) else { return self.miss(*seq..=*seq) };
        self.declare()?;
        self.exported.notifications += 1;
        let line = Notification {
            seq: *seq,
            appended_at,
            expires_at: expires_at.map(millis),
            audiences: audiences.as_slice().iter().map(record::key).collect(),
            event: event.name.to_string(),
            source: event.source.to_string(),
            timestamp: event.timestamp.to_string(),
            payload,
        };
        write(self.out, &Line::Notification(line))
    }

    /// Notes that there is nothing at these positions.
    fn miss(&mut self, range: RangeInclusive<Seq>) -> Result<(), JournalToolError> {
        let (known, unknown) = self.holes.split(&range);
        self.exported.known_missing += sum(&known);
        self.exported.damaged += sum(&unknown);
        let before = self.missing.add(range);
        self.hole(before)
    }

    /// Declares what was missing.
    fn declare(&mut self) -> Result<(), JournalToolError> {
        let range = self.missing.take();
        self.hole(range)
    }

    fn hole(&mut self, range: Option<RangeInclusive<Seq>>) -> Result<(), JournalToolError> {
        range.map_or(Ok(()), |range| write(self.out, &Line::Hole { from: *range.start(), to: *range.end() }))
    }
}
