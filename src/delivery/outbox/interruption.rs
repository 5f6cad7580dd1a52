//! What an outbox does where notifications do not come as offers.

use std::ops::RangeInclusive;

use super::{Frame, Mode, Outbox};
use crate::domain::Seq;

impl<F: Frame> Outbox<F> {
    /// What lies up to `until` is not offered: it is read from the journal.
    pub(crate) fn behind(&mut self, until: Seq) {
        if until > self.cursor || self.mode == Mode::Opening {
            self.noted = self.noted.max(until);
            if self.mode == Mode::Live {
                self.mode = Mode::Behind;
            }
        }
    }

    /// The journal is another one: what was queued goes out, and nothing more is taken in. One that was not opened yet is not
    /// opened any more.
    pub(crate) fn end(&mut self) {
        self.mode = Mode::Over;
    }

    /// What has these positions is lost. A subscriber that began before the last of them is told by what `gap` makes of the first and
    /// the last: in its place, or late, when it has come further; its cursor never goes back. What it will come to by
    /// reading is told by the pages that are read from now on.
    ///
    /// Late, it is queued whether there is room or not: a subscriber that takes nothing is closed long before these are many.
    pub(crate) fn lost(&mut self, range: RangeInclusive<Seq>, gap: impl FnOnce(Seq, Seq) -> F) {
        let (from, to) = ((*range.start()).max(self.began + 1), *range.end());
        if from > to || self.mode == Mode::Over {
            return;
        }
        let reads_on = self.mode != Mode::Live || (to > self.cursor && self.is_full());
        let told_to = if reads_on { to.min(self.cursor) } else { to };
        if self.mode != Mode::Opening && from <= told_to {
            self.push(gap(from, told_to));
        }
        if !reads_on {
            self.cursor = self.cursor.max(to);
        } else if to > self.cursor {
            self.noted = self.noted.max(to);
            match self.mode {
                // What is being read may not tell of it.
                Mode::Opening | Mode::Behind => self.stale = true,
                // Whatever lies between was for others, or it would have been offered and queued.
                Mode::Over => {}
                Mode::Live => (self.cursor, self.mode) = (self.cursor.max(from - 1), Mode::Behind),
            }
        }
    }
}
