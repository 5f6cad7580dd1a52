//! Walking over the positions of a journal, whatever is wrong with it: what can be read is found, and what cannot is said.

use std::{
    convert::Infallible,
    ops::{Range, RangeInclusive},
};

use rusqlite::{Connection, OptionalExtension};

use crate::{
    domain::Seq,
    journal::sqlite::batch_row::{BatchRow, MAX_COUNT},
};

/// What there is at the next positions.
pub(in crate::journal::sqlite) enum Found {
    /// Notifications that were committed together, and which of their positions are meant.
    BatchRow(BatchRow, Range<Seq>),
    /// Nothing that could be read.
    Nothing(RangeInclusive<Seq>),
}

/// How many positions are tried one by one for the next that can be read; then the strides grow.
const ONE_BY_ONE: Seq = 4_096;

/// The first position behind `failed` and before `end` of which `read` has something, and what it has. The farther it is, the
/// longer the strides: what is leapt over is little against the way, and no way is endless.
fn pass_by<T, E>(
    failed: Seq,
    end: Seq,
    mut read: impl FnMut(Seq) -> Result<Option<T>, E>,
) -> Result<Option<(Seq, T)>, E> {
    let (start, mut failed) = (failed, failed);
    let mut found = loop {
        if end <= failed + 1 {
            return Ok(None);
        }
        let at = (failed + 1 + (failed - start) / ONE_BY_ONE).min(end - 1);
        match read(at)? {
            Some(found) => break (at, found),
            None => failed = at,
        }
    };
    while failed + 1 < found.0 {
        let middle = failed + (found.0 - failed) / 2;
        match read(middle)? {
            Some(closer) => found = (middle, closer),
            None => failed = middle,
        }
    }
    Ok(Some(found))
}

/// Walks from row to row. It takes as long as there are rows, however far apart their positions are.
pub(in crate::journal::sqlite) struct RowWalk<'c> {
    connection: &'c Connection,
    positions: Range<Seq>,
}

impl<'c> RowWalk<'c> {
    /// Over these positions.
    pub(in crate::journal::sqlite) fn new(connection: &'c Connection, positions: Range<Seq>) -> Self {
        Self { connection, positions }
    }

    /// The last row that begins at `seq` or before it.
    fn batch_row(&self, seq: Seq) -> rusqlite::Result<Option<BatchRow>> {
        let sql = format!("SELECT {} FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1", BatchRow::COLUMNS);
        self.connection.prepare_cached(&sql)?.query_row([seq as i64], BatchRow::from_row).optional()
    }

    /// Where the first row begins that lies behind `seq`; the end of the walk, if there is none before that.
    fn next_first(&self, seq: Seq) -> rusqlite::Result<Seq> {
        let sql = "SELECT first FROM blocks WHERE first > ?1 ORDER BY first LIMIT 1";
        let first =
            self.connection.prepare_cached(sql)?.query_row([seq as i64], |row| row.get::<_, i64>(0)).optional()?;
        Ok(first.map_or(self.positions.end, |first| (first as Seq).min(self.positions.end)))
    }

    /// The row that has the position `seq`, with how far it reaches; without one, where the next begins. A row that says it has
    /// more than a row can have, or than there is room for, is not believed.
    fn look(&self, seq: Seq) -> rusqlite::Result<Result<(BatchRow, Seq), Seq>> {
        let batch_row = self.batch_row(seq)?;
        let next = self.next_first(seq);
        if let Some(batch_row) = batch_row {
            // The page where the next one begins may be damaged, and this one not.
            let most = *next.as_ref().unwrap_or(&self.positions.end);
            let end = batch_row.end().min(batch_row.first.saturating_add(MAX_COUNT as Seq)).min(most);
            if seq < end {
                return Ok(Ok((batch_row, end)));
            }
        }
        next.map(Err)
    }

    /// The first position behind `seq` of which it can be said what is there; the end of the walk, if there is none.
    fn readable_behind(&self, seq: Seq) -> Seq {
        let Ok(found) = pass_by(seq, self.positions.end, |at| Ok::<_, Infallible>(self.look(at).ok()));
        found.map_or(self.positions.end, |(at, _)| at)
    }
}

impl Iterator for RowWalk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let from = self.positions.start;
        let mut at = from;
        while at < self.positions.end {
            match self.look(at) {
                Ok(Ok((batch_row, end))) if at == from => {
                    self.positions.start = end;
                    return Some(Found::BatchRow(batch_row, at..end));
                }
                Ok(Ok(_)) => break,
                Ok(Err(next)) => at = next,
                // The page is damaged that would say it. A later position may be on another.
                Err(_) => at = self.readable_behind(at),
            }
        }
        self.positions.start = at;
        (from < at).then(|| Found::Nothing(from..=at - 1))
    }
}

/// The positions of which it is known that they hold nothing, in order.
#[derive(Debug, Default)]
pub(in crate::journal::sqlite) struct Holes(Vec<(Seq, Seq)>);

impl Holes {
    /// Reads the holes of a journal, as far as they lie within `positions`.
    pub(in crate::journal::sqlite) fn read(snapshot: &Connection, positions: &Range<Seq>) -> rusqlite::Result<Self> {
        let sql = "SELECT first, last FROM holes WHERE last >= ?1 AND first < ?2 ORDER BY first";
        let mut holes = snapshot.prepare(sql)?;
        let holes = holes.query_map([positions.start as i64, positions.end as i64], |row| {
            let (first, last) = (row.get::<_, i64>(0)? as Seq, row.get::<_, i64>(1)? as Seq);
            Ok((first.max(positions.start), last.min(positions.end - 1)))
        })?;
        holes.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// What of `range` is known to hold nothing, and what is not.
    pub(in crate::journal::sqlite) fn split(
        &self,
        range: &RangeInclusive<Seq>,
    ) -> (Vec<RangeInclusive<Seq>>, Vec<RangeInclusive<Seq>>) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        let mut at = *range.start();
        let before = self.0.partition_point(|(_, last)| *last < at);
        for (first, last) in self.0[before..].iter().take_while(|(first, _)| first <= range.end()) {
            if at < *first {
                unknown.push(at..=first - 1);
            }
            let end = *last.min(range.end());
            if end >= at {
                known.push(at.max(*first)..=end);
                at = end + 1;
            }
        }
        if at <= *range.end() {
            unknown.push(at..=*range.end());
        }
        (known, unknown)
    }
}

/// Ranges that come in order, made one where they adjoin.
#[derive(Debug, Default)]
pub(in crate::journal::sqlite) struct Joined(Option<RangeInclusive<Seq>>);

impl Joined {
    /// Takes one in, and gives the one before it if that ended sooner.
    pub(in crate::journal::sqlite) fn add(&mut self, range: RangeInclusive<Seq>) -> Option<RangeInclusive<Seq>> {
        match self.0.take() {
            Some(before) if before.end() + 1 == *range.start() => {
                self.0 = Some(*before.start()..=*range.end());
                None
            }
            before => {
                self.0 = Some(range);
                before
            }
        }
    }

    /// Gives the last one.
    pub(in crate::journal::sqlite) fn take(&mut self) -> Option<RangeInclusive<Seq>> {
        self.0.take()
    }
}

/// How many positions a range has.
fn len(range: &RangeInclusive<Seq>) -> u64 {
    range.end() - range.start() + 1
}

/// How many positions these ranges have.
pub(in crate::journal::sqlite) fn sum(ranges: &[RangeInclusive<Seq>]) -> u64 {
    ranges.iter().map(len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_passed_by_in_little_time_and_to_its_last_place() {
        for (first, end) in [(1, 10), (4_000, 1 << 53), (123_456_789, 1 << 53), (1 << 52, 1 << 53), (9, 9), (10, 9)] {
            let mut tried = 0_u32;
            let found = pass_by(0, end, |at| {
                assert!((1..end).contains(&at), "{at}");
                tried += 1;
                Ok::<_, Infallible>((at >= first).then_some(at))
            });
            assert_eq!(found, Ok((first < end).then_some((first, first))));
            assert!(tried < 200_000, "{tried}");
        }
    }

    #[test]
    fn what_is_known_of_a_range_is_told_from_what_is_not() {
        let holes = Holes(vec![(3, 5), (9, 9), (11, 20)]);
        assert_eq!(holes.split(&(1..=12)), (vec![3..=5, 9..=9, 11..=12], vec![1..=2, 6..=8, 10..=10]));
        assert_eq!(holes.split(&(4..=4)), (vec![4..=4], vec![]));
        assert_eq!(holes.split(&(6..=8)), (vec![], vec![6..=8]));
        assert_eq!(holes.split(&(15..=30)), (vec![15..=20], vec![21..=30]));
        assert_eq!(Holes::default().split(&(1..=2)), (vec![], vec![1..=2]));
    }
}
