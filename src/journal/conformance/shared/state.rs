//! What the store in memory holds, for all nodes.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use chrono::DateTime;

use crate::{
    domain::{Audience, Audiences, Durability, Epoch, Fingerprint, IdempotencyKey, Interest, Notification, Seq},
    journal::{Answer, Bounds, CommitFanout, Entry, Outcome, Stored},
};

/// What the store holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) epoch: Epoch,
    pub(super) newest: Seq,
    pub(super) kept: Vec<Arc<Notification>>,
    pub(super) lost: Vec<RangeInclusive<Seq>>,
    pub(super) keys: HashMap<IdempotencyKey, (Fingerprint, Stored)>,
    /// The last append of each node, by its number, and what was answered.
    pub(super) answers: HashMap<usize, (u64, Answer)>,
    pub(super) nodes: Vec<NodeState>,
    pub(super) loses_answer: bool,
}

#[derive(Debug, Default)]
pub(super) struct NodeState {
    pub(super) fanout: Arc<CommitFanout>,
    /// By the number of the subscriber.
    pub(super) attended: Vec<(u64, Interest)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            epoch: Epoch::from_random(rand::random()),
            newest: 0,
            kept: Vec::new(),
            lost: Vec::new(),
            keys: HashMap::new(),
            answers: HashMap::new(),
            nodes: Vec::new(),
            loses_answer: false,
        }
    }
}

impl NodeState {
    pub(super) fn attends_to(&self, audiences: &Audiences) -> bool {
        let is_for =
            |audience: &Audience| self.attended.iter().any(|(_, wanted)| *wanted == Interest::In(audience.clone()));
        self.attended.iter().any(|(_, wanted)| *wanted == Interest::Everything)
            || audiences.as_slice().iter().any(is_for)
    }
}

impl State {
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { oldest: 1, newest: self.newest, appended: self.kept.len() as u64 }
    }

    pub(super) fn append(&mut self, entry: Entry) -> Outcome {
        if let Some((key, content)) = &entry.key
            && let Some((known, stored)) = self.keys.get(key)
        {
            return if known == content { Outcome::Duplicate(*stored) } else { Outcome::Conflict };
        }
        self.newest += 1;
        let stored = Stored { seq: self.newest, durability: Some(Durability::Process), at: DateTime::UNIX_EPOCH };
        if let Some((key, content)) = entry.key {
            self.keys.insert(key, (content, stored));
        }
        let notification =
            Notification::new(self.epoch.clone(), self.newest, entry.event, entry.audiences, entry.expires_at);
        self.kept.push(Arc::new(notification));
        Outcome::Appended(stored)
    }

    /// What each node gets of what lies after `after`.
    pub(super) fn feeds(&self, after: Seq) -> Vec<(Arc<CommitFanout>, Vec<Arc<Notification>>)> {
        let fresh = || self.kept.iter().filter(|kept| kept.seq > after);
        let of = |node: &NodeState| fresh().filter(|kept| node.attends_to(&kept.audiences)).cloned().collect();
        self.nodes.iter().map(|node| (Arc::clone(&node.fanout), of(node))).collect()
    }
}
