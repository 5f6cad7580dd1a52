//! The shards together, seen from the two sides.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    domain::{Audience, Audiences, RoomId},
    rooms::{Member, MemberId, Shard, Subscription},
};

#[derive(Debug)]
struct Registry {
    shards: Box<[Arc<Shard>]>,
    next_id: AtomicU64,
}

/// Makes an empty set of rooms and gives its two sides.
pub fn split(shards: NonZeroUsize) -> (Writer, Reader) {
    let shards = (0..shards.get()).map(|_| Arc::default()).collect();
    let registry = Arc::new(Registry { shards, next_id: AtomicU64::new(0) });
    (Writer(Arc::clone(&registry)), Reader(registry))
}

/// The side that delivers. The broker holds it.
#[derive(Debug, Clone)]
pub struct Writer(Arc<Registry>);

impl Writer {
    /// The shards, each to be fed by one fan-out.
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.0.shards
    }

    /// How many members a notification for `audiences` is for, each counted once.
    pub fn receivers(&self, audiences: &Audiences) -> usize {
        let everything: usize = self.0.shards.iter().map(|shard| shard.everything_len()).sum();
        match audiences.as_slice() {
            // Everyone comes first, and those who hear everything have joined nothing else.
            [Audience::Everyone, ..] => self.0.members(&Audience::Everyone) + everything,
            [audience] => self.0.members(audience) + everything,
            _ => self.distinct(audiences).len(),
        }
    }

    /// The names of the first `limit` members that a notification for `audiences` is for.
    pub fn receiver_names(&self, audiences: &Audiences, limit: usize) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        self.visit(audiences, &mut |id, member| {
            if names.len() < limit && seen.insert(id) {
                names.push(member.name().to_owned());
            }
        });
        names
    }

    fn distinct(&self, audiences: &Audiences) -> HashSet<MemberId> {
        let mut ids = HashSet::new();
        self.visit(audiences, &mut |id, _| {
            ids.insert(id);
        });
        ids
    }

    fn visit(&self, audiences: &Audiences, visit: &mut dyn FnMut(MemberId, &dyn Member)) {
        for shard in &self.0.shards {
            audiences.as_slice().iter().for_each(|audience| shard.visit(audience, visit));
            shard.visit_everything(visit);
        }
    }
}

/// The side that listens. Sessions hold it.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Registry>);

impl Reader {
    /// Gives `member` a place from which it can join audiences. It leaves them all when the subscription is dropped.
    pub fn subscribe(&self, member: Arc<dyn Member>) -> Subscription {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let shard = &self.0.shards[(id % self.0.shards.len() as u64) as usize];
        Subscription::new(id, Arc::clone(shard), member)
    }

    /// How many members `room` has.
    pub fn members(&self, room: &RoomId) -> usize {
        self.0.members(&Audience::Room(room.clone()))
    }

    /// The rooms that have members, with how many.
    pub fn rooms(&self) -> BTreeMap<RoomId, usize> {
        let mut rooms = BTreeMap::new();
        for shard in &self.0.shards {
            shard.visit_audiences(&mut |audience, members| {
                if let Audience::Room(room) = audience {
                    *rooms.entry(room.clone()).or_default() += members;
                }
            });
        }
        rooms
    }
}

impl Registry {
    fn members(&self, audience: &Audience) -> usize {
        self.shards.iter().map(|shard| shard.len(audience)).sum()
    }
}
