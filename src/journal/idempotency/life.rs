//! How long keys live that go before their window is over: what is promised of them does not hold then, and that is told.

use std::time::Duration;

use parking_lot::Mutex;

/// For how long it is told that a key went: the minute that has begun, and the hour before it.
const MINUTES: usize = 61;

/// How often it is logged.
const HOUR: Duration = Duration::from_secs(3_600);

/// The shortest lives of late. Times are those of the clock that never steps.
#[derive(Debug, Default)]
pub(in crate::journal) struct KeyLife(Mutex<Lives>);

#[derive(Debug)]
struct Lives {
    /// The shortest life of each minute, with which minute it is.
    minutes: [(u64, Duration); MINUTES],
    logged: Option<Duration>,
}

impl Default for Lives {
    fn default() -> Self {
        Self { minutes: [(0, Duration::MAX); MINUTES], logged: None }
    }
}

fn minute(at: Duration) -> u64 {
    at.as_secs() / 60
}

impl KeyLife {
    /// The shortest life of a key that went in the last hour before its window was over, if one did.
    pub(in crate::journal) fn shortest(&self, now: Duration) -> Option<Duration> {
        let lives = self.0.lock();
        let recent = lives.minutes.iter().filter(|(of, _)| of + MINUTES as u64 > minute(now));
        recent.map(|(_, life)| *life).min().filter(|life| *life < Duration::MAX)
    }

    /// Notes that a key went which had lived for this long.
    pub(super) fn note(&self, life: Duration, now: Duration) {
        let mut lives = self.0.lock();
        let minute = minute(now);
        let (of, shortest) = &mut lives.minutes[minute as usize % MINUTES];
        *shortest = if *of == minute { life.min(*shortest) } else { life };
        *of = minute;
        if lives.logged.is_none_or(|logged| now.saturating_sub(logged) >= HOUR) {
            lives.logged = Some(now);
            drop(lives);
            tracing::warn!(
                life_seconds = life.as_secs(),
                "idempotency keys are forgotten before IDEMPOTENCY_WINDOW is over, and a retry after that is published again; \
                 raise IDEMPOTENCY_MAX_BYTES (or IDEMPOTENCY_MAX_KEYS, if it is set) or lower IDEMPOTENCY_WINDOW"
            );
        }
    }
}
