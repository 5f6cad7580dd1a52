//! Who guesses tokens, and is hardly listened to for a while. What keeps guessers out is the length of the tokens; this bounds what
//! they cost.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use governor::clock::{Clock, MonotonicClock};
use lru::LruCache;
use parking_lot::Mutex;

use crate::gate::{Rate, address, rate::Bucket};

/// How many addresses are remembered. Those that failed longest ago are forgotten first.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// The failed authentications of each address.
#[derive(Debug)]
pub(super) struct AuthFailureLimiter {
    rate: Option<Rate>,
    by_address: Mutex<LruCache<IpAddr, Failing>>,
}

#[derive(Debug)]
struct Failing {
    bucket: Bucket,
    /// Few signatures of the address are checked before.
    held_until: Option<Instant>,
    /// How many of them.
    checks: Bucket,
}

/// How many signatures are checked of an address that sent too many wrong tokens: a right one among them is found, and guessing
/// costs no more than this.
const CHECKS: &str = "50/s";

impl AuthFailureLimiter {
    /// Makes a limiter of `rate`; without a rate nothing is counted.
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, by_address: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Whether a signature from `address` may be checked now, or for how long few are.
    pub(super) fn may_check(&self, address: IpAddr) -> Result<(), Duration> {
        if self.rate.is_none() {
            return Ok(());
        }
        let by_address = self.by_address.lock();
        let Some(failing) = by_address.peek(&address::counted(address)) else { return Ok(()) };
        let left = failing.held_until.and_then(|until| until.checked_duration_since(MonotonicClock.now()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => failing.checks.take().map(drop).map_err(|_| left),
            None => Ok(()),
        }
    }

    /// Counts a failure. Once there are too many, says for how long few signatures will be checked.
    pub(super) fn count(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut by_address = self.by_address.lock();
        let failing = by_address.get_or_insert_mut(address::counted(address), || Failing {
            bucket: Bucket::new(rate),
            held_until: None,
            checks: Bucket::new(CHECKS.parse().expect("a rate")),
        });
        failing.bucket.take().map(drop).inspect_err(|wait| {
            failing.held_until = MonotonicClock.now().checked_add(*wait);
        })
    }
}
