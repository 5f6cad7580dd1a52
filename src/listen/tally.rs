//! What happens again and again, and need not be told each time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often it is told at the most.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts what happens, and says when to tell it: at once for the first time, and then how often it happened since.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    untold: u64,
    told_at: Option<Instant>,
}

impl Counted {
    /// How many there are to tell, if it is time for that.
    fn due(&mut self) -> Option<u64> {
        let now = Instant::now();
        let due = self.untold > 0 && self.told_at.is_none_or(|at| now.duration_since(at) >= PERIOD);
        due.then(|| {
            self.told_at = Some(now);
            std::mem::take(&mut self.untold)
        })
    }
}

impl Tally {
    /// Counts one more. Gives how many are to be told now, this one counted in.
    pub(super) fn count(&self) -> Option<u64> {
        let mut counted = self.0.lock();
        counted.untold += 1;
        counted.due()
    }

    /// How many were not told yet, once it is time to: for whoever finds that it does not happen any more.
    pub(super) fn rest(&self) -> Option<u64> {
        self.0.lock().due()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_and_then_how_many_there_were() {
        let tally = Tally::default();
        assert_eq!((tally.rest(), tally.count()), (None, Some(1)));
        for _ in 0..100 {
            assert_eq!(tally.count(), None);
        }
        assert_eq!(tally.rest(), None, "not yet");
        advance(PERIOD).await;
        assert_eq!(tally.count(), Some(101));
        assert_eq!(tally.count(), None);
        advance(PERIOD).await;
        assert_eq!((tally.rest(), tally.rest()), (Some(1), None));
    }
}
