//! How much a client may say.

use crate::gate::{Bucket, Rate};

/// A client that was refused this many messages more than it was allowed since is not going to stop.
const MAX_EXCESS: u32 = 100;

/// What one client may still say.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Made for a client that speaks; most of them only listen.
    bucket: Option<Box<Bucket>>,
    /// How many messages were refused, less those that were allowed since.
    excess: u32,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Refused,
    /// The client goes on although it was told.
    TooMany,
}

impl Allowance {
    /// Takes one message of `rate`; `None` allows everything.
    pub(super) fn take(&mut self, rate: Option<Rate>) -> Verdict {
        let Some(rate) = rate else { return Verdict::Allowed };
        let bucket = self.bucket.get_or_insert_with(|| Box::new(Bucket::new(rate)));
        if bucket.take().is_ok() {
            self.excess = self.excess.saturating_sub(1);
            return Verdict::Allowed;
        }
        self.excess += 1;
        if self.excess > MAX_EXCESS { Verdict::TooMany } else { Verdict::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_on_is_told_a_hundred_times() {
        let mut allowance = Allowance::default();
        let mut take = || allowance.take("10/h".parse().ok());
        let verdicts: Vec<_> =
            std::iter::repeat_with(&mut take).take_while(|verdict| *verdict != Verdict::TooMany).collect();
        assert!(verdicts[..10].iter().all(|verdict| *verdict == Verdict::Allowed), "what the bucket holds");
        assert_eq!(verdicts[10..], [Verdict::Refused; 100]);
    }

    #[test]
    fn without_a_limit_everything_is_allowed() {
        let mut allowance = Allowance::default();
        assert!((0..10_000).all(|_| allowance.take(None) == Verdict::Allowed));
    }
}
