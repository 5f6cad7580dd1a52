//! When something was sent, and how long it took.

use std::ops::Range;

use serde_json::{Value, json};
use tokio::time::Instant;

/// Something that arrived, or was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was due, in nanoseconds.
    pub(crate) sent: u64,
    pub(crate) took: u64,
}

/// The time of this process, in nanoseconds since it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        self.at(Instant::now())
    }

    pub(crate) fn at(self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How long what was sent in `window` took, in microseconds, and how much that was.
pub(crate) fn latency(samples: &[Sample], window: Range<u64>) -> Value {
    let mut took: Vec<u64> =
        samples.iter().filter(|sample| window.contains(&sample.sent)).map(|sample| sample.took / 1_000).collect();
    took.sort_unstable();
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).or(took.last()).copied();
    json!({ "count": took.len(), "p50": at(0.5), "p99": at(0.99), "max": took.last() })
}
