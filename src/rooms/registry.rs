//! All shards of the rooms: the broker and the fan-out see them as a `Writer`, sessions as a `Reader`.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::HashSet;
use tokio::task::yield_now;

use crate::{
    domain::{Audience, Audiences, Interest, RoomId},
    rooms::{Member, Membership, Shard, Subscription, shard::LOOKS_PER_YIELD},
};

/// How many members are looked at to count those who are in several audiences once.
const MAX_COUNTED: usize = 1_000;

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

    /// How many members a notification for `audiences` is for. It takes no longer in a large room than in a small one.
    ///
    /// For one audience, or for everyone, that is exact. For several, each member counts once as long as all but the largest of
    /// them have no more than 1,000 members together on this node. With more, a member of several of those that are too
    /// large may count more than once; the sum is never more than have a subscription.
    pub fn receivers(&self, audiences: &Audiences) -> usize {
        let mut looks = MAX_COUNTED;
        self.0.shards.iter().map(|shard| shard.count(audiences.as_slice(), &mut looks)).sum()
    }

    /// How many members a notification for `audiences` is for, each counted once, and the names of the first `limit`. It takes
    /// the longer the more members the audiences have, but holds nobody up: only a few are looked at in a turn.
    pub async fn explain(&self, audiences: &Audiences, limit: usize) -> (usize, Vec<String>) {
        let at_once = audiences.as_slice().len() == 1 || audiences.everyone();
        let interests = audiences.as_slice().iter().cloned().map(Interest::In);
        let interests: Vec<_> = interests.chain([Interest::Everything]).collect();
        let (mut count, mut names) = (0, Vec::new());
        for shard in &self.0.shards {
            // Nobody is in two shards.
            let mut seen = HashSet::default();
            for interest in &interests {
                let mut place = Some(usize::MAX);
                while let Some(until) = place
                    && !(at_once && names.len() >= limit)
                {
                    seen.reserve(LOOKS_PER_YIELD);
                    place = shard.visit_some(interest, until, &mut |id, member| {
                        if seen.insert(id) && names.len() < limit {
                            names.push(member.name().to_owned());
                        }
                    });
                    yield_now().await;
                }
            }
            count += seen.len();
        }
        (if at_once { self.receivers(audiences) } else { count }, names)
    }
}

/// The side that listens. Sessions hold it.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Registry>);

impl Reader {
    /// Gives `member` a subscription, by which it can join audiences. It leaves them all when the subscription is dropped.
    pub fn subscribe(&self, member: Arc<dyn Member>) -> Subscription {
        Subscription::new(self.enrol(member))
    }

    /// The same for a member that knows by itself what it listens to, and leaves that before the membership is dropped.
    pub fn enrol(&self, member: Arc<dyn Member>) -> Membership {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let shard = &self.0.shards[(id % self.0.shards.len() as u64) as usize];
        Membership::new(id, Arc::clone(shard), member)
    }

    /// How many members `room` has.
    pub fn members(&self, room: &RoomId) -> usize {
        self.0.members(&Audience::Room(room.clone()))
    }

    /// The first `limit` rooms that have members, by name, with how many; and whether there are more. `general` is always among
    /// them if it has any. What it looks at is bounded by `limit` for each shard, and is a few rooms in a turn.
    pub async fn rooms(&self, limit: usize) -> (BTreeMap<RoomId, usize>, bool) {
        let mut rooms = BTreeMap::new();
        for shard in &self.0.shards {
            let (mut looked, mut after) = (0, None);
            // One more than wanted: that one says that there are more.
            while looked <= limit {
                let some = shard.some_rooms(after.as_ref());
                looked += some.len();
                let more = some.len() == LOOKS_PER_YIELD;
                after = some.last().map(|(room, _)| room.clone());
                for (room, members) in some {
                    *rooms.entry(room).or_default() += members;
                }
                if !more {
                    break;
                }
                yield_now().await;
            }
            keep_first(&mut rooms, limit + 1);
        }
        let truncated = rooms.len() > limit;
        keep_first(&mut rooms, limit);
        let general = RoomId::general();
        let members = self.members(&general);
        if members > 0 && !rooms.contains_key(&general) {
            keep_first(&mut rooms, limit.saturating_sub(1));
            rooms.insert(general, members);
        }
        (rooms, truncated)
    }
}

impl Registry {
    fn members(&self, audience: &Audience) -> usize {
        self.shards.iter().map(|shard| shard.len(audience)).sum()
    }
}

fn keep_first(rooms: &mut BTreeMap<RoomId, usize>, count: usize) {
    while rooms.len() > count {
        rooms.pop_last();
    }
}
