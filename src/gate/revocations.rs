//! Which tokens are no longer believed, although they are valid, and until when the others are.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::Utc;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    domain::UserId,
    gate::{Identity, Permit, TokenError},
};

/// How many users, and how many tokens, are remembered. The oldest are forgotten first; by then their tokens should have
/// expired.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// What was revoked on this node since it started.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    revoked: Mutex<Revoked>,
    /// Changes with each revocation.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Revoked {
    /// Up to when the tokens of a user were issued that are no longer believed, in seconds since 1970.
    users: LruCache<UserId, i64>,
    /// The ids of single tokens.
    tokens: LruCache<Box<str>, ()>,
}

impl Default for Revocations {
    fn default() -> Self {
        let revoked = Revoked { users: LruCache::new(REMEMBERED), tokens: LruCache::new(REMEMBERED) };
        Self(Arc::new(Inner { revoked: Mutex::new(revoked), changes: watch::Sender::new(()) }))
    }
}

impl Revocations {
    /// Believes no token of `user` any more that was issued until now.
    pub fn revoke_user(&self, user: UserId) {
        self.0.revoked.lock().users.put(user, Utc::now().timestamp());
        self.0.changes.send_replace(());
    }

    /// Believes the token with this id (`jti`) no more.
    pub fn revoke_token(&self, id: &str) {
        self.0.revoked.lock().tokens.put(id.into(), ());
        self.0.changes.send_replace(());
    }

    /// Whether the token behind `identity` was revoked. One that does not say when it was issued counts as old.
    pub fn has(&self, identity: &Identity) -> bool {
        let revoked = self.0.revoked.lock();
        let user = identity.user().and_then(|user| revoked.users.peek(user));
        let user_revoked = user.is_some_and(|until| identity.issued_at.is_none_or(|issued| issued <= *until));
        user_revoked || identity.token_id.as_ref().is_some_and(|id| revoked.tokens.contains(id))
    }

    /// Watches over what goes on under `permit`.
    pub fn watch(&self, permit: Permit) -> Watch {
        let expires = permit.identity().and_then(|identity| identity.expires_at);
        let left = expires.map(|at| u64::try_from(at - Utc::now().timestamp()).unwrap_or(0));
        let deadline = left.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let mut changes = self.0.changes.subscribe();
        // Something may have been revoked since the token was checked.
        changes.mark_changed();
        Watch { permit, deadline, changes, revocations: self.clone() }
    }
}

/// Tells when a token is no longer good.
#[derive(Debug)]
pub struct Watch {
    permit: Permit,
    deadline: Option<Instant>,
    changes: watch::Receiver<()>,
    revocations: Revocations,
}

impl Watch {
    /// Whether it still is. Looks closer only after something was revoked.
    pub fn check(&mut self) -> Result<(), TokenError> {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(TokenError::Expired);
        }
        let news = self.changes.has_changed().unwrap_or(false);
        if news {
            self.changes.mark_unchanged();
        }
        let revoked = news && self.permit.identity().is_some_and(|identity| self.revocations.has(identity));
        if revoked { Err(TokenError::Revoked) } else { Ok(()) }
    }

    /// Waits until [`check`](Self::check) may have something else to say.
    pub async fn changed(&mut self) {
        let deadline = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // Left unseen, for `check` to see.
        let mut changes = self.changes.clone();
        tokio::select! {
            () = deadline => {}
            _ = changes.changed() => {}
        }
    }
}
