//! What was refused: counted by reason, and logged, though no faster than somebody can read.

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

/// How many refusals of each reason are logged one by one in each period; of further ones the log has the number.
const LOGGED: u64 = 10;
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
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::NoToken,
        Self::BadToken,
        Self::AuthFailures,
        Self::Forbidden,
        Self::Origin,
        Self::PublishRate,
        Self::MessageRate,
        Self::AddressConnections,
        Self::UserConnections,
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
        }
    }
}

/// The refusals since the start.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<[Count; Reason::ALL.len()]>);

#[derive(Debug, Default)]
struct Count {
    total: AtomicU64,
    in_period: AtomicU64,
}

impl Refusals {
    /// Counts a refusal, and logs it if there were not too many.
    pub fn note(&self, denied: &Denied, address: IpAddr, credential: Option<&Credential>) {
        let reason = denied.reason();
        let count = &self.0[reason as usize];
        count.total.fetch_add(1, Ordering::Relaxed);
        if count.in_period.fetch_add(1, Ordering::Relaxed) < LOGGED {
            let (reason, credential) = (reason.label(), credential.map(tracing::field::display));
            tracing::warn!(reason, %address, credential, why = %denied.why(), "refused");
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
        while running {
            running = stopping.run_until_cancelled(periods.tick()).await.is_some();
            for reason in Reason::ALL {
                let in_period = self.0[reason as usize].in_period.swap(0, Ordering::Relaxed);
                if let Some(left_out) = in_period.checked_sub(LOGGED).filter(|left_out| *left_out > 0) {
                    tracing::warn!(reason = reason.label(), left_out, "further refusals");
                }
            }
        }
    }
}
