//! Says in the log what should be known of the certificate that is shown: when that changes, and once a day.

use std::{sync::Arc, time::Duration};

use crate::clock::Clock;

/// How often the same is said.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What was said last, and when.
#[derive(Debug, Clone)]
pub(super) struct Reminder {
    clock: Arc<dyn Clock>,
    said: Option<(Vec<String>, Duration)>,
}

impl Reminder {
    /// Makes a reminder that goes by the time of `clock`. What there is to say the first time has been said: the start says it.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, said: None }
    }

    /// Gives what of `warnings` is to be said now: all, or nothing.
    pub(super) fn due(&mut self, warnings: Vec<String>) -> Vec<String> {
        let now = self.clock.monotonic();
        let is_first = self.said.is_none();
        if self.said.as_ref().is_some_and(|(said, at)| *said == warnings && now.saturating_sub(*at) < EVERY) {
            return Vec::new();
        }
        self.said = Some((warnings.clone(), now));
        if is_first { Vec::new() } else { warnings }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::clock::Manual;

    #[test]
    fn the_same_is_said_once_a_day() {
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let mut reminder = Reminder::new(Arc::clone(&clock) as _);
        let ending = || vec!["it ends".to_owned()];
        assert_eq!(reminder.due(ending()).len(), 0, "the start said it");
        clock.advance(EVERY - Duration::from_secs(1));
        assert_eq!(reminder.due(ending()).len(), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(reminder.due(ending()), ending());
        assert_eq!(reminder.due(ending()).len(), 0);
        let over = vec!["it is over".to_owned()];
        assert_eq!(reminder.due(over.clone()), over);
        assert_eq!(reminder.due(Vec::new()).len(), 0);
        assert_eq!(reminder.due(ending()), ending());
    }
}
