//! What publishers hand to the broker's task, and what they get back.

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

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
