//! Who publishes while the service is killed, and what was told to whom.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use exposia_notifications::wire::proto::v1::{PublishRequest, Target, publish_request::Body};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use super::super::service::{Client, Service, notify, within};

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
