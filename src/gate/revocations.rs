//! Which tokens are no longer believed, although they are valid, and until when the others are.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};

use crate::{
    clock::Clock,
    domain::UserId,
    gate::{Identity, SubscribeScope, TokenError},
};

/// How many users, and how many tokens, are remembered. The oldest are forgotten first; by then their tokens should have
/// expired.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// How long nobody looks whether a token is over. The time of day may be put forward, and a sleep does not notice.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What was revoked on this node since it started.
#[derive(Debug, Clone)]
pub struct Revocations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    revoked: Mutex<Revoked>,
    /// Changes with each revocation.
    changes: watch::Sender<()>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Revoked {
    /// When the tokens of a user were revoked, by the monotonic clock: the time of day may have been wrong just then, and what it
    /// was follows from what it is now.
    users: LruCache<UserId, Duration>,
    /// The ids of single tokens.
    tokens: LruCache<Box<str>, ()>,
}

impl Revocations {
    /// Makes a list in which nothing is revoked yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let revoked = Revoked { users: LruCache::new(REMEMBERED), tokens: LruCache::new(REMEMBERED) };
        Self(Arc::new(Inner { revoked: Mutex::new(revoked), changes: watch::Sender::new(()), clock }))
    }

    /// Believes no token of `user` any more that was issued until now.
    pub fn revoke_user(&self, user: UserId) {
        self.0.revoked.lock().users.put(user, self.0.clock.monotonic());
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
        let user_revoked =
            user.is_some_and(|at| identity.issued_at.is_none_or(|issued| issued <= self.time_of_day(*at)));
        user_revoked || identity.token_id.as_ref().is_some_and(|id| revoked.tokens.contains(id))
    }

    /// Whether the token was revoked behind which something goes on since `began`. Then it was issued before that, whatever the
    /// time of day says.
    fn has_ended(&self, identity: &Identity, began: Duration) -> bool {
        let at = identity.user().and_then(|user| self.0.revoked.lock().users.peek(user).copied());
        at.is_some_and(|at| began < at) || self.has(identity)
    }

    /// Watches over what goes on under `permit`.
    pub fn watch(&self, permit: SubscribeScope) -> Watch {
        let expires_at = permit.identity().and_then(|identity| identity.expires_at);
        let mut changes = self.0.changes.subscribe();
        // Something may have been revoked since the token was checked.
        changes.mark_changed();
        let began = self.0.clock.monotonic();
        Watch { permit, expires_at, began, changes, revocations: self.clone() }
    }

    /// The time, in seconds since 1970.
    fn now(&self) -> i64 {
        self.0.clock.wall().timestamp()
    }

    /// What the clock would have shown at `at`, had it been as right as it is now, in seconds since 1970. The order of the two
    /// looks errs towards the later.
    fn time_of_day(&self, at: Duration) -> i64 {
        let ago = self.0.clock.monotonic().saturating_sub(at);
        (self.0.clock.wall() - ago).timestamp()
    }
}

/// Tells when a token is no longer good.
#[derive(Debug)]
pub struct Watch {
    permit: SubscribeScope,
    /// In seconds since 1970.
    expires_at: Option<i64>,
    /// By the monotonic clock.
    began: Duration,
    changes: watch::Receiver<()>,
    revocations: Revocations,
}

impl Watch {
    /// Whether it still is. Looks closer only after something was revoked.
    pub fn check(&mut self) -> Result<(), TokenError> {
        if self.expires_at.is_some_and(|at| at <= self.revocations.now()) {
            return Err(TokenError::Expired);
        }
        if self.permit.identity().is_some_and(Identity::is_disbelieved) {
            return Err(TokenError::Disbelieved);
        }
        let news = self.changes.has_changed().unwrap_or(false);
        if news {
            self.changes.mark_unchanged();
        }
        let revoked =
            news && self.permit.identity().is_some_and(|identity| self.revocations.has_ended(identity, self.began));
        if revoked { Err(TokenError::Revoked) } else { Ok(()) }
    }

    /// Waits until [`check`](Self::check) may have something else to say.
    pub async fn changed(&mut self) {
        let expiry = async {
            let Some(at) = self.expires_at else { return std::future::pending().await };
            while let left = at.saturating_sub(self.revocations.now())
                && left > 0
            {
                sleep(Duration::from_secs(left.unsigned_abs()).min(LOOK_AGAIN)).await;
            }
        };
        // Left unseen, for `check` to see.
        let mut changes = self.changes.clone();
        tokio::select! {
            () = expiry => {}
            _ = changes.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use tokio::time::Instant;

    use super::*;
    use crate::{
        clock::Manual,
        domain::KeyOwner,
        gate::{Credential, Patterns},
    };

    fn watch(clock: &Arc<Manual>, expires_at: i64) -> Watch {
        let identity = Identity {
            key_owner: KeyOwner::NOBODY,
            credential: Credential::Jwt(None),
            grant: None,
            rooms: Patterns::all(),
            expires_at: Some(expires_at),
            certificate: None,
            issued_at: None,
            token_id: None,
        };
        Revocations::new(Arc::clone(clock) as _).watch(SubscribeScope::of(Arc::new(identity)))
    }

    // the sleep of a watch is not what decides, nor how long it may go on
    #[tokio::test(start_paused = true)]
    async fn a_token_ends_by_the_time_of_day_however_that_is_put() {
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let mut watch = watch(&clock, 3_600);
        assert_eq!(watch.check(), Ok(()));
        let began = Instant::now();
        let (ahead, ()) = tokio::join!(
            async {
                watch.changed().await;
                watch.check()
            },
            async { clock.step(TimeDelta::hours(1)) },
        );
        assert_eq!(ahead, Err(TokenError::Expired));
        assert!(began.elapsed() <= LOOK_AGAIN);
        clock.step(TimeDelta::seconds(-1));
        assert_eq!(watch.check(), Ok(()), "the clock was wrong before");
        clock.advance(Duration::from_secs(1));
        assert_eq!(watch.check(), Err(TokenError::Expired));
    }
}
