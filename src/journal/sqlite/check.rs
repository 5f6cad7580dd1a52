//! Whether a journal is sound: what the database says of its file, and what must be true of what is in it.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
};

use rusqlite::Connection;

use crate::{
    domain::{Epoch, Payload, Seq},
    journal::{
        Error,
        sqlite::{
            archive::{self, Found, Holes, Joined, RowWalk},
            batch_row::BatchRow,
            checksum,
            index::{self, Index, Segment},
            record, schema,
        },
    },
};

/// How many findings of the database are asked for at the most.
const MOST_OF_FILE: usize = 100_000;

/// A kind of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FindingKind {
    File,
    Notifications,
    Times,
    Index,
    Keys,
    End,
}

/// What is seen of a sound journal.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) notifications: u64,
    /// How many positions are known to hold nothing.
    pub(super) known_missing: u64,
    /// The latest time at which a notification was appended, in milliseconds since 1970.
    pub(super) latest: Option<i64>,
}

/// Tells what is wrong with a journal of which the position `acknowledged` is known to have been given; nothing if it is sound.
pub(super) fn findings(
    snapshot: &Connection,
    acknowledged: Option<Seq>,
    mut tell: impl FnMut(FindingKind, String),
) -> Result<Seen, Error> {
    let failed = |error| super::failure(&error);
    file(snapshot, |finding| tell(FindingKind::File, finding)).map_err(failed)?;
    let ends = match schema::ends(snapshot) {
        Ok(ends) => ends,
        Err(error) => {
            tell(FindingKind::End, format!("where the journal ends cannot be read: {error}"));
            return Ok(Seen::default());
        }
    };
    let schema::Ends { epoch, oldest, newest } = &ends;
    let seen = notifications(snapshot, epoch, *oldest..newest + 1, &mut tell).map_err(failed)?;
    let index = index(snapshot, epoch, *oldest, |finding| tell(FindingKind::Index, finding));
    if let Err(error) = index {
        tell(FindingKind::Index, error.to_string());
    }
    if let Err(error) = archive::key_findings(snapshot, *newest, |finding| tell(FindingKind::Keys, finding)) {
        tell(FindingKind::Keys, error.to_string());
    }
    tell_lost_end(*newest, acknowledged, &mut tell);
    Ok(seen)
}

/// The quicker part of it: the pages of the file and the rows of notifications, without the index.
pub(super) fn pages_and_rows(
    file: &Connection,
    acknowledged: Option<Seq>,
    mut tell: impl FnMut(FindingKind, String),
) -> Result<(), Error> {
    let failed = |error| super::failure(&error);
    let mut statement = file.prepare("PRAGMA quick_check").map_err(failed)?;
    let pages = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    for finding in pages.map(|finding| finding.unwrap_or_else(|error| error.to_string())) {
        if finding != "ok" {
            tell(FindingKind::File, finding);
        }
    }
    let schema::Ends { epoch, oldest, newest } = schema::ends(file).map_err(failed)?;
    notifications(file, &epoch, oldest..newest + 1, &mut tell).map_err(failed)?;
    tell_lost_end(newest, acknowledged, &mut tell);
    Ok(())
}

fn tell_lost_end(newest: Seq, acknowledged: Option<Seq>, tell: &mut impl FnMut(FindingKind, String)) {
    if let Some(acknowledged) = acknowledged.filter(|seq| *seq > newest) {
        tell(FindingKind::End, format!("it ends at notification {newest}, but {acknowledged} was acknowledged"));
    }
}

/// What the database finds.
fn file(snapshot: &Connection, mut tell: impl FnMut(String)) -> rusqlite::Result<()> {
    let mut statement = snapshot.prepare(&format!("PRAGMA main.integrity_check({MOST_OF_FILE})"))?;
    let findings = statement.query_map([], |row| row.get::<_, String>(0))?;
    let findings = findings.map(|finding| finding.unwrap_or_else(|error| error.to_string()));
    findings.filter(|finding| finding != "ok").for_each(&mut tell);
    Ok(())
}

/// Every position holds a notification that can be read, or is known to hold none.
fn notifications(
    snapshot: &Connection,
    epoch: &Epoch,
    positions: Range<Seq>,
    tell: &mut impl FnMut(FindingKind, String),
) -> rusqlite::Result<Seen> {
    let holes = Holes::read(snapshot, &positions)?;
    let (mut seen, mut times, mut missing) = (Seen::default(), Times::default(), Joined::default());
    let mut lost = Vec::new();
    for found in RowWalk::new(snapshot, positions) {
        match found {
            Found::Nothing(range) => {
                times.unknown = true;
                lost.push(range);
            }
            Found::BatchRow(batch_row, positions) => {
                lost.extend(unreadable(&batch_row, epoch, &positions));
                let held = positions.end - positions.start - archive::sum(&lost);
                seen.notifications += held;
                match held {
                    0 => times.unknown = true,
                    _ => times.follow(&batch_row).into_iter().for_each(|finding| tell(FindingKind::Times, finding)),
                }
            }
        }
        for range in lost.drain(..).filter_map(|range| missing.add(range)) {
            seen.known_missing += tell_unknown(&holes, &range, tell);
        }
    }
    seen.latest = times.latest;
    if let Some(range) = missing.take() {
        seen.known_missing += tell_unknown(&holes, &range, tell);
    }
    Ok(seen)
}

/// Tells what of a range is not known to hold nothing, and gives how much is.
fn tell_unknown(holes: &Holes, range: &RangeInclusive<Seq>, tell: &mut impl FnMut(FindingKind, String)) -> u64 {
    let (known, unknown) = holes.split(range);
    unknown.iter().for_each(|range| tell(FindingKind::Notifications, cannot_be_read(range)));
    archive::sum(&known)
}

fn cannot_be_read(range: &RangeInclusive<Seq>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => format!("notification {first} cannot be read"),
        (first, last) => format!("notifications {first} to {last} cannot be read"),
    }
}

/// Which of `positions` of a row hold nothing that a subscriber could get.
fn unreadable(batch_row: &BatchRow, epoch: &Epoch, positions: &Range<Seq>) -> Vec<RangeInclusive<Seq>> {
    let readable = |seq| {
        let notification = batch_row.notification(epoch, seq);
        notification.is_ok_and(|notification| Payload::check_json(notification.event.payload.as_bytes()).is_ok())
    };
    positions.clone().filter(|seq| !readable(*seq)).map(|seq| seq..=seq).collect()
}

/// The times that were reached never fall, and none of them comes from nowhere. Those at which notifications were appended may
/// fall, since clocks are put back.
#[derive(Debug, Default)]
struct Times {
    reached_at: Option<i64>,
    /// The latest time at which one of those so far was appended.
    latest: Option<i64>,
    /// There was something that could not be read, which may have been later.
    unknown: bool,
}

impl Times {
    fn follow(&mut self, batch_row: &BatchRow) -> Option<String> {
        let before = self.reached_at.replace(batch_row.reached_at);
        self.latest = self.latest.max(Some(batch_row.appended_at));
        let falls = before.is_some_and(|before| batch_row.reached_at < before);
        // Before the first that is kept lay others, which may have been later, too.
        let first = before.is_none() || self.unknown;
        let from_nowhere = !first && Some(batch_row.reached_at) > self.latest.max(before);
        self.unknown = false;
        (falls || from_nowhere).then(|| format!("the time reached with notification {} is wrong", batch_row.first))
    }
}

/// The pages of the index are as they were written, and all notifications of a segment are on them.
fn index(snapshot: &Connection, epoch: &Epoch, oldest: Seq, mut tell: impl FnMut(String)) -> Result<(), Error> {
    let failed = |error| super::failure(&error);
    pages(snapshot, &mut tell).map_err(failed)?;
    let mut end = oldest;
    for found in index::segments(snapshot).map_err(failed)? {
        let Some(found) = found else {
            tell("a part of the index is not as it was written".to_owned());
            continue;
        };
        let first = found.positions.start;
        let positions = first.max(oldest)..found.positions.end.min(first.saturating_add(index::MAX_POSITIONS));
        if let Some(finding) = segment(snapshot, epoch, &found, positions.clone()).map_err(failed)? {
            tell(finding);
        }
        let unindexed = RowWalk::new(snapshot, end..first.max(end)).find(|found| matches!(found, Found::BatchRow(..)));
        if let Some(Found::BatchRow(_, positions)) = unindexed {
            tell(format!("no index has the notifications from {} on", positions.start));
        }
        end = positions.end.max(end);
    }
    Ok(())
}

fn pages(snapshot: &Connection, tell: &mut impl FnMut(String)) -> rusqlite::Result<()> {
    let mut pages = snapshot.prepare("SELECT segment, audience, next, page, checksum FROM pages")?;
    let mut pages = pages.query([])?;
    while let Some(row) = pages.next()? {
        let segment = row.get::<_, i64>(0)?;
        let (audience, next) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str_or_null()?);
        let found = checksum::of_page(segment, audience, next, row.get_ref(3)?.as_blob()?);
        if row.get::<_, Option<i64>>(4)?.is_some_and(|checksum| checksum != found) {
            tell(format!("a page of the index of the notifications from {segment} on is not as it was written"));
        }
    }
    Ok(())
}

/// The index of a segment finds, for each audience, just those of its `positions` that are for it.
fn segment(
    snapshot: &Connection,
    epoch: &Epoch,
    segment: &Segment,
    positions: Range<Seq>,
) -> rusqlite::Result<Option<String>> {
    let first = segment.positions.start;
    let mut by_audience = BTreeMap::<String, Vec<Seq>>::new();
    for found in RowWalk::new(snapshot, positions.clone()) {
        let Found::BatchRow(batch_row, positions) = found else { continue };
        for seq in positions {
            // Without one that cannot be read, which is found elsewhere, nothing can be said of the index.
            let Ok(notification) = batch_row.notification(epoch, seq) else { return Ok(None) };
            for audience in notification.audiences.as_slice() {
                by_audience.entry(record::key(audience)).or_default().push(seq);
            }
        }
    }
    let mut index = Index::prepare(snapshot)?;
    for (audience, expected) in by_audience {
        let mut found = Vec::new();
        let read = index.find(segment, &audience, &positions, i64::MIN, &mut found);
        if read.is_err() || found != expected {
            return Ok(Some(format!("the index of the notifications from {first} on is wrong for `{audience}`")));
        }
    }
    Ok(None)
}

/// How many rows have no checksum: of notifications, and of the index.
pub(super) fn unsealed(snapshot: &Connection) -> rusqlite::Result<(u64, u64)> {
    let count = |table| {
        let sql = format!("SELECT count(*) FROM {table} WHERE checksum IS NULL");
        snapshot.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(|count| count as u64)
    };
    Ok((count("blocks")?, count("pages")?))
}
