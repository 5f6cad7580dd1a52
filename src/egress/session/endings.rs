//! What the log says of sessions that ended: a line for each, though no faster than somebody can read, and the number of the others.

use std::{collections::BTreeMap, fmt, mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    gate::{Bucket, RateLimit},
    wire::status::Close,
};

/// How often the others are summed up.
const PERIOD: Duration = Duration::from_secs(5);

/// The sessions that ended.
#[derive(Debug, Clone)]
pub(in crate::egress) struct Endings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// How many are logged one by one; all without it.
    logged: Option<Bucket>,
    left_out: Mutex<Reasons>,
}

/// How many ended for which reason. There are no more entries than reasons.
#[derive(Debug, Default)]
struct Reasons(BTreeMap<&'static str, u64>);

impl Endings {
    /// At `rate` they are logged one by one.
    pub(super) fn new(rate: RateLimit) -> Self {
        Self(Arc::new(Inner { logged: rate.0.map(Bucket::new), left_out: Mutex::default() }))
    }

    /// Logs that the session of this span ended, or counts it.
    pub(in crate::egress) fn note(&self, close: Close) {
        let reason = close.label();
        if self.0.logged.as_ref().is_none_or(|bucket| bucket.take().is_ok()) {
            tracing::info!(reason, "session closed");
        } else {
            *self.0.left_out.lock().0.entry(reason).or_default() += 1;
            tracing::debug!(reason, "session closed");
        }
    }

    /// Says in each period how many sessions ended of which the log says nothing, until `stopping` is cancelled.
    pub(super) async fn sum_up(self, stopping: CancellationToken) {
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = true;
        while running {
            running = stopping.run_until_cancelled(periods.tick()).await.is_some();
            self.end_period();
        }
    }

    /// Says how many there were besides those that were logged.
    fn end_period(&self) {
        let reasons = mem::take(&mut *self.0.left_out.lock());
        let left_out: u64 = reasons.0.values().sum();
        if left_out > 0 {
            tracing::info!(left_out, %reasons, "further sessions closed");
        }
    }
}

impl fmt::Display for Reasons {
    /// `by_client 12, going_away 1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (reason, count)) in self.0.iter().enumerate() {
            write!(f, "{}{reason} {count}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_is_counted_by_reason() {
        let endings = Endings::new("2/h".parse().expect("a rate"));
        for close in [Close::ByClient, Close::ByClient, Close::GoingAway, Close::ByClient, Close::GoingAway] {
            endings.note(close);
        }
        assert_eq!(endings.0.left_out.lock().to_string(), "by_client 1, going_away 2");
        endings.end_period();
        assert_eq!(endings.0.left_out.lock().to_string(), "");
        let all = Endings::new("off".parse().expect("a rate"));
        all.note(Close::ByClient);
        assert_eq!(all.0.left_out.lock().to_string(), "");
    }
}
