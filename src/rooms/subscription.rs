//! A subscription is what a member listens to; it ends when it is dropped.

use std::sync::Arc;

use crate::{
    domain::Interest,
    rooms::{Member, MemberId, Shard},
};

/// A member's right to join audiences and to leave them. It keeps no list of them: whoever holds it knows what the member
/// listens to, and leaves all of that before it lets go of the membership.
#[derive(Debug)]
pub struct Membership {
    id: MemberId,
    shard: Arc<Shard>,
    member: Arc<dyn Member>,
}

impl Membership {
    pub(super) fn new(id: MemberId, shard: Arc<Shard>, member: Arc<dyn Member>) -> Self {
        shard.subscribe();
        Self { id, shard, member }
    }

    /// Listens to `interest` from now on.
    pub fn join(&self, interest: &Interest) {
        self.shard.join(interest, self.id, Arc::clone(&self.member));
    }

    /// Listens to `interest` no longer, if it did.
    pub fn leave(&self, interest: &Interest) {
        self.shard.leave(interest, self.id);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shard.unsubscribe();
    }
}

/// What one member listens to. Dropping it leaves everything, whatever way the session ended.
#[derive(Debug)]
pub struct Subscription {
    membership: Membership,
    interests: Vec<Interest>,
}

impl Subscription {
    pub(super) fn new(membership: Membership) -> Self {
        Self { membership, interests: Vec::new() }
    }

    /// Listens to `interest` from now on.
    pub fn join(&mut self, interest: Interest) {
        self.membership.join(&interest);
        self.interests.push(interest);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.interests.iter().for_each(|interest| self.membership.leave(interest));
    }
}
