//! A service that is killed at a random moment, again and again: what it acknowledged is there, once, in order, and every
//! subscriber gets it exactly once over all its connections.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use exposia_notifications::wire::proto::v1::{Notification, PublishRequest, Target, publish_request::Body};
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use super::{
    service::{Client, Home, Service, marker, notify, within},
    subscriber::Subscriber,
};

const PUBLISHERS: usize = 16;

/// Who may be meant, and who listens.
const USERS: [&str; 3] = ["ana", "luis", "eva"];
const ROOMS: [&str; 2] = ["norte", "sur"];

/// An event that was sent and has no answer yet.
#[derive(Debug, Clone)]
struct Sent {
    marker: String,
    target: Target,
    /// Sent again under the same key until there is an answer; without a key, sent once.
    keyed: bool,
}

/// What the publishers know of one another.
#[derive(Debug, Default)]
struct Ledger {
    /// The place of everything that was acknowledged.
    acknowledged: Mutex<HashMap<String, u64>>,
    count: AtomicU64,
}

/// A publisher, over whatever it speaks.
#[derive(Clone)]
enum Way {
    Grpc(Client),
    Rest(reqwest::Client, String),
}

impl Way {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_and_reaches_everyone_once() {
    let rounds = if std::env::var_os("LONG_TESTS").is_some() { 100 } else { 10 };
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(&folder.path().join("data"), &[]);
    let ledger = Arc::new(Ledger::default());
    let mut service = home.start().await;
    let mut subscribers = Vec::new();
    for (number, user) in USERS.iter().cycle().take(6).enumerate() {
        let room = ROOMS[number % ROOMS.len()];
        subscribers.push(Subscriber::connect(&home, &format!("s{number}"), user, room).await);
    }
    for round in 0..rounds {
        let unanswered = publish_until_killed(service, &home, &ledger, &mut subscribers, &mut random).await;
        service = home.start().await;
        join_all(subscribers.iter_mut().map(|subscriber| subscriber.resume(&home))).await;
        retry(&service, &home, &ledger, unanswered).await;
        check(&service, &ledger, &mut subscribers, round).await;
    }
    let count = ledger.acknowledged.lock().expect("no panic").len();
    eprintln!("{count} events were acknowledged in {rounds} rounds");
    service.stop().await;
}

/// Lets all publish and listen, kills the service at a random moment, and gives what had no answer.
async fn publish_until_killed(
    service: Service,
    home: &Home,
    ledger: &Arc<Ledger>,
    subscribers: &mut [Subscriber],
    random: &mut StdRng,
) -> Vec<Sent> {
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        let way = if number < PUBLISHERS / 2 {
            Way::Grpc(service.grpc.clone())
        } else {
            Way::Rest(service.rest.clone(), home.http())
        };
        let own = StdRng::seed_from_u64(random.random());
        publishers.spawn(publish(way, Arc::clone(ledger), number, own));
    }
    // The moment of the kill is what is random here; nothing waits for this time to be enough for anything.
    let moment = Duration::from_micros(random.random_range(20_000..400_000));
    let kill = async {
        tokio::time::sleep(moment).await;
        service.kill().await;
    };
    let listen = join_all(subscribers.iter_mut().map(|subscriber| subscriber.listen(usize::MAX)));
    let (_, _, sent) = within("the end of all", async { tokio::join!(kill, listen, publishers.join_all()) }).await;
    sent.into_iter().flatten().collect()
}

/// Sends what had no answer again, where that is safe.
async fn retry(service: &Service, home: &Home, ledger: &Ledger, unanswered: Vec<Sent>) {
    for (number, sent) in unanswered.into_iter().filter(|sent| sent.keyed).enumerate() {
        let mut ways = [Way::Grpc(service.grpc.clone()), Way::Rest(service.rest.clone(), home.http())];
        let seq = within("a retry", ways[number % 2].publish(&sent)).await.expect("the retry is accepted");
        ledger.acknowledge(&sent.marker, seq);
    }
}

/// Every acknowledged event is in the journal once, at its place; each subscriber has all of its own, once, in order.
async fn check(service: &Service, ledger: &Ledger, subscribers: &mut [Subscriber], round: usize) {
    let (history, _) = service.history().await;
    let mut places = HashMap::new();
    for (notification, place) in history.iter().zip(1..) {
        assert_eq!(notification.sequence, place, "round {round}: the places have a hole");
        let twice = places.insert(marker(notification), place);
        assert_eq!(twice, None, "round {round}: {} is there twice", marker(notification));
    }
    for (marker, seq) in ledger.acknowledged.lock().expect("no panic").iter() {
        assert_eq!(places.get(marker), Some(seq), "round {round}: {marker} was acknowledged at {seq}");
    }
    for subscriber in subscribers {
        let due: Vec<u64> = history.iter().filter(|it| is_for(it, subscriber)).map(|it| it.sequence).collect();
        within("the rest of what is due", subscriber.listen(due.len())).await;
        assert_eq!(subscriber.got, due, "round {round}");
    }
}

fn is_for(notification: &Notification, subscriber: &Subscriber) -> bool {
    let target = notification.audience.as_ref().expect("an audience");
    notification.sequence >= subscriber.from
        && (target.everyone || target.users.contains(&subscriber.user) || target.rooms.contains(&subscriber.room))
}
