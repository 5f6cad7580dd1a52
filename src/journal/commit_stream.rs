//! The way from the journal to the fan-out: bounded channels that carry what is committed, to every follower.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::domain::Delivery;

/// How many batches may wait for a follower before those who append wait for it.
const CAPACITY: usize = 64;

/// Deliveries that were committed together.
pub type Batch = Arc<[Delivery]>;

/// The followers of a journal. Every engine has one and sends through it, one batch at a time.
#[derive(Debug, Default)]
pub struct CommitFanout(Mutex<Vec<mpsc::Sender<Batch>>>);

impl CommitFanout {
    /// A follower that gets every batch sent from now on.
    pub fn follow(&self) -> CommitStream {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        self.0.lock().push(sender);
        CommitStream(receiver)
    }

    /// Lets every follower end behind what it was sent.
    pub fn end(&self) {
        self.0.lock().clear();
    }

    /// [`send`](Self::send) for a thread that is none of the runtime's.
    pub(super) fn send_blocking(&self, batch: &Batch) {
        let senders = self.0.lock().clone();
        let mut gone = false;
        for sender in senders {
            gone |= sender.blocking_send(Arc::clone(batch)).is_err();
        }
        if gone {
            self.0.lock().retain(|sender| !sender.is_closed());
        }
    }

    /// Hands `batch` to every follower and waits for those that are full. Those that are gone are forgotten.
    pub async fn send(&self, batch: Batch) {
        let senders = self.0.lock().clone();
        let mut gone = false;
        for sender in senders {
            gone |= sender.send(Arc::clone(&batch)).await.is_err();
        }
        if gone {
            self.0.lock().retain(|sender| !sender.is_closed());
        }
    }
}

/// What a journal commits from the moment it is followed: every notification once, in order.
#[derive(Debug)]
pub struct CommitStream(mpsc::Receiver<Batch>);

impl CommitStream {
    /// The next batch; `None` when the journal is gone and everything it committed was taken.
    pub async fn next(&mut self) -> Option<Batch> {
        self.0.recv().await
    }

    /// The next batch if there is one already.
    pub fn try_next(&mut self) -> Option<Batch> {
        self.0.try_recv().ok()
    }
}
