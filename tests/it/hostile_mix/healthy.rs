//! Healthy clients beside floods: publishers with a good token, and subscribers who hear all of them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::subscriber::{By, Subscriber};
use crate::support::{
    PATIENCE, eventually,
    floods::{LIVE, Publisher, Target, WAYS, Way, beside::Failure},
    within,
};

/// How often each publishes: as a rule, and where each publish has a connection of its own.
const OFTEN: Duration = Duration::from_millis(50);
const ANEW: Duration = Duration::from_millis(250);

/// One of so many publishes is sent again, as after an answer that was lost.
const AGAIN: u64 = 5;

/// How often a publish over a new connection is tried.
const TRIES: usize = 10;

/// Who subscribes.
const SUBSCRIBERS: [By; 6] =
    [By::WebSocket, By::WebSocket, By::WebSocketBesideChats, By::WebSocketBesideChats, By::Stream, By::Stream];

/// Publishers who go on until they are ended, and those who hear them.
#[derive(Debug)]
pub(super) struct Healthy {
    target: Target,
    publishers: JoinSet<Vec<u64>>,
    stop: watch::Sender<bool>,
    subscribers: JoinSet<Subscriber>,
    last: watch::Sender<Option<u64>>,
    refusals: Refusals,
    accepted: Arc<[AtomicUsize; WAYS.len()]>,
}

/// What was refused to those who publish, in words.
type Refusals = Arc<Mutex<Vec<String>>>;

impl Healthy {
    /// Everybody is connected, and publishing begins.
    pub(super) async fn begin(target: Target) -> Self {
        let mut healthy = Self {
            target,
            publishers: JoinSet::new(),
            stop: watch::Sender::new(false),
            subscribers: JoinSet::new(),
            last: watch::Sender::new(None),
            refusals: Refusals::default(),
            accepted: Arc::default(),
        };
        let mut connected = Vec::new();
        for (number, by) in SUBSCRIBERS.into_iter().enumerate() {
            connected.push(Subscriber::connect(target, by, number).await);
        }
        for subscriber in connected {
            healthy.subscribers.spawn(subscriber.listen(healthy.last.subscribe()));
        }
        for number in 0..WAYS.len() {
            let (refusals, accepted) = (Arc::clone(&healthy.refusals), Arc::clone(&healthy.accepted));
            healthy.publishers.spawn(publish(number, target, healthy.stop.subscribe(), refusals, accepted));
        }
        healthy
    }

    /// Returns when somebody has published by each way since this was called.
    pub(super) async fn goes_on(&self) {
        for (way, accepted) in WAYS.into_iter().zip(self.accepted.iter()) {
            let before = accepted.load(Ordering::Relaxed);
            let more = async || (accepted.load(Ordering::Relaxed) > before).then_some(());
            eventually(&format!("published: {way:?}"), more).await;
        }
    }

    /// Ends publishing, and asserts that nothing was refused, and that every subscriber heard all that was acknowledged, once and
    /// in order, and was never called too slow. Gives how much that was.
    pub(super) async fn end(mut self) -> usize {
        self.stop.send_replace(true);
        let mut acknowledged = BTreeSet::new();
        while let Some(seqs) = within("the last answers", self.publishers.join_next()).await {
            acknowledged.extend(seqs.expect("no panic"));
        }
        let marker = Publisher::new(Way::Rest, self.target, PATIENCE).publish(LIVE, payload(), "the last").await;
        let marker = marker.expect("nothing is in its way any more").seq;
        acknowledged.insert(marker);
        self.last.send_replace(Some(marker));
        let refusals = self.refusals.lock().clone();
        assert!(refusals.is_empty(), "{} were refused, the first: {:?}", refusals.len(), refusals.first());
        let acknowledged: Vec<u64> = acknowledged.into_iter().collect();
        while let Some(heard) = within("the last notification", self.subscribers.join_next()).await {
            let Subscriber { name, got, cuts, called_slow, .. } = heard.expect("no panic");
            eprintln!("{name} has {} notifications, and was cut off {cuts} times", got.len());
            assert_eq!(got, acknowledged, "{name}, who was cut off {cuts} times");
            assert_eq!(called_slow, 0, "{name} reads all that comes, and was called too slow");
        }
        acknowledged.len()
    }
}

/// Publishes by one of the ways until `stop` says so. Gives the places of what was acknowledged.
async fn publish(
    number: usize,
    target: Target,
    mut stop: watch::Receiver<bool>,
    refusals: Refusals,
    accepted: Arc<[AtomicUsize; WAYS.len()]>,
) -> Vec<u64> {
    let (way, accepted) = (WAYS[number], &accepted[number]);
    let publisher = Publisher::new(way, target, PATIENCE);
    let mut seqs = Vec::new();
    let mut turns = interval(if way.is_anew() { ANEW } else { OFTEN });
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = turns.tick() => {}
        }
        let key = format!("{way:?}-{number}");
        match persist(&publisher, way, &key).await {
            Ok((seq, _)) => {
                seqs.push(seq);
                accepted.fetch_add(1, Ordering::Relaxed);
                if number % AGAIN == 0 {
                    again(&publisher, way, &key, seq, &refusals).await;
                }
            }
            Err(refusal) => refusals.lock().push(refusal),
        }
    }
    seqs
}

/// Publishes under a key, and gives the place, and whether it was known already. Nobody can tell a new connection from a stranger's
/// before its first call, so that on a machine which has hardly any time for it, it may be hung up on for a newer one. Who has a new
/// one for each publish tries again then, as clients do; who stays connected never is, and nobody is refused.
async fn persist(publisher: &Publisher, way: Way, key: &str) -> Result<(u64, bool), String> {
    let tries = if way.is_anew() { TRIES } else { 1 };
    for left in (0..tries).rev() {
        match publisher.publish(LIVE, payload(), key).await {
            Ok(published) => return Ok((published.seq, published.duplicate)),
            Err(Failure::HungUp(_)) if left > 0 => {}
            Err(failure) => return Err(format!("{way:?}: {failure}")),
        }
    }
    unreachable!("the last try is one or the other")
}

/// Sends an event again, which must not become another one.
async fn again(publisher: &Publisher, way: Way, key: &str, seq: u64, refusals: &Refusals) {
    match persist(publisher, way, key).await {
        Ok(answer) => assert_eq!(answer, (seq, true), "{key} is {seq}"),
        Err(refusal) => refusals.lock().push(refusal),
    }
}

fn payload() -> &'static RawValue {
    serde_json::from_str(r#"{"healthy":true}"#).expect("JSON")
}
