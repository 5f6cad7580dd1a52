//! A file of which a part is damaged, seen by everybody who asks the service: what can be read comes, the rest is a gap.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

use exposia_notifications::wire::proto::v1::{GetHistoryRequest, Position, SubscribeRequest};
use tonic_types::StatusExt;

use super::{
    service::{Home, Service, event, within},
    subscriber::Subscriber,
};

const COUNT: u64 = 200;
const PAGE: usize = 4_096;

/// A stopped service with [`COUNT`] events of which a page is empty that had some of those in the middle, and where a client was
/// before all of them.
async fn damaged() -> (tempfile::TempDir, Home, Subscriber) {
    let (folder, mut home) = Home::scratch(&[]);
    // Next to nothing is in memory, so that the file is read.
    home.set("JOURNAL_MEMORY_BYTES", "1");
    let service = home.start().await;
    let subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    service.stop().await;
    home.filled(COUNT as usize).await.stop().await;
    let file = fs::read(home.file()).expect("the file");
    let hit = file.windows(6).position(|bytes| bytes == br#""e100""#).expect("it is there") / PAGE;
    let opened = OpenOptions::new().write(true).open(home.file()).expect("the file");
    opened.write_all_at(&[0; PAGE], (hit * PAGE) as u64).expect("writes");
    (folder, home, subscriber)
}

/// What was told of, each place once and in order: those that came, and those in a gap.
#[derive(Default)]
struct Told {
    last: u64,
    came: BTreeSet<u64>,
    lost: BTreeSet<u64>,
}

impl Told {
    fn come(&mut self, seq: u64) {
        assert!(seq > self.last, "{seq} after {}", self.last);
        self.last = seq;
        self.came.insert(seq);
    }

    fn lose(&mut self, from: u64, to: u64) {
        assert!(from > self.last && to >= from, "{from} to {to} after {}", self.last);
        self.last = to;
        self.lost.extend(from..=to);
    }

    fn check(&self, until: u64) {
        assert_eq!(self.came.union(&self.lost).copied().collect::<Vec<_>>(), (1..=until).collect::<Vec<_>>());
        assert!(self.lost.contains(&101) && (1..100).contains(&self.lost.len()), "{:?}", self.lost);
    }
}

#[tokio::test]
async fn a_client_that_resumes_over_damage_is_told_and_hears_the_rest_and_what_is_live() {
    let (_folder, home, mut subscriber) = damaged().await;
    let service = home.start().await;
    subscriber.resume(&home).await;
    assert_eq!(service.publish("live").await, COUNT + 1);
    let mut told = Told::default();
    while told.last < COUNT + 1 {
        let message = within("a message", subscriber.next()).await.expect("the connection stays");
        match message["type"].as_str() {
            Some("system_notification") => told.come(message["seq"].as_u64().expect("a place")),
            Some("gap") => told.lose(message["from"].as_u64().expect("from"), message["to"].as_u64().expect("to")),
            other => panic!("{other:?}"),
        }
    }
    told.check(COUNT + 1);
    let (status, health) = service.health().await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    let detail = health["detail"].as_str().expect("a detail");
    assert!(detail.contains("damaged") && detail.contains(&told.lost.first().expect("some").to_string()), "{detail}");
    service.stop().await;
}

#[tokio::test]
async fn a_stream_over_damage_ends_there_and_goes_on_behind_it() {
    let (_folder, home, _subscriber) = damaged().await;
    let service = home.start().await;
    let mut client = service.grpc.clone();
    let epoch = service.history().await.1;
    let mut told = Told::default();
    while told.last < COUNT {
        let since = Some(Position { sequence: told.last, epoch: epoch.clone() });
        let request = SubscribeRequest { everything: true, since, ..SubscribeRequest::default() };
        let mut stream = within("a stream", client.subscribe(request)).await.expect("a stream").into_inner();
        while told.last < COUNT {
            match within("a notification", stream.message()).await {
                Ok(notification) => told.come(notification.expect("it goes on").sequence),
                Err(status) => {
                    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}"));
                    let place = |name: &str| info.metadata[name].parse().expect("a place");
                    told.lose(place("from"), place("to"));
                    break;
                }
            }
        }
    }
    told.check(COUNT);
    service.stop().await;
}

#[tokio::test]
async fn the_history_says_what_is_missing() {
    let (_folder, home, _subscriber) = damaged().await;
    let service = home.start().await;
    let mut client = service.grpc.clone();
    let (mut told, mut after_sequence) = (Told::default(), 0);
    loop {
        let request = GetHistoryRequest { after_sequence, page_size: 37, ..GetHistoryRequest::default() };
        let page = within("a page", client.get_history(request)).await.expect("a page").into_inner();
        let mut parts: Vec<_> = page.missing.iter().map(|gap| (gap.from_sequence, Some(gap.to_sequence))).collect();
        parts.extend(page.notifications.iter().map(|notification| (notification.sequence, None)));
        parts.sort_unstable();
        for (seq, to) in parts {
            to.map_or_else(|| (), |to| told.lose(seq, to));
            if to.is_none() {
                told.come(seq);
            }
        }
        after_sequence = page.next_sequence;
        if !page.has_more {
            break;
        }
    }
    told.check(COUNT);
    let stats = stats(&service, &home).await;
    assert_eq!(stats["recent_notifications"].as_array().map(Vec::len), Some(10), "{stats}");
    assert!(stats.get("missing").is_none() && stats.get("recent_unavailable").is_none(), "{stats}");
    let (status, refused) = service.notify(&event("more"), None).await.expect("an answer");
    assert_eq!(status, 200, "{refused}");
    service.stop().await;
}

#[tokio::test]
async fn a_damaged_journal_does_not_hide_that_there_are_no_keys() {
    let (_folder, mut home, _subscriber) = damaged().await;
    home.set("JWT_JWKS_URL", "http://127.0.0.1:1/jwks.json");
    let service = home.start().await;
    service.history().await;
    let (_, health) = service.health().await;
    let detail = health["detail"].as_str().expect("a detail");
    assert!(detail.contains("damaged") && detail.contains("; JWT_JWKS_URL: no keys"), "{detail}");
    service.stop().await;
}

async fn stats(service: &Service, home: &Home) -> serde_json::Value {
    let answer = service.rest.get(format!("http://{}/stats", home.http())).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    answer.json().await.expect("JSON")
}
