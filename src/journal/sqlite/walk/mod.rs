//! Walking over what the file holds, around what cannot be read: a part of it that is damaged takes nothing else with it.

mod indexed;

use std::ops::Range;

use rusqlite::{OptionalExtension, Row, Transaction};

use crate::{
    domain::{Epoch, Seq},
    journal::{
        Error,
        faults::Faults,
        sqlite::{
            batch_row::BatchRow,
            damage::{Damage, Ranges},
            failure,
        },
    },
};

/// How many positions are tried one by one for the next that can be read; then the strides grow.
const ONE_BY_ONE: Seq = 4_096;

/// What of the file is to be read.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) positions: Range<Seq>,
    /// What expired by then is passed over; milliseconds since 1970.
    pub(super) now: i64,
    pub(super) newest_first: bool,
}

/// A walk over a snapshot.
pub(super) struct Walk<'s> {
    pub(super) snapshot: &'s Transaction<'s>,
    pub(super) epoch: &'s Epoch,
    pub(super) damage: &'s Damage,
    pub(super) faults: &'s Faults,
    /// What was passed by that could not be read.
    pub(super) lost: Ranges,
}

impl Walk<'_> {
    /// Walks over all notifications of `reach`, until `visit` has enough.
    pub(super) fn all(
        &mut self,
        reach: &Reach,
        mut visit: impl FnMut(&BatchRow, Seq) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut left = reach.positions.clone();
        while !left.is_empty() {
            match self.rows(&mut left, reach.newest_first, &mut visit) {
                Err(Error::Damaged(_)) => self.pass_by(&mut left, reach.newest_first)?,
                Err(error) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Walks over the rows of `left`, and takes from it what is done, until a row cannot be had. What is behind the last row is
    /// missing.
    fn rows(
        &mut self,
        left: &mut Range<Seq>,
        newest_first: bool,
        visit: &mut impl FnMut(&BatchRow, Seq) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let sql = format!(
            "SELECT {} FROM blocks WHERE first >= (SELECT coalesce(max(first), 0) FROM blocks WHERE first <= ?1) \
             AND first < ?2 ORDER BY first {}",
            BatchRow::COLUMNS,
            if newest_first { "DESC" } else { "ASC" }
        );
        let snapshot = self.snapshot;
        let mut statement = snapshot.prepare_cached(&sql).map_err(|error| failure(&error))?;
        let rows = (left.start as i64, left.end as i64);
        let mut rows = statement.query(rows).map_err(|error| failure(&error))?;
        while let Some(row) = rows.next().map_err(|error| failure(&error))? {
            if !self.row(row, left, newest_first, visit)? {
                *left = left.end..left.end;
                return Ok(());
            }
            if left.is_empty() {
                return Ok(());
            }
        }
        self.miss(left.clone());
        *left = left.end..left.end;
        Ok(())
    }

    /// Visits what a row has of `left`, which begins or ends there. Gives whether there is to be more.
    fn row(
        &mut self,
        row: &Row<'_>,
        left: &mut Range<Seq>,
        newest_first: bool,
        visit: &mut impl FnMut(&BatchRow, Seq) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let batch_row = BatchRow::from_row(row).map_err(|error| failure(&error))?;
        if !batch_row.is_whole {
            return Err(Error::Damaged(format!(
                "the row of notification {} is not as it was written",
                batch_row.first
            )));
        }
        let own = batch_row.first.max(left.start)..batch_row.end().min(left.end);
        if own.is_empty() {
            return Ok(true);
        }
        let missing = if newest_first { own.end..left.end } else { left.start..own.start };
        self.miss(missing);
        for seq in own.clone() {
            let seq = if newest_first { own.start + (own.end - 1 - seq) } else { seq };
            match visit(&batch_row, seq) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Error::Damaged(_)) => self.lose_and_note(seq..seq + 1),
                Err(error) => return Err(error),
            }
        }
        *left = if newest_first { left.start..own.start } else { own.end..left.end };
        Ok(true)
    }

    /// Takes from `left` what cannot be read at its beginning, or at its end.
    fn pass_by(&mut self, left: &mut Range<Seq>, newest_first: bool) -> Result<(), Error> {
        let lost = if newest_first {
            let end = left.end;
            left.end = self.readable_before(left)?;
            left.end..end
        } else {
            let start = left.start;
            left.start = self.readable_after(left)?;
            start..left.start
        };
        self.lose_and_note(lost);
        Ok(())
    }

    /// The first position behind the one at which `left` begins whose row can be found.
    fn readable_after(&self, left: &Range<Seq>) -> Result<Seq, Error> {
        if let Some(known) = self.damage.known_from(left.start) {
            return Ok(known.min(left.end));
        }
        let sql = "SELECT first FROM blocks WHERE first >= ?1 ORDER BY first LIMIT 1";
        let mut next = self.snapshot.prepare_cached(sql).map_err(|error| failure(&error))?;
        let mut first = |from: Seq| match next.query_row([from as i64], |row| row.get::<_, i64>(0)).optional() {
            Ok(first) => Ok(Some(first.map_or(left.end, |first| first as Seq))),
            Err(error) => damaged(&error),
        };
        let found = probe(left.start + 1, left.end - left.start, |stride| left.start + stride, &mut first)?;
        // Where the order of the rows itself is damaged, it may lie anywhere.
        Ok(found.unwrap_or(left.end).clamp(left.start + 1, left.end))
    }

    /// The end of the last row before the one with which `left` ends that can be found.
    fn readable_before(&self, left: &Range<Seq>) -> Result<Seq, Error> {
        // The row itself may be there, and only what is in it cannot be read.
        let sql = "SELECT first FROM blocks WHERE first < ?1 ORDER BY first DESC LIMIT 1";
        let own = self
            .snapshot
            .prepare_cached(sql)
            .map_err(|error| failure(&error))?
            .query_row([left.end as i64], |row| row.get::<_, i64>(0));
        if let Ok(first) = own {
            return Ok((first as Seq).clamp(left.start, left.end - 1));
        }
        let sql = "SELECT first + count FROM blocks WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
        let mut before = self.snapshot.prepare_cached(sql).map_err(|error| failure(&error))?;
        let mut end = |until: Seq| match before.query_row([until as i64], |row| row.get::<_, i64>(0)).optional() {
            Ok(end) => Ok(Some(end.map_or(left.start, |end| end as Seq))),
            Err(error) => damaged(&error),
        };
        let found = probe(left.end - 1, left.end - left.start, |stride| left.end - stride, &mut end)?;
        Ok(found.unwrap_or(left.start).clamp(left.start, left.end - 1))
    }

    /// Passes by positions that hold nothing: they are known for that, or their rows are gone.
    fn miss(&mut self, positions: Range<Seq>) {
        if positions.is_empty() || self.damage.holes(&positions).first() == Some(&positions) {
            self.lose(positions);
        } else {
            self.lose_and_note(positions);
        }
    }

    fn lose(&mut self, positions: Range<Seq>) {
        self.lost.add(positions);
    }

    fn lose_and_note(&mut self, positions: Range<Seq>) {
        self.damage.note(positions.clone(), self.faults);
        self.lose(positions);
    }
}

/// What an attempt to read gave: nothing, where the file is damaged.
fn damaged<T>(error: &rusqlite::Error) -> Result<Option<T>, Error> {
    match failure(error) {
        Error::Damaged(_) => Ok(None),
        other => Err(other),
    }
}

/// Tries the positions that lie one stride after the other away, at most `reach`, until one can be read; then goes back to the
/// closest of those that were leapt over.
fn probe(
    first: Seq,
    reach: Seq,
    at: impl Fn(Seq) -> Seq,
    read: &mut impl FnMut(Seq) -> Result<Option<Seq>, Error>,
) -> Result<Option<Seq>, Error> {
    if let found @ Some(_) = read(first)? {
        return Ok(found);
    }
    let (mut failed, mut stride, mut step) = (1, 1, 1);
    let mut found = None;
    while found.is_none() && stride < reach {
        failed = stride;
        stride = (stride + step).min(reach);
        step = if stride < ONE_BY_ONE { 1 } else { step * 2 };
        found = read(at(stride))?;
    }
    while failed + 1 < stride && found.is_some() {
        let middle = failed + (stride - failed) / 2;
        match read(at(middle))? {
            closer @ Some(_) => (found, stride) = (closer, middle),
            None => failed = middle,
        }
    }
    Ok(found)
}
