//! The time, for the whole process. Everything that is stamped, that ends at a moment or that goes by its age asks the same
//! clock, so that a stamp and its end are judged alike whatever the system does to its time of day.

use std::fmt::Debug;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// What the time is. Order is never taken from it: that is what a `seq` is for.
pub trait Clock: Debug + Send + Sync {
    /// The time of day as the system has it now: for stamps, times to live, retention, idempotency keys and tokens. It may step
    /// forward and back, and whoever asks follows it.
    fn wall(&self) -> DateTime<Utc>;

    /// The time since some moment in the past: for waits, and to tell a step of the other from time that went by. It never
    /// runs backwards.
    fn monotonic(&self) -> Duration;
}

/// The clock of the system.
#[derive(Debug, Clone, Copy)]
pub struct System {
    start: Instant,
}

impl Default for System {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
impl Clock for System {
    fn wall(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still unless it is moved.
#[derive(Debug)]
pub struct Manual {
    time: Mutex<(DateTime<Utc>, Duration)>,
}

impl Manual {
    /// A clock that shows `wall`.
    pub fn new(wall: DateTime<Utc>) -> Self {
        Self { time: Mutex::new((wall, Duration::ZERO)) }
    }

    /// Lets time go by.
    pub fn advance(&self, by: Duration) {
        self.step(TimeDelta::from_std(by).expect("within what a time can be"));
        self.time.lock().1 += by;
    }

    /// Moves the time of day, forward or back, while no time goes by.
    pub fn step(&self, by: TimeDelta) {
        self.time.lock().0 += by;
    }
}

impl Clock for Manual {
    fn wall(&self) -> DateTime<Utc> {
        self.time.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.time.lock().1
    }
}
