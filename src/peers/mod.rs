//! The other nodes that serve the same journal, as far as this one must know of them.
//!
//! Each node counts its own; what is asked here is what the others have besides.

use std::fmt::Debug;

use crate::domain::RoomId;

/// What is known of the other nodes. Asking waits for nobody: what is answered may be some seconds old.
pub trait Peers: Debug + Send + Sync {
    /// How many members `room` has on the other nodes.
    fn members(&self, room: &RoomId) -> usize;
}

/// There are no other nodes: the engine of the journal is embedded.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Peers for Alone {
    fn members(&self, _: &RoomId) -> usize {
        0
    }
}
