//! The end of the connection that a request came by, for whoever finds that nothing less helps.

use tokio_util::sync::CancellationToken;

/// Ends a connection. The listener gives it to each request.
#[derive(Debug, Clone)]
pub struct HangUp(CancellationToken);

impl HangUp {
    /// The connection ends when `closed` is cancelled.
    pub fn new(closed: CancellationToken) -> Self {
        Self(closed)
    }

    /// Ends it at once, with all that is in progress on it.
    pub fn hang_up(&self) {
        self.0.cancel();
    }
}
