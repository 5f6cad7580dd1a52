//! What publishers hand to the broker's task, and what they get back.

use chrono::{DateTime, Utc};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    broker::Error,
    domain::{Draft, Durability, Seq},
};

/// The outcome of one published draft.
pub type Published = Result<Accepted, Error>;

/// Drafts that one publisher submits together.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) drafts: Vec<Draft>,
    pub(super) reply: oneshot::Sender<Vec<Published>>,
    /// The submission's share of the queue's bytes, given back when the journal is done with it.
    pub(super) room: OwnedSemaphorePermit,
}

/// Drafts that are in the queue.
#[derive(Debug)]
pub struct Pending {
    /// Whether each draft is among those that are not kept.
    pub(super) are_passing: Vec<bool>,
    pub(super) passing: Option<oneshot::Receiver<Vec<Published>>>,
    pub(super) kept: Option<oneshot::Receiver<Vec<Published>>>,
    pub(super) until: Instant,
}

impl Pending {
    /// Waits for the outcomes, one for each draft. They are unknown when the journal takes too long, or the broker ended with
    /// the drafts in hand. What is not to be kept does not wait for the journal.
    pub async fn outcomes(self) -> Vec<Published> {
        let Self { are_passing, passing, kept, until } = self;
        let outcomes = async |outcomes: Option<oneshot::Receiver<Vec<Published>>>| match outcomes {
            Some(outcomes) => timeout_at(until, outcomes).await.ok().and_then(Result::ok).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut passing = outcomes(passing).await.into_iter();
        let mut kept = outcomes(kept).await.into_iter();
        let mut next = |is_passing| if is_passing { passing.next() } else { kept.next() };
        are_passing.into_iter().map(|is_passing| next(is_passing).unwrap_or(Err(Error::Unknown))).collect()
    }
}

/// What became of an accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The notification's id.
    pub id: String,
    /// Its place in the journal; 0 for what is not kept.
    pub seq: Seq,
    /// How many connections of this node it was addressed to; 0 for a duplicate.
    pub receivers: usize,
    /// It was there already, under the same key.
    pub duplicate: bool,
    /// What it survives; unknown for a duplicate of what an older version kept.
    pub durability: Option<Durability>,
    /// When it was appended, or relayed; for a duplicate, the first one.
    pub at: DateTime<Utc>,
}
