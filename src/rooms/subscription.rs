//! A member's place among the rooms.

use std::sync::Arc;

use crate::{
    domain::Audience,
    rooms::{Member, MemberId, Shard},
};

/// What a member wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// What is for this audience.
    In(Audience),
    /// Everything, whoever it is for. Who hears everything joins no audience besides.
    Everything,
}

/// What one member listens to. Dropping it leaves everything, whatever way the session ended.
#[derive(Debug)]
pub struct Subscription {
    id: MemberId,
    shard: Arc<Shard>,
    member: Arc<dyn Member>,
    interests: Vec<Interest>,
}

impl Subscription {
    pub(super) fn new(id: MemberId, shard: Arc<Shard>, member: Arc<dyn Member>) -> Self {
        shard.subscribe();
        Self { id, shard, member, interests: Vec::new() }
    }

    /// Listens to `interest` from now on.
    pub fn join(&mut self, interest: Interest) {
        self.shard.join(&interest, self.id, Arc::clone(&self.member));
        self.interests.push(interest);
    }

    /// Listens to `interest` no longer.
    pub fn leave(&mut self, interest: &Interest) {
        self.shard.leave(interest, self.id);
        self.interests.retain(|joined| joined != interest);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for interest in &self.interests {
            self.shard.leave(interest, self.id);
        }
        self.shard.unsubscribe();
    }
}
