//! A subscriber's session without what carries it: who is connected, what a client's messages do, and which dial came first.

pub(super) mod attempt;
pub(super) mod machine;
pub(super) mod registry;
mod walk;

pub use registry::{ClientInfo, Clients};
pub use walk::Walk;
