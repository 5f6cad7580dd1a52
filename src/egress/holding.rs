//! What a gRPC subscription holds: its connection permit and, once it is over, what its client has not taken.

use parking_lot::Mutex;

use crate::gate::{Charge, ConnectionPermit, Transit};

/// What a stream holds at the least from when it is ended until its client has taken that.
const END_BYTES: usize = 4 * 1024;

/// What a subscription holds besides what it hears.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) permit: ConnectionPermit,
    /// What its client has not taken is counted by this when it is over.
    pub(super) charge: Charge,
    pub(super) transit: Option<Transit>,
}

/// What is held now.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// While the subscription goes on.
    holding: Mutex<Option<Holding>>,
    /// When it is over, for what its client has not taken.
    unread: Mutex<Option<Unread>>,
}

/// What is held when a subscription is over and its client has not taken all: a share of the bytes that may be unread; or where
/// those are too many, the place.
#[derive(Debug)]
enum Unread {
    Counted(#[expect(dead_code, reason = "it is held until the bytes are gone")] Charge),
    InItsPlace(#[expect(dead_code, reason = "it is held until the bytes are gone")] ConnectionPermit),
}

impl Holding {
    /// Gives the place back, unless at least so many bytes are unread and may not be.
    fn settle(mut self, at_least: usize) -> Option<Unread> {
        let bytes = self.transit.as_ref().map_or(0, |transit| transit.bytes().max(at_least));
        if bytes == 0 {
            return None;
        }
        let counted = self.charge.set(bytes);
        Some(counted.map_or_else(|_| Unread::InItsPlace(self.permit), |()| Unread::Counted(self.charge)))
    }
}

impl Holds {
    /// Holds this until the subscription is over.
    pub(super) fn take(&self, holding: Holding) {
        *self.holding.lock() = Some(holding);
    }

    /// The subscription is over: gives everything back but what counts what is unread. Where the stream `has_yet_to_say` why it
    /// ended, that is unread, too.
    pub(super) fn settle(&self, has_yet_to_say: bool) {
        let Some(holding) = self.holding.lock().take() else { return };
        *self.unread.lock() = holding.settle(if has_yet_to_say { END_BYTES } else { 0 });
    }

    /// Notes that nothing is unread any more.
    pub(super) fn taken_all(&self) {
        let unread = self.unread.lock().take();
        drop(unread);
    }
}
