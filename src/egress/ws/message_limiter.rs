//! How much a client may say.

use std::num::NonZeroU32;

use crate::gate::{Bucket, Rate};

/// A message counts as one for each started part of so many bytes: what it costs others grows with its length.
const PART: usize = 4096;

/// A client that was refused this many messages more than it was allowed since is not going to stop.
const MAX_EXCESS: u32 = 100;

/// Counts how many messages one client may still send now.
#[derive(Debug, Default)]
pub(super) struct MessageLimiter {
    /// Made for a client that speaks; most of them only listen.
    bucket: Option<Box<Bucket>>,
    /// How many messages were refused, less those that were allowed since.
    excess: u32,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    Refused,
    /// The client goes on although it was told.
    TooMany,
}

impl MessageLimiter {
    /// Takes a message that is so long, and in whose course so many frames came that continue one, out of what `rate` gives;
    /// `None` allows everything.
    pub(super) fn take(&mut self, rate: Option<Rate>, length: usize, continuations: u32) -> Decision {
        let Some(rate) = rate else { return Decision::Allowed };
        let bucket = self.bucket.get_or_insert_with(|| Box::new(Bucket::new(rate)));
        // What counts for more than there ever is takes all of it.
        if bucket.take_many(weight(length, continuations).min(rate.count)).is_ok() {
            self.excess = self.excess.saturating_sub(1);
            return Decision::Allowed;
        }
        self.excess += 1;
        if self.excess > MAX_EXCESS { Decision::TooMany } else { Decision::Refused }
    }
}

/// As how many messages one counts.
fn weight(length: usize, continuations: u32) -> NonZeroU32 {
    let parts = u32::try_from(length.div_ceil(PART)).unwrap_or(u32::MAX).max(1);
    NonZeroU32::MIN.saturating_add(parts - 1).saturating_add(continuations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_on_is_told_a_hundred_times() {
        let mut limiter = MessageLimiter::default();
        let mut take = || limiter.take("10/h".parse().ok(), 15, 0);
        let decisions: Vec<_> =
            std::iter::repeat_with(&mut take).take_while(|decision| *decision != Decision::TooMany).collect();
        assert!(decisions[..10].iter().all(|decision| *decision == Decision::Allowed), "what the bucket holds");
        assert_eq!(decisions[10..], [Decision::Refused; 100]);
    }

    #[test]
    fn without_a_limit_everything_is_allowed() {
        let mut limiter = MessageLimiter::default();
        assert!((0..10_000).all(|_| limiter.take(None, 1 << 20, 9) == Decision::Allowed));
    }

    #[test]
    fn what_counts_for_more_than_there_ever_is_takes_all() {
        let mut limiter = MessageLimiter::default();
        let mut take = |length| limiter.take("10/h".parse().ok(), length, u32::MAX);
        assert_eq!((take(1 << 20), take(0)), (Decision::Allowed, Decision::Refused));
    }

    #[test]
    fn a_long_message_and_one_in_pieces_count_as_several() {
        let weight = |length, continuations| weight(length, continuations).get();
        assert_eq!([0, 1, 4096, 4097, 8192, 262_144].map(|length| weight(length, 0)), [1, 1, 1, 2, 2, 64]);
        assert_eq!((weight(0, 7), weight(262_144, 255)), (8, 64 + 255));
        assert_eq!(weight(usize::MAX, u32::MAX), u32::MAX);
    }
}
