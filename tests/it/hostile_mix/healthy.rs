//! Healthy clients beside floods: publishers with a good token, and subscribers who hear all of them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::subscriber::{By, Subscriber};
use crate::support::{
    floods::{LIVE, Publisher, Target, WAYS, Way},
    within,
};

/// How often each publishes: as a rule, and where each publish has a connection of its own.
const OFTEN: Duration = Duration::from_millis(50);
const ANEW: Duration = Duration::from_millis(250);

/// One of so many publishes is sent again, as after an answer that was lost.
const AGAIN: u64 = 5;

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
        };
        let mut connected = Vec::new();
        for (number, by) in SUBSCRIBERS.into_iter().enumerate() {
            connected.push(Subscriber::connect(target, by, number).await);
        }
        for subscriber in connected {
            healthy.subscribers.spawn(subscriber.listen(healthy.last.subscribe()));
        }
        for way in WAYS {
            let refusals = Arc::clone(&healthy.refusals);
            healthy.publishers.spawn(publish(way, target, healthy.stop.subscribe(), refusals));
        }
        healthy
    }

    /// Ends publishing, and asserts that nothing was refused, and that every subscriber heard all that was acknowledged, once and
    /// in order. Gives how much that was.
    pub(super) async fn end(mut self) -> usize {
        self.stop.send_replace(true);
        let mut acknowledged = BTreeSet::new();
        while let Some(seqs) = within("the last answers", self.publishers.join_next()).await {
            acknowledged.extend(seqs.expect("no panic"));
        }
        let marker = Publisher::new(Way::Rest, self.target).publish(LIVE, payload(), "the last").await;
        let marker = marker.expect("nothing is in its way any more").seq;
        acknowledged.insert(marker);
        self.last.send_replace(Some(marker));
        let refusals = self.refusals.lock().clone();
        assert!(refusals.is_empty(), "{} were refused, the first: {:?}", refusals.len(), refusals.first());
        let acknowledged: Vec<u64> = acknowledged.into_iter().collect();
        while let Some(heard) = within("the last notification", self.subscribers.join_next()).await {
            let Subscriber { name, got, cuts, .. } = heard.expect("no panic");
            eprintln!("{name} has {} notifications, and was cut off {cuts} times", got.len());
            assert_eq!(got, acknowledged, "{name}, who was cut off {cuts} times");
        }
        acknowledged.len()
    }
}

/// Publishes in one way until `stop` says so. Gives the places of what was acknowledged.
async fn publish(way: Way, target: Target, mut stop: watch::Receiver<bool>, refusals: Refusals) -> Vec<u64> {
    let publisher = Publisher::new(way, target);
    let mut seqs = Vec::new();
    let mut turns = interval(if way.is_anew() { ANEW } else { OFTEN });
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = turns.tick() => {}
        }
        let key = format!("{way:?}-{number}");
        match publisher.publish(LIVE, payload(), &key).await {
            Ok(published) => {
                assert!(!published.duplicate, "{key} is new: {published:?}");
                seqs.push(published.seq);
                if number % AGAIN == 0 {
                    again(&publisher, &key, published.seq, &refusals).await;
                }
            }
            Err(refusal) => refusals.lock().push(refusal),
        }
    }
    seqs
}

/// Sends an event again, which must not become another one.
async fn again(publisher: &Publisher, key: &str, seq: u64, refusals: &Refusals) {
    match publisher.publish(LIVE, payload(), key).await {
        Ok(answer) => assert!(answer.duplicate && answer.seq == seq, "{key} is {seq}: {answer:?}"),
        Err(refusal) => refusals.lock().push(refusal),
    }
}

fn payload() -> &'static RawValue {
    serde_json::from_str(r#"{"healthy":true}"#).expect("JSON")
}
