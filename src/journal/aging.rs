//! Whether what is old may go: not while the clock may be wrong.
//!
//! A clock cannot be asked whether it is right, but it can be held against what it said before. When it shows less than the
//! journal has reached, one of the two is wrong, and nothing goes by its age until the clock has passed that time or somebody
//! said which one it is. When it is suddenly far ahead, what looks old may be new: then nothing goes by its age for a day of
//! running, in which somebody can notice. Bounds in entries and bytes hold all the while.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;

/// How far the clock may lie behind the latest time that the journal has reached.
const MAX_BEHIND: TimeDelta = TimeDelta::minutes(1);

/// How far it may lie ahead of that at the start, or step ahead at once.
const MAX_AHEAD: TimeDelta = TimeDelta::days(1);

/// For how long, of running, nothing goes by its age after the clock was found further ahead.
pub(super) const HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long, of running, nothing goes by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hold {
    pub(super) left: Duration,
    /// What the journal had reached when it began, in milliseconds since 1970: it is not begun again for that.
    pub(super) reached_at: i64,
}

/// Watches the clock for a journal.
#[derive(Debug)]
pub(super) struct Aging {
    clock: Arc<dyn Clock>,
    /// What it showed the last time, and when that was.
    last: (DateTime<Utc>, Duration),
    hold: Hold,
    /// The time that the journal had reached when the clock was found behind it.
    behind: Option<DateTime<Utc>>,
}

impl Aging {
    /// Begins to watch for a journal that has reached a time, in milliseconds since 1970, if anything was appended to it; an
    /// earlier run left this much of a hold.
    pub(super) fn new(clock: Arc<dyn Clock>, reached_at: Option<i64>, hold: Hold) -> Self {
        let now = (clock.wall(), clock.monotonic());
        let mut aging = Self { clock, last: now, hold, behind: None };
        let reached_at = reached_at.filter(|reached_at| *reached_at != hold.reached_at);
        if let Some(reached) = reached_at.and_then(DateTime::from_timestamp_millis)
            && now.0 - reached > MAX_AHEAD
        {
            aging.hold(now.0 - reached, reached.timestamp_millis(), "the newest notification");
        }
        aging
    }

    /// Looks at the clock. Gives the time at which what is old may go; none while it may be wrong.
    pub(super) fn look(&mut self, reached_at: i64) -> Option<DateTime<Utc>> {
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic());
        let passed = monotonic.saturating_sub(self.last.1);
        let stepped = (wall - self.last.0) - TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
        self.last = (wall, monotonic);
        self.hold.left = self.hold.left.saturating_sub(passed);
        if stepped > MAX_AHEAD {
            self.hold(stepped, reached_at, "a moment ago");
        }
        self.compare(wall, reached_at);
        (self.hold.left.is_zero() && self.behind.is_none()).then_some(wall)
    }

    /// Says for how long nothing goes by its age yet.
    pub(super) fn held(&self) -> Hold {
        self.hold
    }

    /// What is wrong, where somebody must say which time is right.
    pub(super) fn fault(&self) -> Option<String> {
        let reached = self.behind?;
        Some(format!(
            "the clock shows less than the newest notification was stamped with ({}); nothing goes by its age until the clock \
             has passed that; if the clock is right now, stop the service and run `exposia-notifications journal settle-clock`",
            reached.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        ))
    }

    fn compare(&mut self, wall: DateTime<Utc>, reached_at: i64) {
        let reached = DateTime::from_timestamp_millis(reached_at).filter(|_| reached_at > i64::MIN);
        let behind =
            reached.filter(|reached| *reached - wall > MAX_BEHIND || (self.behind.is_some() && *reached > wall));
        match (self.behind, behind) {
            (None, Some(_)) => {
                self.behind = behind;
                if let Some(fault) = self.fault() {
                    tracing::warn!("{fault}");
                }
            }
            (Some(_), None) => tracing::info!("the clock has passed the newest notification's stamp; ages count again"),
            _ => {}
        }
        self.behind = behind;
    }

    fn hold(&mut self, ahead: TimeDelta, reached_at: i64, of: &str) {
        self.hold = Hold { left: HOLD, reached_at };
        tracing::warn!(
            days = ahead.num_days(),
            hours = HOLD.as_secs() / 3_600,
            "the clock is far ahead of {of}; if it is wrong, mend it: nothing goes by its age for these hours of running"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Manual;

    const START: i64 = 1_800_000_000_000;

    fn clock() -> Arc<Manual> {
        Arc::new(Manual::new(DateTime::from_timestamp_millis(START).expect("a time")))
    }

    #[test]
    fn a_clock_that_agrees_is_followed() {
        let clock = clock();
        let mut aging = Aging::new(clock.clone(), Some(START), Hold::default());
        assert_eq!(aging.look(START), Some(clock.wall()));
        clock.step(TimeDelta::hours(23));
        assert_eq!(aging.look(START), Some(clock.wall()));
        clock.step(TimeDelta::hours(-23) - TimeDelta::seconds(59));
        assert_eq!(aging.look(START), Some(clock.wall()));
    }

    #[test]
    fn a_clock_behind_the_newest_stamp_holds_until_it_has_passed_it() {
        let clock = clock();
        let mut aging = Aging::new(clock.clone(), Some(START + 3_600_000), Hold::default());
        assert_eq!(aging.look(START + 3_600_000), None);
        assert!(aging.fault().is_some_and(|fault| fault.contains("settle-clock")));
        clock.advance(Duration::from_secs(3_599));
        assert_eq!(aging.look(START + 3_600_000), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(aging.look(START + 3_600_000), Some(clock.wall()));
        assert_eq!(aging.fault(), None);
    }

    #[test]
    fn a_clock_that_is_suddenly_ahead_holds_for_a_day_of_running() {
        let clock = clock();
        let mut aging = Aging::new(clock.clone(), Some(START), Hold::default());
        clock.step(TimeDelta::days(30));
        assert_eq!(aging.look(START), None);
        assert_eq!((aging.fault(), aging.held().left), (None, HOLD));
        clock.advance(HOLD - Duration::from_secs(1));
        assert_eq!(aging.look(START), None);
        clock.advance(Duration::from_secs(1));
        assert!(aging.look(START).is_some());
    }

    #[test]
    fn a_start_far_ahead_of_the_newest_stamp_holds_and_what_is_left_of_a_hold_goes_on() {
        let clock = clock();
        let long_ago = START - 25 * 3_600_000;
        assert_eq!(Aging::new(clock.clone(), Some(long_ago), Hold::default()).look(long_ago), None);
        assert!(Aging::new(clock.clone(), None, Hold::default()).look(i64::MIN).is_some());
        // One that was served for the same is not begun again: a service that starts each day lets go in the end.
        let served = Hold { left: Duration::ZERO, reached_at: long_ago };
        assert!(Aging::new(clock.clone(), Some(long_ago), served).look(long_ago).is_some());
        let mut aging = Aging::new(clock.clone(), Some(START), Hold { left: Duration::from_secs(10), reached_at: 0 });
        assert_eq!(aging.look(START), None);
        clock.advance(Duration::from_secs(10));
        assert!(aging.look(START).is_some());
    }
}
