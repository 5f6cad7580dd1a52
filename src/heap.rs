//! Memory that goes back to the system behind a burst.
//!
//! The allocator keeps what a thread allocated for that thread, also when another one has freed it, until the thread allocates
//! again. So a thread that may wait for long gives back what it has before it does.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// How often a thread gives back what it has, at the most.
const BETWEEN: Duration = Duration::from_secs(5);

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Gives back what the calling thread does not use any more, unless it did so a moment ago. It is called by a thread that is
/// about to wait.
pub fn give_back() {
    let now = Instant::now();
    LAST.with(|last| {
        let is_due = last.get().is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN);
        if is_due {
            last.set(Some(now));
            allocator::give_back();
        }
    });
}
