//! The way from the journal to a subscriber, whatever its transport: who is told what, in which order, and from where.
//!
//! A fan-out for each shard of the rooms follows the journal and has each member enqueue what is for it. A member has an `outbox`, which
//! decides what goes out; what does not fit is read from the journal later (`catch_up`), and what cannot be read is told as a gap
//! (`missing`). A member whose transport asks for what comes next is a [`StreamSubscriber`]. Nothing here knows a socket, a
//! protocol or an encoding.

pub(crate) mod catch_up;
mod fan_out;
pub(crate) mod missing;
pub(crate) mod outbox;
mod subscriber;

pub use catch_up::Start;
pub use fan_out::FanOuts;
pub use outbox::Frame;
pub use subscriber::{
    Beginning, Filter, Pulled, StreamEnd, StreamSource, StreamSubscriber, SubscriptionStream, Transport,
};
