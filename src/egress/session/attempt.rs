//! Which dial of a client a connection comes from.

use std::{num::NonZeroU64, time::Duration};

/// How long a connection is not replaced by an earlier dial of its client, which was abandoned and arrives late.
const YOUNG: Duration = Duration::from_secs(10);

/// The length of a [`Moment`]'s unit.
const TICK: Duration = Duration::from_millis(100);

/// The number of a dial: a client counts up with each one that it makes under its client id.
///
/// It is kept plus one, so that a connection without a number takes no more room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::egress) struct Attempt(NonZeroU64);

impl Attempt {
    /// The greatest number: every program can hold it, be its numbers doubles.
    pub(in crate::egress) const MAX: u64 = (1 << 53) - 1;

    /// Reads digits; `None` for anything else, and for more than [`MAX`](Self::MAX).
    pub(in crate::egress) fn parse(text: &str) -> Option<Self> {
        let number: u64 = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
        (number <= Self::MAX).then_some(Self(NonZeroU64::MIN.saturating_add(number)))
    }
}

/// A moment of the monotonic clock in tenths of a second: a `u32` holds thirteen years of them, and an idle connection little
/// else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::egress) struct Moment(u32);

impl Moment {
    /// At the time `monotonic` of that clock.
    pub(in crate::egress) fn new(monotonic: Duration) -> Self {
        Self(u32::try_from(monotonic.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX))
    }

    fn until(self, later: Self) -> Duration {
        TICK * later.0.saturating_sub(self.0)
    }
}

/// When a connection began, and with which number if the client gave it one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::egress) struct Dial {
    pub(in crate::egress) attempt: Option<Attempt>,
    pub(in crate::egress) at: Moment,
}

impl Dial {
    /// Whether `other`, which comes only now, was dialled before this one, and this one is too young to give way to it.
    pub(in crate::egress) fn outranks(&self, other: &Self) -> bool {
        let was_dialled_later = self.attempt > other.attempt && other.attempt.is_some();
        was_dialled_later && self.at.until(other.at) < YOUNG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(attempt: Option<u64>, millis: u64) -> Dial {
        let attempt = attempt.map(|number| Attempt::parse(&number.to_string()).expect("in range"));
        Dial { attempt, at: Moment::new(Duration::from_millis(millis)) }
    }

    #[test]
    fn an_attempt_is_a_whole_number_that_a_double_holds() {
        for good in ["0", "1", "007", "1764474062123", "9007199254740991"] {
            assert!(Attempt::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-1", "+1", "1.0", "1e3", " 1", "9007199254740992", "18446744073709551616", "x", "٣"] {
            assert_eq!(Attempt::parse(bad), None, "{bad}");
        }
        assert!(Attempt::parse("9") < Attempt::parse("10"));
    }

    #[test]
    fn only_a_young_connection_of_a_later_dial_outranks() {
        assert!(dial(Some(2), 0).outranks(&dial(Some(1), 9_999)));
        assert!(dial(Some(1), 0).outranks(&dial(Some(0), 0)));
        for (held, comes) in [
            (dial(Some(2), 0), dial(Some(1), 10_000)),
            (dial(Some(2), 0), dial(Some(2), 0)),
            (dial(Some(2), 0), dial(Some(3), 0)),
            (dial(Some(2), 0), dial(None, 0)),
            (dial(None, 0), dial(Some(1), 0)),
            (dial(None, 0), dial(None, 0)),
        ] {
            assert!(!held.outranks(&comes), "{held:?}, {comes:?}");
        }
    }

    // there are a hundred thousand that do nothing
    #[test]
    fn a_connection_holds_little_of_its_dial() {
        assert_eq!(size_of::<Option<Attempt>>(), 8);
        assert_eq!(size_of::<Moment>(), 4);
    }
}
