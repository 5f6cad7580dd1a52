//! Who guesses tokens, and is not listened to for a while.

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
pub(super) struct Failures {
    rate: Option<Rate>,
    by_address: Mutex<LruCache<IpAddr, Failing>>,
}

#[derive(Debug)]
struct Failing {
    bucket: Bucket,
    /// No token of the address is looked at before.
    ignored_until: Option<Instant>,
}

impl Failures {
    /// Without a rate nothing is counted.
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, by_address: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// For how long no token of `address` is looked at yet.
    pub(super) fn ignored_for(&self, address: IpAddr) -> Option<Duration> {
        self.rate?;
        let until = self.by_address.lock().peek(&address::counted(address))?.ignored_until?;
        until.checked_duration_since(MonotonicClock.now()).filter(|wait| !wait.is_zero())
    }

    /// Counts a failure. Once there are too many, says for how long no token will be looked at.
    pub(super) fn count(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut by_address = self.by_address.lock();
        let failing = by_address.get_or_insert_mut(address::counted(address), || Failing {
            bucket: Bucket::new(rate),
            ignored_until: None,
        });
        failing.bucket.take().map(drop).inspect_err(|wait| {
            failing.ignored_until = MonotonicClock.now().checked_add(*wait);
        })
    }
}
