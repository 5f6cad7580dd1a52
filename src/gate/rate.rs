//! How often something may happen: token buckets, by governor.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use governor::{
    InsufficientCapacity, Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::domain::parse_positive_duration;

/// The times that a rate is given for are whole seconds, up to this.
const MAX_PERIOD: Duration = Duration::from_secs(365 * 24 * 3_600);

/// So many in such a time: a bucket holds that many, and is filled again, evenly, in that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many the bucket holds.
    pub count: NonZeroU32,
    /// In which time it is filled.
    pub period: Duration,
}

impl FromStr for Rate {
    type Err = &'static str;

    /// Reads `100/s`, `600/m`, `500/10s` or `1/h`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a rate such as 100/s, 600/1m or 1/h: how many, and in which time";
        let (count, period) = text.split_once('/').filter(|(_, period)| !period.is_empty()).ok_or(WRONG)?;
        let one = if period.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1" };
        let period = parse_positive_duration(&format!("{one}{period}")).map_err(|_| WRONG)?;
        let rate = Self { count: count.parse().map_err(|_| WRONG)?, period };
        let whole = period.subsec_nanos() == 0 && period <= MAX_PERIOD;
        let sensible = whole && !(period / rate.count.get()).is_zero();
        if sensible { Ok(rate) } else { Err(WRONG) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.count, self.period)
    }
}

/// A setting: a rate, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit(pub Option<Rate>);

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|rate| Self(Some(rate))).map_err(|error| format!("{error}; or off"))
    }
}

/// A token bucket. It has no lock, and nothing on the heap.
#[derive(Debug)]
pub struct Bucket(RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>);

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let interval = rate.period / rate.count.get();
        let quota = Quota::with_period(interval).expect("a rate's interval is not zero").allow_burst(rate.count);
        Self(RateLimiter::direct_with_clock(quota, MonotonicClock).with_middleware())
    }

    /// Takes one out, and says how many are left; or, from an empty bucket, when there will be another.
    pub fn take(&self) -> Result<u32, Duration> {
        let taken = self.0.check().map(|left| left.remaining_burst_capacity());
        taken.map_err(|not_until| not_until.wait_time_from(MonotonicClock.now()))
    }

    /// Takes `count` out at once, or none. It may be no more than the bucket holds when it is full: so many there never are.
    pub fn take_many(&self, count: NonZeroU32) -> Result<u32, Duration> {
        let taken = self.0.check_n(count).map_err(|InsufficientCapacity(_)| Duration::MAX)?;
        let taken = taken.map(|left| left.remaining_burst_capacity());
        taken.map_err(|not_until| not_until.wait_time_from(MonotonicClock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_in_such_a_time() {
        let rate = |text: &str| text.parse::<Rate>().map(|rate| (rate.count.get(), rate.period.as_millis()));
        assert_eq!(rate("100/s"), Ok((100, 1_000)));
        assert_eq!(rate("500/10s"), Ok((500, 10_000)));
        assert_eq!((rate("1/h"), rate("600/1m")), (Ok((1, 3_600_000)), Ok((600, 60_000))));
        for text in
            ["", "5", "/s", "0/s", "-1/s", "1/", "1/0s", "1.5/s", "1/fortnight", "4294967295/s", "5/1500ms", "1/400d"]
        {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!("off".parse(), Ok(RateLimit(None)));
    }

    #[test]
    fn a_bucket_gives_what_it_holds() {
        let bucket = Bucket::new("2/h".parse().expect("a rate"));
        assert_eq!((bucket.take(), bucket.take()), (Ok(1), Ok(0)));
        let wait = bucket.take().expect_err("empty");
        assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(1_800), "{wait:?}");
    }

    #[test]
    fn many_are_taken_at_once_or_none() {
        let bucket = |rate: &str| Bucket::new(rate.parse().expect("a rate"));
        let count = |count| NonZeroU32::new(count).expect("not zero");
        let ten = bucket("10/h");
        assert_eq!((ten.take_many(count(6)), ten.take_many(count(4))), (Ok(4), Ok(0)));
        assert!(bucket("10/h").take_many(count(10)).is_ok());
        let ten = bucket("10/h");
        assert_eq!(ten.take_many(count(11)), Err(Duration::MAX));
        assert_eq!(ten.take(), Ok(9));
        assert!(ten.take_many(count(10)).is_err());
        assert_eq!(ten.take_many(count(9)), Ok(0), "what was refused took nothing");
    }
}
