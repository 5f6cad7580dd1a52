//! The time of day for what the journal keeps: windows and expiry.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The time of day, which follows tokio's clock from where it was when the journal was opened: it never runs backwards, and a
/// test can move it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    opened_at: DateTime<Utc>,
    opened: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { opened_at: Utc::now(), opened: Instant::now() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        let elapsed = TimeDelta::from_std(self.opened.elapsed()).unwrap_or(TimeDelta::MAX);
        self.opened_at.checked_add_signed(elapsed).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
