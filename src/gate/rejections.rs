//! What was refused, or could not be done: counted by reason, and logged, though no faster than somebody can read.

use std::{
    collections::VecDeque,
    mem,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::gate::{Credential, Error};

/// How many refusals of a reason are logged one by one in each period; of further ones the log has the number.
const LOGGED: u64 = 10;
/// Of what lasts, each cause is logged once. These many of them are remembered.
const CAUSES: usize = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// Why something was refused, as logs and statistics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionReason {
    /// There was no credential.
    NoToken,
    /// The credential is not valid.
    BadToken,
    /// Too many that were not valid came from this address.
    AuthFailures,
    /// The credential does not allow it.
    Forbidden,
    /// Another user holds its client id.
    ClientId,
    /// A page from elsewhere.
    Origin,
    /// It published too fast.
    PublishRate,
    /// It sent messages too fast.
    MessageRate,
    /// Its address has too many connections.
    AddressConnections,
    /// Its user has.
    UserConnections,
    /// Too many calls without a credential were open.
    StrangerCalls,
    /// Too many bytes are held of what is unfinished or unread.
    UnfinishedBytes,
    /// The service goes away.
    Draining,
    /// There are as many connections as may be.
    Connections,
    /// As many publishes wait as may.
    PublishQueue,
    /// The journal has not said in time what became of a publish.
    Unanswered,
    /// The journal cannot be written to, or read.
    JournalUnavailable,
    /// A fault of the service.
    Internal,
}

impl RejectionReason {
    const ALL: [Self; 18] = [
        Self::NoToken,
        Self::BadToken,
        Self::AuthFailures,
        Self::Forbidden,
        Self::ClientId,
        Self::Origin,
        Self::PublishRate,
        Self::MessageRate,
        Self::AddressConnections,
        Self::UserConnections,
        Self::StrangerCalls,
        Self::UnfinishedBytes,
        Self::Draining,
        Self::Connections,
        Self::PublishQueue,
        Self::Unanswered,
        Self::JournalUnavailable,
        Self::Internal,
    ];

    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::BadToken => "bad_token",
            Self::AuthFailures => "auth_failures",
            Self::Forbidden => "forbidden",
            Self::ClientId => "client_id",
            Self::Origin => "origin",
            Self::PublishRate => "publish_rate",
            Self::MessageRate => "message_rate",
            Self::AddressConnections => "address_connections",
            Self::UserConnections => "user_connections",
            Self::StrangerCalls => "stranger_calls",
            Self::UnfinishedBytes => "unfinished_bytes",
            Self::Draining => "draining",
            Self::Connections => "connections",
            Self::PublishQueue => "publish_queue",
            Self::Unanswered => "unanswered",
            Self::JournalUnavailable => "journal_unavailable",
            Self::Internal => "internal",
        }
    }

    /// Whether it is for something that lasts, in which everybody is refused alike.
    fn is_of_a_state(self) -> bool {
        matches!(
            self,
            Self::Draining | Self::Connections | Self::PublishQueue | Self::Unanswered | Self::JournalUnavailable
        )
    }
}

/// The refusals since the start.
#[derive(Debug, Clone)]
pub struct RejectionCounters(Arc<[Count; RejectionReason::ALL.len()]>);

#[derive(Debug, Default)]
struct Count {
    total: AtomicU64,
    in_period: AtomicU64,
    /// Of a reason that lasts.
    told: Mutex<Told>,
}

/// What was logged of something that lasts, in which everybody is refused alike: its causes, for which it may have several.
#[derive(Debug, Default)]
struct Told {
    causes: VecDeque<Arc<str>>,
    in_period: u64,
}

impl Told {
    /// Whether a refusal is to be logged, for its cause was not and there were not too many.
    fn is_news(&mut self, cause: &Arc<str>) -> bool {
        if self.in_period >= LOGGED || self.causes.contains(cause) {
            return false;
        }
        if self.causes.len() == CAUSES {
            self.causes.pop_front();
        }
        self.causes.push_back(Arc::clone(cause));
        self.in_period += 1;
        true
    }

    /// Ends a period, after which it goes on or not, and gives how many were logged in it.
    fn end_period(&mut self, goes_on: bool) -> u64 {
        if !goes_on {
            self.causes.clear();
        }
        mem::take(&mut self.in_period)
    }
}

impl Count {
    /// Counts a refusal, and says whether it is to be logged.
    fn note(&self, denied: &Error) -> bool {
        self.total.fetch_add(1, Ordering::Relaxed);
        let before = self.in_period.fetch_add(1, Ordering::Relaxed);
        match denied {
            Error::Unserved(_, cause) if denied.reason().is_of_a_state() => self.told.lock().is_news(cause),
            _ => before < LOGGED,
        }
    }

    /// Ends a period, and gives how many refusals were left out of the log in it.
    fn end_period(&self, reason: RejectionReason) -> u64 {
        let in_period = self.in_period.swap(0, Ordering::Relaxed);
        let logged = if reason.is_of_a_state() { self.told.lock().end_period(in_period > 0) } else { LOGGED };
        in_period.saturating_sub(logged)
    }
}

impl Default for RejectionCounters {
    fn default() -> Self {
        Self(Arc::new(RejectionReason::ALL.map(|_| Count::default())))
    }
}

impl RejectionCounters {
    /// Counts a refusal, and logs it if there were not too many. [`Caller::refused`](crate::gate::Caller::refused) is the one way to it.
    pub(super) fn note(&self, denied: &Error, address: IpAddr, credential: Option<&Credential>) {
        let reason = denied.reason();
        if self.0[reason as usize].note(denied) {
            let (label, credential, why) = (reason.label(), credential.map(tracing::field::display), denied.why());
            match reason {
                RejectionReason::Internal => tracing::error!(reason = label, %address, credential, %why, "failed"),
                _ => tracing::warn!(reason = label, %address, credential, %why, "refused"),
            }
        }
    }

    /// How many there were, by reason.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RejectionReason::ALL
            .into_iter()
            .map(|reason| (reason.label(), self.0[reason as usize].total.load(Ordering::Relaxed)))
    }

    /// Says in each period how many refusals were not logged, until `stopping` is cancelled.
    pub async fn sum_up(self, stopping: CancellationToken) {
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = true;
        while running {
            running = stopping.run_until_cancelled(periods.tick()).await.is_some();
            for (reason, count) in RejectionReason::ALL.into_iter().zip(&*self.0) {
                let left_out = count.end_period(reason);
                if left_out > 0 {
                    tracing::warn!(reason = reason.label(), left_out, "further refusals");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Unserved;

    fn is_logged(count: &Count, why: &str) -> bool {
        count.note(&Error::Unserved(Unserved::Journal, why.into()))
    }

    #[test]
    fn each_cause_of_what_lasts_is_logged_once() {
        let count = Count::default();
        assert!(is_logged(&count, "the disk is full"));
        assert!(!is_logged(&count, "the disk is full"));
        assert!(is_logged(&count, "it cannot be read"));
        assert!(!is_logged(&count, "the disk is full") && !is_logged(&count, "it cannot be read"));
        assert_eq!(count.end_period(RejectionReason::JournalUnavailable), 3);
        // It goes on.
        assert!(!is_logged(&count, "the disk is full"));
        assert!(is_logged(&count, "the file is gone"));
        assert_eq!(count.end_period(RejectionReason::JournalUnavailable), 1);
        // It was over for a period.
        assert_eq!(count.end_period(RejectionReason::JournalUnavailable), 0);
        assert!(is_logged(&count, "the disk is full"));
        assert_eq!(count.total.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn causes_that_are_always_new_are_bounded() {
        let count = Count::default();
        for _ in 0..3 {
            let logged = (0..1_000).filter(|_| is_logged(&count, &rand::random::<u128>().to_string())).count();
            assert_eq!(logged as u64, LOGGED);
            assert_eq!(count.end_period(RejectionReason::JournalUnavailable), 1_000 - LOGGED);
            assert!(count.told.lock().causes.len() <= CAUSES);
        }
    }

    #[test]
    fn of_what_does_not_last_the_first_of_each_period_are_logged() {
        let count = Count::default();
        for _ in 0..2 {
            let logged = (0..100).filter(|_| count.note(&Error::MessageRate)).count();
            assert_eq!(logged as u64, LOGGED);
            assert_eq!(count.end_period(RejectionReason::MessageRate), 100 - LOGGED);
        }
    }
}
