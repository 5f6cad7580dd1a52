//! What a connection knows of its place.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Inner, Seat};

/// A connection's place. It is given back when this is dropped.
#[derive(Debug)]
pub(in crate::listen) struct Place(pub(super) ConnectionStanding);

impl Place {
    /// Gives what those need who look after the connection.
    pub(in crate::listen) fn standing(&self) -> &ConnectionStanding {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.0.places.taken.lock().leave(self.0.seat.id);
        if left.is_some() {
            self.0.places.freed.notify_one();
        }
    }
}

/// How a connection stands: whether it is quiet, busy or idle. It does not hold the place.
#[derive(Debug, Clone)]
pub(in crate::listen) struct ConnectionStanding {
    pub(super) places: Arc<Inner>,
    pub(super) seat: Arc<Seat>,
}

impl ConnectionStanding {
    /// Begins something for which the connection must not be closed, and says whether it is `known` by that; `None` when it
    /// was closed before.
    pub(in crate::listen) fn begin(&self, known: bool) -> Option<Turn> {
        self.turn(known, true)
    }

    /// Begins something likewise, but at its end the connection does not rest yet. Whoever has sent its client all that is left says so with
    /// [`rest`](Self::rest).
    pub(in crate::listen) fn begin_until_flushed(&self, known: bool) -> Option<Turn> {
        self.turn(known, false)
    }

    fn turn(&self, known: bool, rests: bool) -> Option<Turn> {
        let begun = self.places.taken.lock().begin(self.seat.id, known);
        begun.then(|| Turn { standing: self.clone(), rests })
    }

    /// How many turns there were.
    pub(in crate::listen) fn begun(&self) -> usize {
        self.seat.begun.load(Ordering::Relaxed)
    }

    /// Whether a turn has not ended.
    pub(in crate::listen) fn is_busy(&self) -> bool {
        self.seat.in_hand.load(Ordering::Relaxed) > 0
    }

    /// Whether it ever said something that counts.
    pub(in crate::listen) fn is_known(&self) -> bool {
        self.places.taken.lock().is_known(self.seat.id)
    }

    /// Lets it rest, unless a turn has not ended.
    pub(in crate::listen) fn rest(&self) {
        let yields = self.places.taken.lock().rest(self.seat.id);
        if yields {
            self.places.freed.notify_one();
        }
    }

    /// Lets a newcomer have its place although a turn has not ended: its client does nothing to end it.
    pub(in crate::listen) fn give_way(&self) {
        let yields = self.places.taken.lock().give_way(self.seat.id);
        if yields {
            self.places.freed.notify_one();
        }
    }

    /// Takes that back.
    pub(in crate::listen) fn stay(&self) {
        self.places.taken.lock().stay(self.seat.id);
    }

    /// Waits until there was no turn for `patience`.
    pub(in crate::listen) async fn rested(&self, patience: Duration) {
        loop {
            let since = self.places.taken.lock().resting_since(self.seat.id);
            // A turn that has not ended will rest for all of it.
            let left = since.map_or(patience, |since| patience.saturating_sub(since.elapsed()));
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// What ends the connection when it is cancelled.
    pub(in crate::listen) fn ending(&self) -> CancellationToken {
        self.seat.closed.clone()
    }

    /// Whether the connection is to end at once.
    #[cfg(test)]
    pub(in crate::listen) fn is_closed(&self) -> bool {
        self.seat.closed.is_cancelled()
    }

    /// Waits until somebody else has the connection's place, and it is to end.
    pub(in crate::listen) fn closed(&self) -> WaitForCancellationFutureOwned {
        self.seat.closed.clone().cancelled_owned()
    }
}

/// Something that a connection asked for and that has not ended.
#[derive(Debug)]
pub struct Turn {
    standing: ConnectionStanding,
    /// Whether the connection rests when this is its last.
    rests: bool,
}

impl Turn {
    /// Says that the connection is known from now on.
    pub fn accept(&self) {
        self.standing.places.taken.lock().know(self.standing.seat.id);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let before = self.standing.seat.in_hand.fetch_sub(1, Ordering::Relaxed);
        if before == 1 && self.rests {
            self.standing.rest();
        }
    }
}
