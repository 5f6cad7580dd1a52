//! Who publishes while the service is killed, and what was told to whom.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use exposia_notifications::wire::proto::v1::{Notification, PublishRequest, Target, publish_request::Body};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use super::super::{
    service::{Client, Service, marker, notify, within},
    tools::{
        layout_1::{EPOCH, Fixture, Used, has_ended},
        sha,
    },
};

const PUBLISHERS: usize = 16;

/// Who may be meant, and who listens.
pub(super) const USERS: [&str; 3] = ["ana", "luis", "eva"];
pub(super) const ROOMS: [&str; 2] = ["norte", "sur"];

/// An event that was sent and has no answer yet.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    marker: String,
    target: Target,
    /// Sent again under the same key until there is an answer; without a key, sent once.
    keyed: bool,
}

/// What the publishers know of one another.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The place of everything that was acknowledged and not looked for since.
    acknowledged: Mutex<HashMap<String, u64>>,
    count: AtomicU64,
    /// What others published before: the SHA-256 of the payload at each place.
    earlier: BTreeMap<u64, String>,
    /// The keys that they used.
    used: Vec<Used>,
}

/// A publisher, over whatever it speaks.
#[derive(Clone)]
pub(super) enum Way {
    Grpc(Client),
    Rest(reqwest::Client, String),
}

impl Way {
    pub(super) fn all(service: &Service) -> [Self; 2] {
        [Self::Grpc(service.grpc.clone()), Self::Rest(service.rest.clone(), service.home().http())]
    }

    /// Publishes, and gives the place. `None` when there is no answer, or one that promises nothing.
    async fn publish(&mut self, sent: &Sent) -> Option<u64> {
        let payload = json!({ "marker": sent.marker });
        match self {
            Self::Grpc(client) => {
                let request = PublishRequest {
                    event: "crash.test".to_owned(),
                    body: Some(Body::PayloadJson(payload.to_string().into())),
                    target: Some(sent.target.clone()),
                    idempotency_key: if sent.keyed { sent.marker.clone() } else { String::new() },
                    ..PublishRequest::default()
                };
                client.publish(request).await.ok().map(|answer| answer.into_inner().sequence)
            }
            Self::Rest(client, address) => {
                let Target { users, rooms, everyone } = &sent.target;
                let target = json!({ "users": users, "rooms": rooms, "everyone": everyone });
                let body = json!({ "event": "crash.test", "payload": payload, "target": target });
                let key = sent.keyed.then_some(sent.marker.as_str());
                let (status, answer) = notify(client, address, &body, key).await.ok()?;
                (status == 200).then(|| answer["sequence"].as_u64().expect("a place"))
            }
        }
    }
}

/// Publishes until there is no answer, and gives what had none.
async fn publish(mut way: Way, ledger: Arc<Ledger>, number: usize, mut random: StdRng) -> Option<Sent> {
    loop {
        let count = ledger.count.fetch_add(1, Ordering::Relaxed);
        let sent =
            Sent { marker: format!("p{number}-{count}"), target: target(&mut random), keyed: number.is_multiple_of(2) };
        if sent.keyed && random.random_ratio(1, 8) {
            // An answer that is lost on its way: the publisher hangs up early, and asks again below.
            let patience = Duration::from_micros(random.random_range(0..3_000));
            let _ = timeout(patience, way.publish(&sent)).await;
        }
        match way.publish(&sent).await {
            Some(seq) => ledger.acknowledge(&sent.marker, seq),
            None => return Some(sent),
        }
    }
}

impl Ledger {
    /// One that knows what an older journal has: all of it was acknowledged.
    pub(super) fn behind(fixture: &Fixture) -> Self {
        let earlier: BTreeMap<_, _> = fixture.sent().into_iter().collect();
        let acknowledged =
            earlier.keys().filter(|seq| !has_ended(**seq)).map(|seq| (earlier_name(*seq), *seq)).collect();
        let acknowledged = Mutex::new(acknowledged);
        Self { acknowledged, count: AtomicU64::default(), earlier, used: fixture.keys() }
    }

    /// What a notification is known by; one from before must be what was sent.
    pub(super) fn name(&self, notification: &Notification) -> String {
        let seq = notification.sequence;
        let Some(sent) = self.earlier.get(&seq) else { return marker(notification) };
        assert_eq!(&sha(&notification.payload_json), sent, "place {seq} has another content");
        earlier_name(seq)
    }

    /// Whether what is at a place had had its time, so that nobody is given it.
    pub(super) fn has_ended(&self, seq: u64) -> bool {
        self.earlier.contains_key(&seq) && has_ended(seq)
    }

    /// Sends again what was sent before under a key, until there is no answer: each is answered with its first result. Gives how
    /// many were answered.
    pub(super) async fn ask_earlier(&self, mut client: Client) -> usize {
        for (number, Used { key, event, payload, seq }) in self.used.iter().enumerate() {
            let request = PublishRequest {
                event: (*event).to_owned(),
                body: Some(Body::PayloadJson(payload.clone().into())),
                idempotency_key: key.clone(),
                ..PublishRequest::default()
            };
            let Ok(answer) = within("an answer", client.publish(request)).await else { return number };
            let answer = answer.into_inner();
            assert_eq!((answer.sequence, answer.duplicate), (*seq, true), "{key}: {answer:?}");
            assert_eq!(answer.id, format!("{EPOCH}-{seq}"), "{key}");
        }
        self.used.len()
    }

    /// How many keys were used before.
    pub(super) fn earlier_keys(&self) -> usize {
        self.used.len()
    }

    /// Lets all publish until there is no answer, and gives what had none.
    pub(super) async fn fill(self: &Arc<Self>, ways: [Way; 2], random: &mut StdRng) -> Vec<Sent> {
        let mut publishers = JoinSet::new();
        for number in 0..PUBLISHERS {
            let way = ways[number * ways.len() / PUBLISHERS].clone();
            let own = StdRng::seed_from_u64(random.random());
            publishers.spawn(publish(way, Arc::clone(self), number, own));
        }
        publishers.join_all().await.into_iter().flatten().collect()
    }

    /// Sends what had no answer again, where that is safe.
    pub(super) async fn retry(&self, service: &Service, unanswered: Vec<Sent>) {
        let mut ways = Way::all(service);
        for (number, sent) in unanswered.into_iter().filter(|sent| sent.keyed).enumerate() {
            let seq = within("a retry", ways[number % 2].publish(&sent)).await.expect("the retry is accepted");
            self.acknowledge(&sent.marker, seq);
        }
    }

    /// What was acknowledged since the last time.
    pub(super) fn take(&self) -> HashMap<String, u64> {
        std::mem::take(&mut *self.acknowledged.lock().expect("no panic"))
    }

    fn acknowledge(&self, marker: &str, seq: u64) {
        let known = self.acknowledged.lock().expect("no panic").insert(marker.to_owned(), seq);
        assert!(known.is_none_or(|known| known == seq), "{marker} was acknowledged at {known:?} and at {seq}");
    }
}

/// What is known by its place alone.
fn earlier_name(seq: u64) -> String {
    format!("what was at {seq} before")
}

fn target(random: &mut StdRng) -> Target {
    let user = USERS[random.random_range(0..USERS.len())].to_owned();
    let room = ROOMS[random.random_range(0..ROOMS.len())].to_owned();
    match random.random_range(0..4) {
        0 => Target { everyone: true, ..Target::default() },
        1 => Target { users: vec![user], ..Target::default() },
        2 => Target { rooms: vec![room], ..Target::default() },
        _ => Target { users: vec![user], rooms: vec![room], everyone: false },
    }
}
