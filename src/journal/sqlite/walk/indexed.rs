//! Walking by the index over what is for somebody; where there is none that can be read, over everything.

use std::ops::Range;

use super::{Reach, Walk};
use crate::{
    domain::{Audience, Seq},
    journal::{
        Error,
        sqlite::{
            batch_row::{BatchRow, BatchRows},
            failure,
            index::{Index, Segment},
            record,
        },
    },
};

/// A part of the file.
enum Part {
    /// A segment, which has an index.
    Indexed(Segment),
    /// What should be in a segment, and is in none that can be read.
    Bare(Range<Seq>),
}

impl Walk<'_> {
    /// Walks over the positions of `reach` that are for one of `audiences`, each once, until `visit` has enough. Reads the index of
    /// no segment behind that.
    pub(in crate::journal::sqlite) fn some(
        &mut self,
        audiences: &[Audience],
        reach: &Reach,
        mut visit: impl FnMut(&BatchRow, Seq) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        if reach.positions.is_empty() {
            return Ok(());
        }
        let snapshot = self.snapshot;
        let mut batch_rows = BatchRows::prepare(snapshot).map_err(|error| failure(&error))?;
        let mut positions = Vec::new();
        for part in self.parts(reach)? {
            self.find(part, audiences, reach, &mut positions)?;
            for seq in positions.drain(..) {
                if self.lost.contains(seq) {
                    continue;
                }
                match batch_rows.find(seq).and_then(|batch_row| visit(batch_row, seq)) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(Error::Damaged(_)) => self.lose_at(seq, reach)?,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The parts of `reach` that have an index together, in its order, with those between them that have none: the file is
    /// damaged there.
    fn parts(&self, reach: &Reach) -> Result<Vec<Part>, Error> {
        let Range { start, end } = reach.positions;
        let (mut parts, mut reached) = (Vec::new(), start);
        for segment in self.segments(start, end)? {
            let Range { start: first, end: behind } = segment.positions;
            if behind <= reached || first >= end {
                continue;
            }
            if first > reached {
                parts.push(Part::Bare(reached..first));
            }
            parts.push(Part::Indexed(segment));
            reached = behind;
        }
        if reached < end {
            parts.push(Part::Bare(reached..end));
        }
        if reach.newest_first {
            parts.reverse();
        }
        Ok(parts)
    }

    /// The segments that have something of these positions, as far as they can be read.
    fn segments(&self, start: Seq, end: Seq) -> Result<Vec<Segment>, Error> {
        let columns = Segment::COLUMNS;
        let sql = format!("SELECT {columns} FROM segments WHERE last >= ?1 AND first < ?2 ORDER BY first");
        let mut segments = self.snapshot.prepare_cached(&sql).map_err(|error| failure(&error))?;
        let segments = segments.query_map((start as i64, end as i64), Segment::from_row);
        let mut found = Vec::new();
        for segment in segments.map_err(|error| failure(&error))? {
            match segment.map_err(|error| failure(&error)) {
                Ok(segment) => found.extend(segment),
                Err(Error::Damaged(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Adds to `positions`, in the order of `reach`, those that a part has for one of `audiences`: by its index or, where that
    /// cannot be read, by what is in it.
    fn find(
        &mut self,
        part: Part,
        audiences: &[Audience],
        reach: &Reach,
        positions: &mut Vec<Seq>,
    ) -> Result<(), Error> {
        match part {
            Part::Indexed(segment) => {
                let mut index = Index::prepare(self.snapshot).map_err(|error| failure(&error))?;
                let found = audiences.iter().try_for_each(|audience| {
                    index.find(&segment, &record::key(audience), &reach.positions, reach.now, positions)
                });
                match found {
                    Err(Error::Damaged(_)) => {
                        positions.clear();
                        self.scan(segment.positions, audiences, reach, positions)?;
                    }
                    found => found?,
                }
            }
            Part::Bare(bare) => self.scan(bare, audiences, reach, positions)?,
        }
        positions.sort_unstable();
        positions.dedup();
        if reach.newest_first {
            positions.reverse();
        }
        Ok(())
    }

    /// Finds what no index tells of.
    fn scan(
        &mut self,
        part: Range<Seq>,
        audiences: &[Audience],
        reach: &Reach,
        positions: &mut Vec<Seq>,
    ) -> Result<(), Error> {
        let own = part.start.max(reach.positions.start)..part.end.min(reach.positions.end);
        if self.damage.holes(&own).first() != Some(&own) {
            self.damage.note_index(part, self.faults);
        }
        let reach = Reach { positions: own, newest_first: false, ..*reach };
        let epoch = self.epoch;
        self.all(&reach, |batch_row, seq| {
            let notification = batch_row.notification(epoch, seq)?;
            let expired = notification.expires_at.is_some_and(|at| at.timestamp_millis() <= reach.now);
            if !expired && notification.audiences.as_slice().iter().any(|audience| audiences.contains(audience)) {
                positions.push(seq);
            }
            Ok(true)
        })
    }

    /// A position that is for whoever asks cannot be read: it is lost, and so is what follows and cannot be read either.
    fn lose_at(&mut self, seq: Seq, reach: &Reach) -> Result<(), Error> {
        let lost = if reach.newest_first {
            self.readable_before(&(reach.positions.start..seq + 1))?..seq + 1
        } else {
            seq..self.readable_after(&(seq..reach.positions.end))?
        };
        self.lose_and_note(lost);
        Ok(())
    }
}
