//! A part of the members, with the channels they listen to.

use std::sync::Arc;

use foldhash::HashMap;
use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::{
    domain::{Audience, Committed, Delivery},
    rooms::{Member, MemberId, subscription::Interest},
};

type Members = IndexMap<MemberId, Arc<dyn Member>>;

/// The members of one shard. Its lock is held for one delivery at a time and never over a write to a socket.
#[derive(Debug, Default)]
pub struct Shard(Mutex<Channels>);

#[derive(Debug, Default)]
struct Channels {
    /// Those who hear what is for everyone.
    everyone: Members,
    /// Those who hear everything, whoever it is for.
    everything: Members,
    by_audience: HashMap<Audience, Members>,
}

impl Shard {
    /// Offers `batch` to the members it is for, in order, and adds those that now need a flush to `due`.
    pub fn offer(&self, batch: &[Delivery], due: &mut Vec<Arc<dyn Member>>) {
        for delivery in batch {
            self.0.lock().offer(delivery, due);
        }
    }

    pub(super) fn join(&self, interest: &Interest, id: MemberId, member: Arc<dyn Member>) {
        let mut channels = self.0.lock();
        let members = match interest {
            Interest::Everything => &mut channels.everything,
            Interest::In(Audience::Everyone) => &mut channels.everyone,
            Interest::In(audience) => channels.by_audience.entry(audience.clone()).or_default(),
        };
        members.insert(id, member);
    }

    pub(super) fn leave(&self, interest: &Interest, id: MemberId) {
        let mut channels = self.0.lock();
        match interest {
            Interest::Everything => drop(channels.everything.swap_remove(&id)),
            Interest::In(Audience::Everyone) => drop(channels.everyone.swap_remove(&id)),
            Interest::In(audience) => {
                let Some(members) = channels.by_audience.get_mut(audience) else { return };
                members.swap_remove(&id);
                if members.is_empty() {
                    channels.by_audience.remove(audience);
                }
            }
        }
    }

    pub(super) fn len(&self, audience: &Audience) -> usize {
        self.0.lock().members(audience).map_or(0, IndexMap::len)
    }

    /// Visits the members of `audience` and, with `everything`, those who hear everything. A member may come twice.
    pub(super) fn visit(&self, audience: &Audience, visit: &mut dyn FnMut(MemberId, &dyn Member)) {
        let channels = self.0.lock();
        channels.members(audience).into_iter().flatten().for_each(|(id, member)| visit(*id, &**member));
    }

    pub(super) fn visit_everything(&self, visit: &mut dyn FnMut(MemberId, &dyn Member)) {
        self.0.lock().everything.iter().for_each(|(id, member)| visit(*id, &**member));
    }

    pub(super) fn everything_len(&self) -> usize {
        self.0.lock().everything.len()
    }

    pub(super) fn visit_audiences(&self, visit: &mut dyn FnMut(&Audience, usize)) {
        self.0.lock().by_audience.iter().for_each(|(audience, members)| visit(audience, members.len()));
    }
}

impl Channels {
    fn members(&self, audience: &Audience) -> Option<&Members> {
        match audience {
            Audience::Everyone => Some(&self.everyone),
            Audience::User(_) | Audience::Room(_) => self.by_audience.get(audience),
        }
    }

    fn offer(&self, delivery: &Delivery, due: &mut Vec<Arc<dyn Member>>) {
        match delivery {
            Delivery::Notification(Committed { notification, .. }) => {
                for audience in notification.audiences.as_slice() {
                    self.members(audience).into_iter().for_each(|members| offer_to(members, delivery, due));
                }
                offer_to(&self.everything, delivery, due);
            }
            Delivery::Ephemeral(ephemeral) => self.offer_ephemeral(ephemeral.audiences.as_slice(), delivery, due),
        }
    }

    /// What has no `seq` cannot be recognised when it is offered a second time, so nobody is offered it twice.
    fn offer_ephemeral(&self, audiences: &[Audience], delivery: &Delivery, due: &mut Vec<Arc<dyn Member>>) {
        let channels = audiences.iter().filter_map(|audience| self.members(audience));
        match channels.chain([&self.everything]).filter(|members| !members.is_empty()).collect::<Vec<_>>()[..] {
            [] => {}
            [members] => offer_to(members, delivery, due),
            ref several => {
                let members: HashMap<_, _> = several.iter().flat_map(|members| members.iter()).collect();
                members.into_values().for_each(|member| offer_one(member, delivery, due));
            }
        }
    }
}

fn offer_to(members: &Members, delivery: &Delivery, due: &mut Vec<Arc<dyn Member>>) {
    members.values().for_each(|member| offer_one(member, delivery, due));
}

fn offer_one(member: &Arc<dyn Member>, delivery: &Delivery, due: &mut Vec<Arc<dyn Member>>) {
    if member.offer(delivery) {
        due.push(Arc::clone(member));
    }
}
