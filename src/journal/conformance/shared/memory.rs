//! A store in memory that several nodes share, in the fewest words: what the suite must be passed by, and what it must fail for.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    Store, shared,
    state::{NodeState, State},
    suite,
};
use crate::{
    domain::{Audience, Break, Delivery, Ephemeral, Epoch, Interest, Seq},
    journal::{
        Answer, Append, Attend, Attendance, Attended, Bounds, CommitStream, Entry, Error, Follow, Incarnation, Journal,
        Page, Query, Read, Relay,
    },
    worker::Worker,
};

/// Behind a failover positions go on at the next multiple of this.
const JUMP: Seq = 1 << 20;

#[derive(Debug, Clone, Default)]
struct Commons(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Held over "commit, then hand to the commit streams".
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Commons {
    async fn tell_all(&self, interruption: Break) {
        let nodes: Vec<_> = self.0.state.lock().nodes.iter().map(|node| Arc::clone(&node.fanout)).collect();
        for fanout in nodes {
            fanout.send([Delivery::Break(interruption.clone())].into()).await;
        }
    }
}

#[async_trait]
impl Store for Commons {
    type Handle = Node;

    fn open(&self) -> Arc<Node> {
        let mut state = self.0.state.lock();
        state.nodes.push(NodeState::default());
        let number = state.nodes.len() - 1;
        Arc::new(Node { store: self.clone(), number, appends: AtomicU64::new(0), subscribers: AtomicU64::new(0) })
    }

    fn lose_an_answer(&self) {
        self.0.state.lock().loses_answer = true;
    }

    async fn fail_over(&self, lost: usize) {
        let _turn = self.0.one_at_a_time.lock().await;
        let range = {
            let state = &mut *self.0.state.lock();
            let kept = state.kept.len() - lost;
            let range = state.kept.get(kept).map_or(state.newest + 1, |first| first.seq)..=state.newest;
            state.kept.truncate(kept);
            state.keys.retain(|_, (_, stored)| !range.contains(&stored.seq));
            state.lost.push(range.clone());
            state.newest = state.newest.next_multiple_of(JUMP);
            range
        };
        self.tell_all(Break::Lost(range)).await;
    }

    async fn wipe(&self) {
        let _turn = self.0.one_at_a_time.lock().await;
        {
            let state = &mut *self.0.state.lock();
            let nodes = mem::take(&mut state.nodes);
            *state = State { nodes, ..State::default() };
        }
        self.tell_all(Break::Anew).await;
    }
}

/// What one node has of it.
#[derive(Debug)]
struct Node {
    store: Commons,
    number: usize,
    appends: AtomicU64,
    subscribers: AtomicU64,
}

impl Incarnation for Node {
    fn epoch(&self) -> Epoch {
        self.store.0.state.lock().epoch.clone()
    }
}

#[async_trait]
impl Append for Node {
    async fn append(&self, entries: Vec<Entry>) -> Result<Answer, Error> {
        let number = self.appends.fetch_add(1, Ordering::Relaxed);
        loop {
            let _turn = self.store.0.one_at_a_time.lock().await;
            let (answer, feeds, is_lost) = {
                let state = &mut *self.store.0.state.lock();
                let before = state.newest;
                let known = state.answers.get(&self.number).filter(|(known, _)| *known == number);
                let answer = match known {
                    Some((_, answer)) => answer.clone(),
                    None => {
                        let outcomes = entries.iter().cloned().map(|entry| state.append(entry)).collect();
                        Answer { epoch: state.epoch.clone(), outcomes }
                    }
                };
                state.answers.insert(self.number, (number, answer.clone()));
                (answer, state.feeds(before), mem::take(&mut state.loses_answer))
            };
            for (fanout, fresh) in feeds.into_iter().filter(|(_, fresh)| !fresh.is_empty()) {
                fanout.send(fresh.into_iter().map(Delivery::from).collect()).await;
            }
            if !is_lost {
                return Ok(answer);
            }
        }
    }
}

#[async_trait]
impl Relay for Node {
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error> {
        let frame = Arc::new(frame);
        let nodes: Vec<_> = {
            let state = self.store.0.state.lock();
            let wanting = state.nodes.iter().filter(|node| node.attends_to(&frame.audiences));
            wanting.map(|node| Arc::clone(&node.fanout)).collect()
        };
        for fanout in nodes {
            fanout.send([Delivery::Ephemeral(Arc::clone(&frame))].into()).await;
        }
        Ok(())
    }
}

impl Follow for Node {
    fn commit_stream(&self) -> CommitStream {
        self.store.0.state.lock().nodes[self.number].fanout.follow()
    }

    fn end_commit_streams(&self) {
        self.store.0.state.lock().nodes[self.number].fanout.end();
    }
}

#[async_trait]
impl Read for Node {
    fn bounds(&self) -> Bounds {
        self.store.0.state.lock().bounds()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        let state = self.store.0.state.lock();
        let positions = query.after.saturating_add(1)..query.before.unwrap_or(Seq::MAX);
        let notifications = state.kept.iter().filter(|kept| positions.contains(&kept.seq)).cloned().collect();
        Ok(Page { notifications, more: false, bounds: state.bounds(), lost: state.lost.clone() })
    }

    async fn count(&self, _: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        let state = self.store.0.state.lock();
        Ok(state.kept.iter().filter(|kept| kept.seq > after && kept.seq <= until).count() as u64)
    }
}

#[async_trait]
impl Attend for Node {
    async fn attend(&self, interests: &[Interest], _: Option<Seq>) -> Result<Attendance, Error> {
        let subscriber = self.subscribers.fetch_add(1, Ordering::Relaxed);
        let attended = Attending { store: self.store.clone(), node: self.number, subscriber };
        let state = &mut *self.store.0.state.lock();
        let wanted = interests.iter().map(|interest| (subscriber, interest.clone()));
        state.nodes[self.number].attended.extend(wanted);
        Ok(Attendance::new(state.epoch.clone(), state.bounds(), Box::new(attended)))
    }
}

#[async_trait]
impl Journal for Node {
    fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Debug)]
struct Attending {
    store: Commons,
    node: usize,
    subscriber: u64,
}

#[async_trait]
impl Attended for Attending {
    async fn add(&mut self, interest: Interest) -> Result<(), Error> {
        self.store.0.state.lock().nodes[self.node].attended.push((self.subscriber, interest));
        Ok(())
    }

    fn remove(&mut self, interest: &Interest) {
        let attended = &mut self.store.0.state.lock().nodes[self.node].attended;
        attended.retain(|held| *held != (self.subscriber, interest.clone()));
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.store.0.state.lock().nodes[self.node].attended.retain(|(subscriber, _)| *subscriber != self.subscriber);
    }
}

suite!(Commons::default);
