//! What of the file cannot be read, or is known to be missing: told to whoever asks for it, and to operators until it has left
//! the journal.

use std::ops::{Range, RangeInclusive};

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::{
    domain::Seq,
    journal::faults::{FaultKind, Faults},
};

/// How many stretches are remembered one by one; beyond that, the two that lie closest together count as one.
const REMEMBERED: usize = 1_024;

/// Positions, in their order, as stretches that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<Seq>>);

impl Ranges {
    /// Adds a stretch. Gives whether there was something new in it.
    pub(super) fn add(&mut self, range: Range<Seq>) -> bool {
        let known = self.0.get(self.0.partition_point(|known| known.end <= range.start));
        if range.is_empty() || known.is_some_and(|known| known.start <= range.start && range.end <= known.end) {
            return false;
        }
        let first = self.0.partition_point(|known| known.end < range.start);
        let end = self.0.partition_point(|known| known.start <= range.end);
        let touched = self.0[first..end].iter();
        let merged = touched.fold(range, |one, other| one.start.min(other.start)..one.end.max(other.end));
        self.0.splice(first..end, [merged]);
        true
    }

    /// Whether a position is in one of them.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.0.get(self.0.partition_point(|range| range.end <= seq)).is_some_and(|range| range.contains(&seq))
    }

    /// What of them lies in `positions`.
    pub(super) fn within(&self, positions: &Range<Seq>) -> impl Iterator<Item = Range<Seq>> {
        let first = self.0.partition_point(|range| range.end <= positions.start);
        let cut = |range: &Range<Seq>| range.start.max(positions.start)..range.end.min(positions.end);
        self.0[first..].iter().map(cut).take_while(|range| !range.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn forget_before(&mut self, oldest: Seq) {
        let gone = self.0.partition_point(|range| range.end <= oldest);
        self.0.drain(..gone);
    }

    /// Keeps to [`REMEMBERED`].
    fn join_closest(&mut self) {
        while self.0.len() > REMEMBERED {
            let gaps = self.0.windows(2).map(|pair| pair[1].start - pair[0].end).enumerate();
            let Some((closest, _)) = gaps.min_by_key(|(_, gap)| *gap) else { return };
            self.0[closest].end = self.0[closest + 1].end;
            self.0.remove(closest + 1);
        }
    }
}

impl From<Ranges> for Vec<RangeInclusive<Seq>> {
    fn from(Ranges(ranges): Ranges) -> Self {
        ranges.into_iter().map(|range| range.start..=range.end - 1).collect()
    }
}

/// What is known of the damage in a file.
#[derive(Debug, Default)]
pub(super) struct Damage(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What the file itself says that it does not have.
    holes: Ranges,
    /// What somebody tried to read, as far as it is remembered.
    tried: Ranges,
    /// The same as it is told: all of it, and perhaps some that can be read in between.
    unreadable: Ranges,
    /// The segments whose index somebody tried to read.
    unindexed: Ranges,
}

impl Damage {
    /// What the file says of itself.
    pub(super) fn read(connection: &Connection, faults: &Faults) -> rusqlite::Result<Self> {
        let damage = Self::default();
        let mut holes = connection.prepare("SELECT first, last, cause FROM holes ORDER BY first")?;
        let holes = holes.query_map([], |row| {
            Ok((row.get::<_, i64>(0)? as Seq..row.get::<_, i64>(1)? as Seq + 1, row.get::<_, String>(2)?))
        })?;
        for hole in holes {
            let (positions, cause) = hole?;
            if cause == DAMAGE {
                damage.note(positions.clone(), faults);
            }
            damage.0.lock().holes.add(positions);
        }
        Ok(damage)
    }

    /// What is known to be missing of `positions`, whoever it was for.
    pub(super) fn holes(&self, positions: &Range<Seq>) -> Vec<Range<Seq>> {
        self.0.lock().holes.within(positions).collect()
    }

    /// Notes that these positions hold nothing, whoever it was for.
    pub(super) fn miss(&self, positions: Range<Seq>) {
        self.0.lock().holes.add(positions);
    }

    /// The end of what is known to be unreadable or missing from `seq` on, if it is.
    pub(super) fn known_from(&self, seq: Seq) -> Option<Seq> {
        let known = self.0.lock();
        let end = |ranges: &Ranges| ranges.within(&(seq..seq + 1)).next().and_then(|_| ranges.end_at(seq));
        end(&known.tried).max(end(&known.holes))
    }

    /// Notes that these positions cannot be read.
    pub(super) fn note(&self, positions: Range<Seq>, faults: &Faults) {
        let mut known = self.0.lock();
        if known.tried.0.len() < REMEMBERED {
            known.tried.add(positions.clone());
        }
        if known.unreadable.add(positions.clone()) {
            tracing::error!(
                from = positions.start,
                to = positions.end - 1,
                "the journal is damaged: notifications cannot be read"
            );
            known.unreadable.join_closest();
            known.tell(faults);
        }
    }

    /// Notes that the index of these positions cannot be read; what is in them can be.
    pub(super) fn note_index(&self, positions: Range<Seq>, faults: &Faults) {
        let mut known = self.0.lock();
        if known.unindexed.add(positions.clone()) {
            tracing::error!(
                from = positions.start,
                to = positions.end - 1,
                "the journal is damaged: an index cannot be read"
            );
            known.unindexed.join_closest();
            known.tell(faults);
        }
    }

    /// Forgets what has left the journal.
    pub(super) fn forget_before(&self, oldest: Seq, faults: &Faults) {
        let mut known = self.0.lock();
        known.holes.forget_before(oldest);
        let many = known.unreadable.0.len() + known.unindexed.0.len();
        if many > 0 {
            known.tried.forget_before(oldest);
            known.unreadable.forget_before(oldest);
            known.unindexed.forget_before(oldest);
            if known.unreadable.0.len() + known.unindexed.0.len() < many {
                known.tell(faults);
            }
        }
    }
}

/// Why positions are empty that could not be read when the file was opened; see `schema_2.sql`.
pub(super) const DAMAGE: &str = "damage";

impl Known {
    fn tell(&self, faults: &Faults) {
        if self.unreadable.is_empty() && self.unindexed.is_empty() {
            faults.set(FaultKind::Damage, None);
            return;
        }
        let list = |what: &str, Ranges(ranges): &Ranges| {
            let first = ranges.first()?;
            let more =
                if ranges.len() > 1 { format!(" and {} more stretches", ranges.len() - 1) } else { String::new() };
            Some(format!("{what} {} to {}{more}", first.start, first.end - 1))
        };
        let parts = [list("notifications", &self.unreadable), list("the index of notifications", &self.unindexed)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let reason = format!(
            "the journal is damaged: {} cannot be read; who asks for what is lost is told of a gap; look with \
             `exposia-notifications journal check`, and mind the disk",
            parts.join(" and ")
        );
        faults.set(FaultKind::Damage, Some(&reason));
    }
}

impl Ranges {
    /// The end of the stretch that has the position.
    fn end_at(&self, seq: Seq) -> Option<Seq> {
        self.0
            .get(self.0.partition_point(|range| range.end <= seq))
            .filter(|range| range.contains(&seq))
            .map(|range| range.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set_of_places(
            added in proptest::collection::vec((0..60u64, 0..8u64), 0..20),
            positions in (0..60u64, 0..30u64),
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (start, length) in added {
                let new = (start..start + length).filter(|seq| set.insert(*seq)).count() > 0;
                prop_assert_eq!(ranges.add(start..start + length), new);
            }
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!((0..70).all(|seq| ranges.contains(seq) == set.contains(&seq)));
            let positions = positions.0..positions.0 + positions.1;
            let within: Vec<_> = ranges.within(&positions).flatten().collect();
            prop_assert_eq!(within, set.range(positions).copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_is_left_out() {
        let mut ranges = Ranges::default();
        for n in 0..3_000 {
            ranges.add(n * 10..n * 10 + 1 + n % 3);
            ranges.join_closest();
        }
        assert_eq!(ranges.0.len(), REMEMBERED);
        assert!((0..3_000).all(|n| ranges.contains(n * 10)));
    }
}
