//! A shard holds a part of the members, by the audiences that they listen to.

use std::{
    collections::{BTreeSet, hash_map::Entry},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::{HashMap, HashSet};
use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::{
    domain::{Audience, Break, Delivery, Interest, Publication, RoomId},
    rooms::{Member, MemberId},
};

type Members = IndexMap<MemberId, Arc<dyn Member>>;

/// How many members or rooms are looked at while the lock of a shard is held, by whoever looks at all of them.
pub(super) const LOOKS_PER_YIELD: usize = 256;

/// The members of one shard. Its lock is held for one delivery at a time, and over a write to a socket, which waits for nothing, only
/// where something would else be dropped.
#[derive(Debug, Default)]
pub struct Shard {
    channels: Mutex<Channels>,
    /// How many members have a subscription here.
    subscribed: AtomicUsize,
}

#[derive(Debug, Default)]
struct Channels {
    /// Those who hear what is for everyone.
    everyone: Members,
    /// Those who hear everything, whoever it is for.
    everything: Members,
    by_audience: HashMap<Audience, Members>,
    /// The rooms among the audiences, by name.
    rooms: BTreeSet<RoomId>,
}

impl Shard {
    /// Enqueues `batch` with the members it is for, in order, and adds those that now need a flush to `to_flush`.
    pub fn enqueue(&self, batch: &[Delivery], to_flush: &mut Vec<Arc<dyn Member>>) {
        for delivery in batch {
            self.channels.lock().enqueue(delivery, to_flush);
        }
    }

    /// Counts a subscription that begins.
    pub(super) fn subscribe(&self) {
        self.subscribed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a subscription that ends.
    pub(super) fn unsubscribe(&self) {
        self.subscribed.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn join(&self, interest: &Interest, id: MemberId, member: Arc<dyn Member>) {
        let mut channels = self.channels.lock();
        let members = match interest {
            Interest::Everything => &mut channels.everything,
            Interest::In(Audience::Everyone) => &mut channels.everyone,
            Interest::In(audience) => channels.open(audience),
        };
        members.insert(id, member);
    }

    pub(super) fn leave(&self, interest: &Interest, id: MemberId) {
        let mut channels = self.channels.lock();
        match interest {
            Interest::Everything => drop(channels.everything.swap_remove(&id)),
            Interest::In(Audience::Everyone) => drop(channels.everyone.swap_remove(&id)),
            Interest::In(audience) => {
                let Some(members) = channels.by_audience.get_mut(audience) else { return };
                members.swap_remove(&id);
                if members.is_empty() {
                    channels.close(audience);
                }
            }
        }
    }

    pub(super) fn len(&self, audience: &Audience) -> usize {
        self.channels.lock().members(audience).map_or(0, IndexMap::len)
    }

    /// How many members a notification for `audiences` is for, those who hear everything among them. With several audiences,
    /// each member counts once as far as `looks` reach, which this uses up: one for each member of all audiences but the
    /// largest, from the smallest on. Behind that it may count more than there are, but never more than have a subscription.
    pub(super) fn count(&self, audiences: &[Audience], looks: &mut usize) -> usize {
        let channels = self.channels.lock();
        let everything = channels.everything.len();
        let others = self.subscribed.load(Ordering::Relaxed).saturating_sub(everything);
        everything
            + match audiences {
                [] => 0,
                // Everyone comes first, and nobody hears more.
                [audience @ Audience::Everyone, ..] | [audience] => channels.members(audience).map_or(0, IndexMap::len),
                several => channels.count(several, looks).min(others),
            }
    }

    /// Visits the members of `interest` before the place `until`, but no more than [`LOOKS_PER_YIELD`]: those at the end. Gives
    /// the place before which the others are, if there are any. Whoever goes on from there misses nobody who stays: the place
    /// of one that leaves is taken by one from behind it.
    pub(super) fn visit_some(
        &self,
        interest: &Interest,
        until: usize,
        visit: &mut dyn FnMut(MemberId, &dyn Member),
    ) -> Option<usize> {
        let channels = self.channels.lock();
        let members = match interest {
            Interest::Everything => &channels.everything,
            Interest::In(audience) => channels.members(audience)?,
        };
        let until = until.min(members.len());
        let from = until.saturating_sub(LOOKS_PER_YIELD);
        members.get_range(from..until)?.iter().for_each(|(id, member)| visit(*id, &**member));
        (from > 0).then_some(from)
    }

    /// The first [`LOOKS_PER_YIELD`] rooms behind `after`, by name, with how many members they have; fewer when there are no more.
    pub(super) fn some_rooms(&self, after: Option<&RoomId>) -> Vec<(RoomId, usize)> {
        let channels = self.channels.lock();
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rooms = channels.rooms.range((begin, Bound::Unbounded)).take(LOOKS_PER_YIELD);
        let members = |room: &RoomId| channels.members(&Audience::Room(room.clone())).map_or(0, IndexMap::len);
        rooms.map(|room| (room.clone(), members(room))).collect()
    }
}

impl Channels {
    fn members(&self, audience: &Audience) -> Option<&Members> {
        match audience {
            Audience::Everyone => Some(&self.everyone),
            Audience::User(_) | Audience::Room(_) => self.by_audience.get(audience),
        }
    }

    /// The channel of `audience`, which is made if nobody listened until now.
    fn open(&mut self, audience: &Audience) -> &mut Members {
        match self.by_audience.entry(audience.clone()) {
            Entry::Occupied(members) => members.into_mut(),
            Entry::Vacant(place) => {
                if let Audience::Room(room) = audience {
                    self.rooms.insert(room.clone());
                }
                place.insert(Members::default())
            }
        }
    }

    /// Removes the channel of `audience`.
    fn close(&mut self, audience: &Audience) {
        self.by_audience.remove(audience);
        if let Audience::Room(room) = audience {
            self.rooms.remove(room);
        }
    }

    /// The channels of `audiences` without the largest of them, the smallest first; and that one.
    fn smaller_and_largest(&self, audiences: &[Audience]) -> Option<(Vec<&Members>, &Members)> {
        let mut channels: Vec<_> = audiences.iter().filter_map(|audience| self.members(audience)).collect();
        channels.sort_by_key(|members| members.len());
        let largest = channels.pop()?;
        Some((channels, largest))
    }

    fn count(&self, audiences: &[Audience], looks: &mut usize) -> usize {
        let Some((smaller, largest)) = self.smaller_and_largest(audiences) else { return 0 };
        let mut seen = HashSet::default();
        let further = smaller.into_iter().map(|members| match looks.checked_sub(members.len()) {
            Some(left) => {
                *looks = left;
                members.keys().filter(|id| !largest.contains_key(*id) && seen.insert(**id)).count()
            }
            None => members.len(),
        });
        largest.len() + further.sum::<usize>()
    }

    fn enqueue(&self, delivery: &Delivery, to_flush: &mut Vec<Arc<dyn Member>>) {
        match delivery {
            Delivery::Notification(Publication { notification, .. }) => {
                for audience in notification.audiences.as_slice() {
                    self.members(audience).into_iter().for_each(|members| enqueue_for(members, delivery, to_flush));
                }
                enqueue_for(&self.everything, delivery, to_flush);
            }
            Delivery::Ephemeral(ephemeral) => {
                self.enqueue_ephemeral(ephemeral.audiences.as_slice(), delivery, to_flush)
            }
            Delivery::Break(interruption) => self.interrupt(interruption, to_flush),
        }
    }

    /// Whoever listens to anything is interrupted once. Nearly all of them hear what is for everyone.
    #[cold]
    fn interrupt(&self, interruption: &Break, to_flush: &mut Vec<Arc<dyn Member>>) {
        let mut others: HashMap<MemberId, &Arc<dyn Member>> = HashMap::default();
        for (id, member) in self.by_audience.values().flatten().filter(|(id, _)| !self.everyone.contains_key(*id)) {
            others.insert(*id, member);
        }
        let all = self.everyone.values().chain(self.everything.values()).chain(others.into_values());
        to_flush.extend(all.filter(|member| member.interrupt(interruption)).cloned());
    }

    /// What has no `seq` cannot be recognised when it comes a second time, so nobody gets it twice. Nobody is in
    /// `everything` and in another channel.
    fn enqueue_ephemeral(&self, audiences: &[Audience], delivery: &Delivery, to_flush: &mut Vec<Arc<dyn Member>>) {
        if let Some((smaller, largest)) = self.smaller_and_largest(audiences) {
            enqueue_for(largest, delivery, to_flush);
            let mut seen = HashSet::default();
            for (id, member) in smaller.into_iter().flatten() {
                if !largest.contains_key(id) && seen.insert(*id) {
                    enqueue_for_one(member, delivery, to_flush);
                }
            }
        }
        enqueue_for(&self.everything, delivery, to_flush);
    }
}

fn enqueue_for(members: &Members, delivery: &Delivery, to_flush: &mut Vec<Arc<dyn Member>>) {
    members.values().for_each(|member| enqueue_for_one(member, delivery, to_flush));
}

fn enqueue_for_one(member: &Arc<dyn Member>, delivery: &Delivery, to_flush: &mut Vec<Arc<dyn Member>>) {
    if member.enqueue(delivery) {
        to_flush.push(Arc::clone(member));
    }
}
