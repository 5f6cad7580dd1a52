//! Who is listening to what on this node.
//!
//! A room is a broadcast channel: whatever is written to it reaches every member. So is a user, and so is everyone; all
//! three are [`Audience`](crate::domain::Audience)s here. A channel exists while it has a member. Members are spread over
//! shards, each with a fan-out of its own, and a member enqueues what is for it without waiting (it is told of every
//! notification in order and keeps track of what it could not take), so that no member can hold up another.
//!
//! [`split`] gives the two sides: the fan-out writes, sessions join.

mod member;
mod registry;
mod shard;
mod subscription;
#[cfg(test)]
mod tests;

pub use member::{Member, MemberId};
pub use registry::{Reader, Writer, split};
pub use shard::Shard;
pub use subscription::{Membership, Subscription};
