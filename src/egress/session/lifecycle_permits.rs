//! How many sessions may begin or end at the same time.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::yield_now,
};

/// How many sessions may begin or end at the same time. When everybody comes or goes at once, what is delivered meanwhile
/// waits behind these few, and behind what they tell their rooms, and not behind all of them.
pub(in crate::egress) const MAX_CONCURRENT_OPEN_CLOSE: usize = 8;

/// The right to begin or to end a session, for as long as it is held.
pub(in crate::egress) type LifecyclePermit<'a> = SemaphorePermit<'a>;

/// The permits of all sessions, whatever carries them.
#[derive(Debug, Clone)]
pub(in crate::egress) struct LifecyclePermits(Arc<Semaphore>);

impl Default for LifecyclePermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONCURRENT_OPEN_CLOSE)))
    }
}

impl LifecyclePermits {
    /// Waits until a session may begin or end.
    pub(in crate::egress) async fn lifecycle_permit(&self) -> LifecyclePermit<'_> {
        let permit = self.0.acquire().await.expect("nobody closes the semaphore");
        // Whoever gives a permit on would otherwise have the next one run at once, before whatever else is ready.
        yield_now().await;
        permit
    }
}
