//! Whether a journal is sound: what the database says of its file, and what must be true of what is in it.

use std::{collections::BTreeMap, ops::Range};

use rusqlite::Connection;

use crate::{
    domain::{Epoch, Seq},
    journal::{
        Error,
        sqlite::{
            block::Blocks,
            index::{self, Index, Segment},
            keys, record, schema,
            tools::ToolError,
        },
    },
};

/// How much is said of one kind at the most.
const FINDINGS: usize = 10;

/// What is wrong with a journal of which the place `acknowledged` is known to have been given; nothing if it is sound.
pub(super) fn findings(snapshot: &Connection, acknowledged: Option<Seq>) -> Result<Vec<String>, ToolError> {
    let schema::Ends { epoch, oldest, newest } = schema::ends(snapshot)?;
    let mut findings = file(snapshot)?;
    findings.extend(notifications(snapshot, &epoch, oldest..newest + 1)?);
    for found in index::segments(snapshot)? {
        match found {
            Some(known) => findings.extend(segment(snapshot, &epoch, &known, oldest)?),
            None => findings.push("a part of the index is not as it was written".to_owned()),
        }
    }
    let mut last_key = 0;
    let damaged = keys::for_each(snapshot, |key| {
        last_key = last_key.max(key.seq);
        Ok::<_, ToolError>(())
    })?;
    if damaged > 0 {
        findings.push(format!("{damaged} rows of idempotency keys cannot be read"));
    }
    if last_key > newest {
        findings.push("an idempotency key stands for a place that is yet to come".to_owned());
    }
    if let Some(acknowledged) = acknowledged.filter(|seq| *seq > newest) {
        findings.push(format!("it ends at notification {newest}, but {acknowledged} was acknowledged"));
    }
    Ok(findings)
}

/// What the database finds.
fn file(snapshot: &Connection) -> Result<Vec<String>, ToolError> {
    let mut statement = snapshot.prepare(&format!("PRAGMA integrity_check({FINDINGS})"))?;
    let findings = statement.query_map([], |row| row.get::<_, String>(0))?;
    let findings = findings.map(|finding| finding.unwrap_or_else(|error| error.to_string()));
    Ok(findings.filter(|finding| finding != "ok").collect())
}

/// Every place holds a notification, which can be read and was not appended before the one in front of it.
fn notifications(snapshot: &Connection, epoch: &Epoch, places: Range<Seq>) -> Result<Vec<String>, ToolError> {
    let mut blocks = Blocks::prepare(snapshot)?;
    let mut appended_at = i64::MIN;
    let findings = places.filter_map(|seq| {
        let read = blocks.find(seq).and_then(|block| {
            if block.appended_at < appended_at {
                return Err(Error::Damaged(format!("notification {seq} is older than the one before it")));
            }
            appended_at = block.appended_at;
            block.notification(epoch, seq)
        });
        read.err().map(what)
    });
    Ok(findings.take(FINDINGS).collect())
}

/// The index of a segment finds, for each audience, just those of its places from `oldest` on that are for it.
fn segment(snapshot: &Connection, epoch: &Epoch, segment: &Segment, oldest: Seq) -> Result<Option<String>, ToolError> {
    let first = segment.places.start;
    let places = first.max(oldest)..segment.places.end;
    let mut blocks = Blocks::prepare(snapshot)?;
    let mut by_audience = BTreeMap::<String, Vec<Seq>>::new();
    for seq in places.clone() {
        // One that cannot be read is found elsewhere.
        let Ok(notification) = blocks.find(seq).and_then(|block| block.notification(epoch, seq)) else {
            return Ok(None);
        };
        for audience in notification.audiences.as_slice() {
            by_audience.entry(record::key(audience)).or_default().push(seq);
        }
    }
    let mut index = Index::prepare(snapshot)?;
    for (audience, expected) in by_audience {
        let mut found = Vec::new();
        let read = index.find(segment, &audience, &places, i64::MIN, &mut found);
        if read.is_err() || found != expected {
            return Ok(Some(format!("the index of the notifications from {first} on is wrong for `{audience}`")));
        }
    }
    Ok(None)
}

fn what(error: Error) -> String {
    match error {
        Error::Damaged(what) => what,
        other => other.to_string(),
    }
}
