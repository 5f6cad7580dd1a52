//! What was refused, or could not be done: counted by reason, and logged, though no faster than somebody can read.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::gate::{Credential, Denied};

/// How many refusals of a reason are logged one by one in each period; of further ones the log has the number.
const LOGGED: u64 = 10;
/// The same where all are refused for as long as something lasts: the first says it, and then there are the numbers.
const LOGGED_OF_A_STATE: u64 = 1;
const PERIOD: Duration = Duration::from_secs(10);

/// Why something was refused, as logs and statistics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There was no credential.
    NoToken,
    /// The credential is not valid.
    BadToken,
    /// Too many that were not valid came from this address.
    AuthFailures,
    /// The credential does not allow it.
    Forbidden,
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

impl Reason {
    const ALL: [Self; 15] = [
        Self::NoToken,
        Self::BadToken,
        Self::AuthFailures,
        Self::Forbidden,
        Self::Origin,
        Self::PublishRate,
        Self::MessageRate,
        Self::AddressConnections,
        Self::UserConnections,
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
            Self::Origin => "origin",
            Self::PublishRate => "publish_rate",
            Self::MessageRate => "message_rate",
            Self::AddressConnections => "address_connections",
            Self::UserConnections => "user_connections",
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

    /// Where a period begins to count, whose last one had refusals or not: what reaches [`LOGGED`] is not logged any more.
    fn begin(self, goes_on: bool) -> u64 {
        match (self.is_of_a_state(), goes_on) {
            (false, _) => 0,
            (true, false) => LOGGED - LOGGED_OF_A_STATE,
            (true, true) => LOGGED,
        }
    }
}

/// The refusals since the start.
#[derive(Debug, Clone)]
pub struct Refusals(Arc<[Count; Reason::ALL.len()]>);

#[derive(Debug)]
struct Count {
    total: AtomicU64,
    in_period: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        let count = |reason: Reason| Count { total: AtomicU64::new(0), in_period: AtomicU64::new(reason.begin(false)) };
        Self(Arc::new(Reason::ALL.map(count)))
    }
}

impl Refusals {
    /// Counts a refusal, and logs it if there were not too many.
    pub fn note(&self, denied: &Denied, address: IpAddr, credential: Option<&Credential>) {
        let reason = denied.reason();
        let count = &self.0[reason as usize];
        count.total.fetch_add(1, Ordering::Relaxed);
        if count.in_period.fetch_add(1, Ordering::Relaxed) < LOGGED {
            let (label, credential, why) = (reason.label(), credential.map(tracing::field::display), denied.why());
            match reason {
                Reason::Internal => tracing::error!(reason = label, %address, credential, %why, "failed"),
                _ => tracing::warn!(reason = label, %address, credential, %why, "refused"),
            }
        }
    }

    /// How many there were, by reason.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason.label(), self.0[reason as usize].total.load(Ordering::Relaxed)))
    }

    /// Says in each period how many refusals were not logged, until `stopping` is cancelled.
    pub async fn sum_up(self, stopping: CancellationToken) {
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = true;
        let mut begun = Reason::ALL.map(|reason| reason.begin(false));
        while running {
            running = stopping.run_until_cancelled(periods.tick()).await.is_some();
            for (reason, begun) in Reason::ALL.into_iter().zip(&mut begun) {
                let in_period = &self.0[reason as usize].in_period;
                let next = reason.begin(in_period.load(Ordering::Relaxed) > *begun);
                let left_out = in_period.swap(next, Ordering::Relaxed).saturating_sub(LOGGED.max(*begun));
                *begun = next;
                if left_out > 0 {
                    tracing::warn!(reason = reason.label(), left_out, "further refusals");
                }
            }
        }
    }
}
