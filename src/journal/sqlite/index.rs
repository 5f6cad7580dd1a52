//! Which positions are for whom. The newest ones are known from memory; once these are many, they become a *segment*: its
//! index is written in one go, sorted by audience and cut into pages, and only ever read after that, or thrown away.
//!
//! An index that every append wrote to would have a page of its own to change for nearly each of them. This one costs a
//! reader one look at every segment that it passes by.
//!
//! A page has, for each audience: its key; the positions, as two bytes each that are added to the first position of the segment;
//! and when these notifications expire, as eight bytes each in milliseconds since 1970, or 0, or nothing if none of them
//! does. Each of the three has its length in front. All numbers are big-endian.

use std::{ops::Range, sync::Arc};

use foldhash::{HashMap, HashMapExt};
use rusqlite::{CachedStatement, Connection, Row};

use crate::{
    domain::{Audience, Notification, Seq},
    journal::{
        Error,
        log::millis,
        sqlite::{checksum, failure, record},
    },
};

/// How many positions a segment reaches over at the most: what two bytes can tell apart.
pub(super) const MAX_POSITIONS: Seq = 1 << 16;

/// How many bytes a page has, unless one audience alone has more: what fits on a page of the file with the row's head.
const PAGE: usize = 3_900;

/// The newest notifications, which have no index yet.
#[derive(Debug)]
pub(super) struct PendingIndex {
    notifications: Vec<Arc<Notification>>,
    bytes: usize,
    max_bytes: usize,
}

impl PendingIndex {
    /// These, and from now on about `max_bytes` at the most.
    pub(super) fn new(notifications: &[Arc<Notification>], max_bytes: usize) -> Self {
        let mut pending_index = Self { notifications: Vec::new(), bytes: 0, max_bytes };
        pending_index.extend(notifications);
        pending_index
    }

    pub(super) fn extend(&mut self, notifications: &[Arc<Notification>]) {
        self.bytes += notifications.iter().map(|notification| notification.size()).sum::<usize>();
        self.notifications.extend_from_slice(notifications);
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.notifications.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// Writes the index of those that are kept, from `oldest` on.
    pub(super) fn write(&self, connection: &Connection, oldest: Seq) -> rusqlite::Result<()> {
        let gone = self.notifications.partition_point(|notification| notification.seq < oldest);
        write(connection, &self.notifications[gone..])
    }

    /// Forgets them: they have an index now.
    pub(super) fn clear(&mut self) {
        self.notifications.clear();
        self.bytes = 0;
    }
}

/// Every segment; none for one whose row is not as it was written.
pub(super) fn segments(connection: &Connection) -> rusqlite::Result<Vec<Option<Segment>>> {
    let mut segments = connection.prepare(&format!("SELECT {} FROM segments ORDER BY first", Segment::COLUMNS))?;
    segments.query_map([], Segment::from_row)?.collect()
}

/// The last position that has an index; 0 when none has. Looks at the end of the table only: what is damaged before it does not count.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<Seq> {
    let mut segments = connection.prepare_cached("SELECT first, last, checksum FROM segments ORDER BY first DESC")?;
    let mut segments = segments.query_map([], Segment::from_row)?;
    while let Some(segment) = segments.next().transpose()? {
        if let Some(segment) = segment {
            return Ok(segment.positions.end - 1);
        }
    }
    Ok(0)
}

/// The positions of one audience in a segment, as they are written down.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    offsets: Vec<u8>,
    expiries: Vec<u8>,
}

impl Places {
    fn push(&mut self, offset: u16, expires_at: Option<i64>) {
        if expires_at.is_some() || !self.expiries.is_empty() {
            self.expiries.resize(self.offsets.len() * 4, 0);
            self.expiries.extend(expires_at.unwrap_or(0).to_be_bytes());
        }
        self.offsets.extend(offset.to_be_bytes());
    }
}

/// Writes the index of notifications that have none yet, in the order of their positions.
fn write(connection: &Connection, mut notifications: &[Arc<Notification>]) -> rusqlite::Result<()> {
    let mut segment =
        connection.prepare_cached("INSERT OR REPLACE INTO segments (first, last, checksum) VALUES (?1, ?2, ?3)")?;
    let mut page = connection.prepare_cached(
        "INSERT OR REPLACE INTO pages (segment, audience, page, checksum, next) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    while let Some(first) = notifications.first().map(|notification| notification.seq) {
        let count = notifications.partition_point(|notification| notification.seq - first < MAX_POSITIONS);
        let (own, rest) = notifications.split_at(count);
        let (first_place, last_place) = (first as i64, own[count - 1].seq as i64);
        segment.execute((first_place, last_place, checksum::of(&[first_place, last_place], &[])))?;
        let pages = pages(by_audience(first, own));
        for (number, (audience, bytes)) in pages.iter().enumerate() {
            let audience = if number == 0 { "" } else { audience };
            let next = pages.get(number + 1).map(|(next, _)| next.as_str());
            let checksum = checksum::of_page(first_place, audience, next, bytes);
            page.execute((first_place, audience, bytes, checksum, next))?;
        }
        notifications = rest;
    }
    Ok(())
}

/// The positions of each audience in the segment that begins at `first`, sorted by its key.
fn by_audience(first: Seq, notifications: &[Arc<Notification>]) -> Vec<(String, Places)> {
    let mut positions = HashMap::<&Audience, Places>::new();
    for notification in notifications {
        let (offset, expires_at) = (notification.seq - first, notification.expires_at.map(millis));
        for audience in notification.audiences.as_slice() {
            positions.entry(audience).or_default().push(offset as u16, expires_at);
        }
    }
    let mut sorted: Vec<_> =
        positions.into_iter().map(|(audience, positions)| (record::key(audience), positions)).collect();
    sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    sorted
}

/// The pages that `sorted` fills, each with the first audience on it.
fn pages(sorted: Vec<(String, Places)>) -> Vec<(String, Vec<u8>)> {
    let mut pages: Vec<(String, Vec<u8>)> = Vec::new();
    let mut entry = Vec::new();
    for (audience, Places { offsets, expiries }) in sorted {
        entry.clear();
        for part in [audience.as_bytes(), &offsets, &expiries] {
            prost::encode_length_delimiter(part.len(), &mut entry).expect("a vector has room");
            entry.extend_from_slice(part);
        }
        match pages.last_mut() {
            Some((_, page)) if page.len() + entry.len() <= PAGE => page.extend_from_slice(&entry),
            _ => pages.push((audience, entry.clone())),
        }
    }
    pages
}

/// The positions from the first to the last that have an index together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) positions: Range<Seq>,
    /// It was written with checksums.
    is_sealed: bool,
}

impl Segment {
    /// The columns that [`from_row`](Self::from_row) reads.
    pub(super) const COLUMNS: &str = "first, last, checksum";

    /// Reads a row; none when it is not as it was written.
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let (first, last, checksum) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let positions = first as Seq..(last as Seq).saturating_add(1);
        let whole = checksum::holds(checksum, &[first, last], &[]);
        Ok(whole.then_some(Self { positions, is_sealed: checksum.is_some() }))
    }
}

/// Looks up the positions of an audience in a segment.
pub(super) struct Index<'c> {
    page: CachedStatement<'c>,
}

impl<'c> Index<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT page, audience, next, checksum FROM pages WHERE segment = ?1 AND audience <= ?2 \
                   ORDER BY audience DESC LIMIT 1";
        Ok(Self { page: connection.prepare_cached(sql)? })
    }

    /// Adds to `found` the positions in `range` that `segment` has for the audience `key`, without what expired by `now`.
    pub(super) fn find(
        &mut self,
        segment: &Segment,
        key: &str,
        range: &Range<Seq>,
        now: i64,
        found: &mut Vec<Seq>,
    ) -> Result<(), Error> {
        let first = segment.positions.start;
        let damaged = || Error::Damaged(format!("the index of the notifications from {first} on cannot be read"));
        let mut rows = self.page.query((first as i64, key)).map_err(|error| failure(&error))?;
        let Some(row) = rows.next().map_err(|error| failure(&error))? else {
            return if segment.is_sealed { Err(damaged()) } else { Ok(()) };
        };
        let page = page(row, first as i64, key, segment.is_sealed).ok_or_else(damaged)?;
        let Some((offsets, expiries)) = positions(page, key).ok_or_else(damaged)? else { return Ok(()) };
        let position = |offset: &[u8; 2]| first + Seq::from(u16::from_be_bytes(*offset));
        let begin = offsets.partition_point(|offset| position(offset) < range.start);
        let end = offsets.partition_point(|offset| position(offset) < range.end);
        for (number, offset) in offsets.iter().enumerate().take(end).skip(begin) {
            let expires_at = expiries.get(number).map_or(0, |expiry| i64::from_be_bytes(*expiry));
            if expires_at == 0 || expires_at > now {
                found.push(position(offset));
            }
        }
        Ok(())
    }
}

/// The page that a row has; none when it is not as it was written, or not the one on which `key` would be.
fn page<'r>(row: &'r Row<'_>, segment: i64, key: &str, is_sealed: bool) -> Option<&'r [u8]> {
    let page = row.get_ref(0).ok()?.as_blob().ok()?;
    let (audience, next) = (row.get_ref(1).ok()?.as_str().ok()?, row.get_ref(2).ok()?.as_str_or_null().ok()?);
    let checksum: Option<i64> = row.get(3).ok()?;
    let whole = match checksum {
        Some(checksum) => checksum == checksum::of_page(segment, audience, next, page),
        None => !is_sealed,
    };
    (whole && next.is_none_or(|next| key < next)).then_some(page)
}

type Found<'p> = (&'p [[u8; 2]], &'p [[u8; 8]]);

/// What a page has for the audience `key`; `None` within if it is not there, without if the page is no page.
fn positions<'p>(mut page: &'p [u8], key: &str) -> Option<Option<Found<'p>>> {
    while !page.is_empty() {
        let (audience, offsets, expiries) = (part(&mut page)?, part(&mut page)?, part(&mut page)?);
        if audience == key.as_bytes() {
            return Some(Some((offsets.as_chunks().0, expiries.as_chunks().0)));
        }
    }
    Some(None)
}

/// Takes what has its length in front.
fn part<'p>(page: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = match *page {
        // Nearly all of them; a page has hundreds, and the general way would take a tenth of a read.
        [length @ ..0x80, rest @ ..] => (usize::from(*length), rest),
        _ => {
            let length = prost::decode_length_delimiter(&mut *page).ok()?;
            (length, *page)
        }
    };
    let (part, rest) = rest.split_at_checked(length)?;
    *page = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;

    use super::*;
    use crate::domain::{Audiences, Epoch, Event, Payload};

    fn notification(seq: Seq, users: &[String], expires_at: Option<i64>) -> Arc<Notification> {
        let event = Event {
            name: "e".into(),
            payload: Payload::parse(Bytes::from_static(b"{}")).expect("an object"),
            source: "s".into(),
            timestamp: "t".into(),
        };
        let audiences = Audiences::from_target(true, users, &[]).expect("a target");
        let expires_at = expires_at.and_then(DateTime::from_timestamp_millis);
        Arc::new(Notification::new(Epoch::from_text("e"), seq, event, audiences, expires_at))
    }

    fn look_up(pages: &[(String, Vec<u8>)], key: &str) -> Option<Vec<(u16, i64)>> {
        let page = pages.iter().rev().find(|(first, _)| first.as_str() <= key)?;
        let (offsets, expiries) = positions(&page.1, key).expect("a page")?;
        let expiry = |number: usize| expiries.get(number).map_or(0, |expiry| i64::from_be_bytes(*expiry));
        Some(offsets.iter().enumerate().map(|(number, offset)| (u16::from_be_bytes(*offset), expiry(number))).collect())
    }

    // One audience may fill more than a page, and a page may have many.
    #[test]
    fn every_audience_is_on_the_page_where_it_is_looked_for() {
        let users: Vec<_> = (0..2_000).map(|user| user.to_string()).collect();
        let segment: Vec<_> = (7..4_007).zip(users.iter().cycle()).collect();
        let segment: Vec<_> = segment.iter().map(|(seq, user)| notification(*seq, &[(*user).clone()], None)).collect();
        let pages = pages(by_audience(7, &segment));
        assert!(pages.len() > 4, "{}", pages.len());
        for (offset, user) in (0..).zip(&users) {
            assert_eq!(look_up(&pages, &format!("u:{user}")), Some(vec![(offset, 0), (offset + 2_000, 0)]));
        }
        assert_eq!(look_up(&pages, "*").map(|positions| positions.len()), Some(4_000));
        assert_eq!(look_up(&pages, "u:nobody"), None);
        assert_eq!(look_up(&pages, "r:nowhere"), None);
    }

    #[test]
    fn what_expires_is_told_from_what_does_not() {
        let expiries = [None, Some(5), None, Some(9)];
        let segment: Vec<_> = (1..).zip(expiries).map(|(seq, expires_at)| notification(seq, &[], expires_at)).collect();
        assert_eq!(look_up(&pages(by_audience(1, &segment)), "*"), Some(vec![(0, 0), (1, 5), (2, 0), (3, 9)]));
    }

    #[test]
    fn a_page_that_ends_too_early_is_no_page() {
        let (_, page) = &pages(by_audience(1, &[notification(1, &[], None)]))[0];
        assert!(positions(page, "x").is_some());
        assert_eq!(positions(&page[..page.len() - 1], "x"), None);
    }
}
