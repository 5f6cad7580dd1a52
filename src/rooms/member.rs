//! A member is whatever receives the deliveries of rooms: this is what they ask of it.

use std::fmt::Debug;

use crate::domain::{Break, Delivery};

/// A member's number on this node; never used twice.
pub type MemberId = u64;

/// Something that receives what its rooms are told. None of these methods may wait or block: the fan-out of a whole shard runs
/// through them.
pub trait Member: Debug + Send + Sync {
    /// Enqueues a delivery. Notifications come in `seq` order, but one may come more than once, when the member
    /// belongs to several of its audiences. Answers whether a [`flush`](Self::flush) is now due and was not before.
    fn enqueue(&self, delivery: &Delivery) -> bool;

    /// Takes in that something does not come, at its position among the deliveries. Answers as [`enqueue`](Self::enqueue) does.
    fn interrupt(&self, interruption: &Break) -> bool;

    /// Passes on what was taken in. It is called once behind the deliveries of a batch.
    fn flush(&self);

    /// The name under which the member shows up in an explanation.
    fn name(&self) -> &str;
}
