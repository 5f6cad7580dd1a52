//! What a journal promises: its traits, and what goes in and comes out.

use std::{fmt::Debug, ops::RangeInclusive, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    domain::{
        Audience, Audiences, Durability, Ephemeral, Epoch, Event, Fingerprint, IdempotencyKey, Notification, Seq,
    },
    journal::{Attend, CommitStream, Error},
    worker::Worker,
};

/// A routed event on its way into the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// Who it is for.
    pub audiences: Audiences,
    /// Under which key it may be sent again, and the digest of what its publisher said.
    pub key: Option<(IdempotencyKey, Fingerprint)>,
    /// When it stops being of use: from then on it is not read any more.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it must survive, if that is less than the engine can do. An engine may do more.
    pub durability: Durability,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept, and will be delivered.
    Appended(Stored),
    /// Its key was seen before, with the same content: this is what became of the first one, and nothing is delivered.
    Duplicate(Stored),
    /// Its key was seen before, with another content: nothing is kept.
    Conflict,
}

/// What an entry became, as its publisher is told; the same for a retry as for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its position.
    pub seq: Seq,
    /// What it survives; `None` for a retry of what an older version kept, which did not write that down.
    pub durability: Option<Durability>,
    /// When it was appended, to the millisecond.
    pub at: DateTime<Utc>,
}

/// What became of the entries that were appended together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The epoch that the positions in the outcomes belong to.
    pub epoch: Epoch,
    /// One outcome for each entry, in their order.
    pub outcomes: Vec<Outcome>,
}

/// Which incarnation of a journal this is.
pub trait Incarnation: Debug + Send + Sync {
    /// The epoch that positions belong to which are given now. It may change while the journal is open, if the store that holds it
    /// lost its data; every commit stream then breaks with [`Break::Anew`](crate::domain::Break::Anew). What must agree with it takes both
    /// from one answer, and does not ask here.
    fn epoch(&self) -> Epoch;
}

/// Writing. The broker holds this.
#[async_trait]
pub trait Append: Incarnation {
    /// Appends the entries in their order, as one atomic act, and answers one outcome for each.
    ///
    /// When this returns, the appended entries are as durable as the engine makes them, have consecutive positions, can
    /// be read, and are on their way to every [`CommitStream`] that is to have them, in order. A key that comes twice, in this batch
    /// or an earlier one, is a duplicate or a conflict. On an error nothing of the batch was kept, but for
    /// [`Error::Unknown`]: then it may have been, and the same keys make a retry safe. An embedded engine waits while a commit stream
    /// is full: that is how a slow fan-out slows publishers down. Calls that overlap are serialised, in the order in which
    /// they were first polled.
    async fn append(&self, entries: Vec<Entry>) -> Result<Answer, Error>;
}

/// Passing on what nobody keeps. Sessions hold this: with it they can chat, but not publish.
#[async_trait]
pub trait Relay: Debug + Send + Sync {
    /// Hands a frame to the commit streams of every node that attends to its audiences. Frames of one caller keep their order. An embedded
    /// engine waits while a commit stream is full. Fails where it cannot be said that the others get it: whoever sent it is to be told.
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error>;
}

/// Following what is committed. The fan-out holds this.
pub trait Follow: Debug + Send + Sync {
    /// A commit stream that gets what is appended from now on, once and in order, and what is relayed, as far as this node
    /// [attends](Attend::attend) to it. An embedded engine has one node, which attends to everything. What does not come by a commit stream
    /// is told there as a [`Break`](crate::domain::Break), before anything that lies behind it.
    fn commit_stream(&self) -> CommitStream;

    /// Lets every commit stream end behind what was committed. What is appended or relayed later reaches no commit stream.
    fn end_commit_streams(&self);
}

/// Reading back. Subscribers hold this.
#[async_trait]
pub trait Read: Incarnation {
    /// What the journal holds right now. A notification is counted in before any commit stream gets it.
    fn bounds(&self) -> Bounds;

    /// Reads a page. Only committed notifications are seen, each once, in the order asked for; expired ones are passed
    /// over.
    async fn read(&self, query: Query) -> Result<Page, Error>;

    /// How many notifications for `audiences` lie after `after` and not after `until`, expired ones left out.
    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error>;

    /// How long the one lived that lived shortest, of the idempotency keys that went in the last hour before their window was
    /// over; `None` where none did.
    fn shortest_key_life(&self) -> Option<Duration> {
        None
    }

    /// Whether the journal can do its work; when it cannot, it becomes well by itself once the cause is gone.
    fn condition(&self) -> Condition {
        Condition::Ok
    }
}

/// Whether a journal serves as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It takes what is appended.
    Ok,
    /// Appends fail, for this reason; what is kept can still be read.
    Degraded(Arc<str>),
}

/// All of a journal. Only the composition root sees it whole.
#[async_trait]
pub trait Journal: Append + Relay + Follow + Read + Attend {
    /// What lives as long as the journal is open, and ends when it is closed.
    fn workers(&self) -> Vec<Worker>;

    /// Finishes what waits, and gives back whatever the journal holds. What is appended later is refused. What was
    /// acknowledged is safe although nobody waits for this; a second call finds nothing left to do.
    async fn close(&self) -> Result<(), Error>;
}

/// The positions that a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest notification that is kept; one more than `newest` when there is none.
    pub oldest: Seq,
    /// The newest notification; 0 when nothing was appended yet.
    pub newest: Seq,
    /// How many notifications were ever appended. Where positions were passed over that is fewer than `newest`.
    pub appended: u64,
}

impl Bounds {
    /// Makes the bounds of a journal that gives each `seq` after the one before and leaves none out.
    pub const fn of_consecutive(oldest: Seq, newest: Seq) -> Self {
        Self { oldest, newest, appended: newest }
    }
}

/// Says what to read of the journal.
#[derive(Debug, Clone)]
pub struct Query {
    /// Only what is for one of these; `None` for everything.
    pub audiences: Option<Vec<Audience>>,
    /// Only what lies after this position.
    pub after: Seq,
    /// Only what lies before this position; `None` up to the newest.
    pub before: Option<Seq>,
    /// Only what was appended at this time or later, to the millisecond.
    pub since: Option<DateTime<Utc>>,
    /// How many at the most.
    pub limit: usize,
    /// About how many bytes at the most; one notification is returned even if it alone is larger.
    pub max_bytes: usize,
    /// Newest first.
    pub newest_first: bool,
}

/// The part of the journal that answers a query.
#[derive(Debug, Clone)]
pub struct Page {
    /// The notifications, in the order asked for.
    pub notifications: Vec<Arc<Notification>>,
    /// There is more of what was asked for behind the last one.
    pub more: bool,
    /// What the journal held when the page was read. What lies before `bounds.oldest` is gone.
    pub bounds: Bounds,
    /// What of the part that the page covers cannot be read, or is known to be missing: it may have been asked for. In the
    /// order of the positions, whatever order was asked for, and none of them touching another. A page covers what lies between
    /// where it was to begin and its last notification or, when there is no more behind that, where it was to end.
    pub lost: Vec<RangeInclusive<Seq>>,
}
