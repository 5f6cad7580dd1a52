//! The keys that signatures are checked with: those of the settings, which stay, and those of an issuer, which change.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::gate::{Expected, Identity, Key, TokenError};

/// All keys by which tokens are verified now.
#[derive(Debug, Clone)]
pub struct VerificationKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fixed: Vec<Key>,
    /// `None` until those of the issuer have come for the first time.
    issued: RwLock<Option<Arc<[Key]>>>,
    /// Told when a token was signed with a key that is not here.
    missed: Notify,
}

impl VerificationKeys {
    /// Begins with the keys of the settings, `fixed`; `awaited` says that an issuer's keys are still to come.
    pub fn new(fixed: Vec<Key>, awaited: bool) -> Self {
        let issued = RwLock::new((!awaited).then(Arc::default));
        Self(Arc::new(Inner { fixed, issued, missed: Notify::new() }))
    }

    /// Whether those of the issuer have not come yet.
    pub fn are_awaited(&self) -> bool {
        self.0.issued.read().is_none()
    }

    /// Checks `token` with them at the time `now`.
    pub(super) fn verify(&self, token: &str, expected: &Expected, now: DateTime<Utc>) -> Result<Identity, TokenError> {
        let issued = self.0.issued.read().clone().unwrap_or_default();
        let outcome = expected.verify(token, self.0.fixed.iter().chain(&*issued), now);
        if matches!(outcome, Err(TokenError::NoKey)) {
            self.0.missed.notify_one();
        }
        outcome
    }

    /// Puts the issuer's keys in place of those that it had before.
    pub(super) fn replace(&self, issued: Vec<Key>) {
        *self.0.issued.write() = Some(issued.into());
    }

    /// Waits until a token was signed with a key that is not here, if it has not happened since the last time.
    pub(super) async fn missed(&self) {
        self.0.missed.notified().await;
    }
}
