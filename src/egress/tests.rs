//! What the journal cannot read is told on every way out.

use std::{num::NonZeroUsize, ops::RangeInclusive, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::{
    clock::{Clock, Manual},
    config::Config,
    domain::{Audience, Audiences, Durability, Ephemeral, Epoch, Event, Interest, Payload, Seq},
    egress::{Clients, History, Sessions, Subscriber, ws},
    gate::{Carriers, Gate, GateLayer},
    journal::{Append, Attend, Attendance, Bounds, Entry, Error, Incarnation, Memory, Page, Query, Read, Relay},
    listen,
    peers::Alone,
    rooms,
    wire::proto::v1,
};

/// A journal of which a part cannot be read.
#[derive(Debug)]
struct Damaged {
    memory: Memory,
    /// What cannot be read, as the pages say it.
    lost: Vec<RangeInclusive<Seq>>,
    /// How many positions a page reaches over at the most.
    reach: Seq,
    /// Nothing can be read, for this reason.
    failure: Mutex<Option<Error>>,
}

impl Incarnation for Damaged {
    fn epoch(&self) -> Epoch {
        self.memory.epoch()
    }
}

#[async_trait]
impl Read for Damaged {
    fn bounds(&self) -> Bounds {
        self.memory.bounds()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        if let Some(failure) = self.failure.lock().clone() {
            return Err(failure);
        }
        let mut all = self.memory.read(Query { limit: usize::MAX, max_bytes: usize::MAX, ..query.clone() }).await?;
        let newest_first = query.newest_first;
        let (begin, end) = (query.after + 1, query.before.map_or(all.bounds.newest, |before| before - 1));
        let (mut first, mut last) = match newest_first {
            true => (begin.max((end + 1).saturating_sub(self.reach)), end),
            false => (begin, end.min(begin.saturating_add(self.reach) - 1)),
        };
        all.more = if newest_first { first > begin } else { last < end };
        let is_lost = |seq| self.lost.iter().any(|range| range.contains(&seq));
        all.notifications.retain(|kept| !is_lost(kept.seq) && (first..=last).contains(&kept.seq));
        if all.notifications.len() > query.limit {
            all.notifications.truncate(query.limit);
            all.more = true;
            let bound = all.notifications.last().expect("a limit is not zero").seq;
            *(if newest_first { &mut first } else { &mut last }) = bound;
        }
        let within = self.lost.iter().map(|range| *range.start().max(&first)..=*range.end().min(&last));
        all.lost = within.filter(|range| !range.is_empty()).collect();
        Ok(all)
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        let query = Query {
            audiences: Some(audiences),
            after,
            before: Some(until + 1),
            since: None,
            limit: usize::MAX,
            max_bytes: usize::MAX,
            newest_first: false,
        };
        let is_lost = |seq| self.lost.iter().any(|range| range.contains(&seq));
        let page = self.memory.read(query).await?;
        Ok(page.notifications.iter().filter(|kept| !is_lost(kept.seq)).count() as u64)
    }
}

#[async_trait]
impl Attend for Damaged {
    async fn attend(&self, interests: &[Interest], since: Option<Seq>) -> Result<Attendance, Error> {
        self.memory.attend(interests, since).await
    }
}

#[async_trait]
impl Relay for Damaged {
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error> {
        self.memory.relay(frame).await
    }
}

/// The ways out of a journal.
struct Outlets {
    journal: Arc<Damaged>,
    gate: Gate,
    subscriber: Subscriber,
    history: History,
    address: std::net::SocketAddr,
    clock: Arc<Manual>,
}

impl Outlets {
    /// Of a journal with notifications for these rooms, of which `lost` cannot be read.
    async fn of(rooms: &[&str], lost: &[RangeInclusive<Seq>], reach: Seq) -> Self {
        Self::with(rooms.iter().map(|room| entry(room, None)).collect(), lost, reach).await
    }

    async fn with(entries: Vec<Entry>, lost: &[RangeInclusive<Seq>], reach: Seq) -> Self {
        let config = Config::defaults();
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let memory = Memory::new(&config.journal, clock.clone());
        memory.append(entries).await.expect("kept");
        let journal = Arc::new(Damaged { memory, lost: lost.to_vec(), reach, failure: Mutex::default() });
        let keys = config.gate.keys().expect("no keys");
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock.clone());
        let (_, reader) = rooms::split(NonZeroUsize::MIN);
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let sessions = Sessions::new(
            &config.egress,
            Clients::new(100),
            (reader.clone(), Arc::new(Alone)),
            journal.clone(),
            gate.clone(),
            stopping.clone(),
            clock.clone(),
        );
        let server =
            ws::Server::new(&config.egress, sessions, (journal.clone(), journal.clone()), gate.clone(), tasks.clone());
        let history = History::new(Arc::clone(&journal) as _);
        let router = ws::router(server).merge(history.clone().router()).layer(GateLayer::http(gate.clone()));
        let subscriber = Subscriber::new(
            &config.egress,
            reader,
            (journal.clone(), journal.clone()),
            (stopping.clone(), tasks.clone()),
            clock.clone(),
        );
        let socket = listen::bind("127.0.0.1", 0).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let listener = listen::Listener::plain(socket);
        tasks.spawn(listen::serve_http(listener, router, config.listen.clone(), stopping, tasks.clone()));
        Self { journal, gate, subscriber, history, address, clock }
    }

    /// A call as it comes through the gate.
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.gate.caller(&http::Request::new(()), Carriers::Metadata));
        request
    }

    /// What a WebSocket that comes back to `since` is sent, up to the `seq` or the end of the gap `until`, or the close code.
    async fn resume(&self, since: Seq, until: Seq) -> Vec<Value> {
        let address = format!("ws://{}/ws/ana?since={since}&epoch={}", self.address, self.journal.epoch());
        let (mut socket, _) = connect_async(address).await.expect("a handshake");
        let mut told = Vec::new();
        let listening = async {
            loop {
                match socket.next().await.expect("a message").expect("the connection is open") {
                    Message::Text(text) => told.push(serde_json::from_str::<Value>(&text).expect("JSON")),
                    Message::Close(frame) => {
                        return told.push(json!(u16::from(frame.expect("a code").code)));
                    }
                    _ => {}
                }
                let last = told.last().expect("just pushed");
                if last["type"] != "connection_established" && (last["seq"] == until || last["to"] == until) {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(60), listening).await.expect("all of it comes");
        told
    }

    /// What a gRPC subscriber that comes back to `since` receives, and with what its stream ends.
    async fn subscribe(&self, mut request: v1::SubscribeRequest, since: Seq) -> (Vec<Seq>, Status) {
        request.since = Some(v1::Position { sequence: since, epoch: self.journal.epoch().to_string() });
        let mut stream = self.subscriber.subscribe(self.call(request), None).await.expect("a stream").into_inner();
        let mut seqs = Vec::new();
        loop {
            match timeout(Duration::from_secs(60), stream.next()).await.expect("it goes on or ends").expect("a status")
            {
                Ok(notification) => seqs.push(notification.sequence),
                Err(status) => {
                    assert!(stream.next().await.is_none(), "nothing comes after an error");
                    return (seqs, status);
                }
            }
        }
    }

    async fn page(&self, request: v1::GetHistoryRequest) -> v1::GetHistoryResponse {
        self.history.page(self.call(request)).await.expect("a page").into_inner()
    }
}

fn entry(room: &str, expires_at: Option<DateTime<Utc>>) -> Entry {
    let payload = Payload::parse("{}".into()).expect("an object");
    let event = Event { name: "e".into(), payload, timestamp: "".into(), source: "".into() };
    let audiences = Audiences::from_target(false, &[], &[room.to_owned()]).expect("a room");
    Entry { event, audiences, key: None, expires_at, durability: Durability::Memory }
}

/// The `seq`s and gaps of what a WebSocket was told.
fn positions(told: &[Value]) -> Vec<(Seq, Seq)> {
    let position = |message: &Value| match message["type"].as_str()? {
        "system_notification" => Some((message["seq"].as_u64()?, message["seq"].as_u64()?)),
        "gap" => Some((message["from"].as_u64()?, message["to"].as_u64()?)),
        _ => None,
    };
    told.iter().filter_map(position).collect()
}

#[tokio::test]
async fn a_websocket_that_resumes_is_told_what_is_lost_in_its_place() {
    let outlets = Outlets::of(&["general"; 8], &[1..=1, 3..=4, 8..=8], Seq::MAX).await;
    let told = outlets.resume(0, 8).await;
    assert_eq!((&told[0]["recovered"], &told[0]["replayed"]), (&json!(true), &json!(4)));
    assert_eq!(told[1], json!({ "type": "gap", "from": 1, "to": 1 }));
    assert_eq!(positions(&told), [(1, 1), (2, 2), (3, 4), (5, 5), (6, 6), (7, 7), (8, 8)]);
    assert_eq!(positions(&outlets.resume(7, 8).await), [(8, 8)]);
}

// the first page is read before the session begins, the others when it is behind
#[tokio::test]
async fn a_websocket_is_told_of_what_is_lost_in_later_pages() {
    let outlets = Outlets::of(&["general"; 1_000], &[300..=310, 700..=999], Seq::MAX).await;
    let told = outlets.resume(0, 1_000).await;
    assert_eq!(told[0]["replayed"], 1_000 - 11 - 300);
    let alone = |seqs: RangeInclusive<Seq>| seqs.map(|seq| (seq, seq));
    let due: Vec<_> =
        alone(1..=299).chain([(300, 310)]).chain(alone(311..=699)).chain([(700, 999), (1_000, 1_000)]).collect();
    assert_eq!(positions(&told), due);
}

#[tokio::test]
async fn what_cannot_be_read_at_all_is_passed_over_page_by_page() {
    let outlets = Outlets::of(&["general"; 50], &[1..=49], 10).await;
    let told = outlets.resume(0, 50).await;
    assert_eq!(told[0]["replayed"], 1);
    assert_eq!(positions(&told), [(1, 10), (11, 20), (21, 30), (31, 40), (41, 49), (50, 50)]);
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_now_asks_to_come_back_later() {
    let outlets = Outlets::of(&["general"; 2], &[], Seq::MAX).await;
    for (failure, code) in [(Error::Io("EIO".into()), 4102), (Error::Damaged("all of it".into()), 1011)] {
        *outlets.journal.failure.lock() = Some(failure);
        assert_eq!(outlets.resume(0, 2).await, [json!(code)]);
    }
    *outlets.journal.failure.lock() = None;
    assert_eq!(positions(&outlets.resume(0, 2).await), [(1, 1), (2, 2)]);
}

#[tokio::test]
async fn a_stream_ends_before_a_gap_and_goes_on_behind_it() {
    let rooms = ["a", "a", "a", "b", "a", "a", "a"];
    let outlets = Outlets::of(&rooms, &[3..=3, 5..=5, 7..=7], Seq::MAX).await;
    let request = v1::SubscribeRequest { rooms: vec!["a".to_owned()], ..Default::default() };
    let mut since = 0;
    // What lies between 3 and 5 is for others, and one end says both.
    for (seqs, from, to) in [(vec![1, 2], 3, 5), (vec![6], 7, 7)] {
        let (received, status) = outlets.subscribe(request.clone(), since).await;
        assert_eq!((received, status.code()), (seqs, Code::DataLoss));
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("GAP", "exposia.notifications.v1"));
        let metadata = |name: &str| info.metadata[name].parse::<Seq>().expect("a number");
        assert_eq!((metadata("from"), metadata("to")), (from, to));
        since = to;
    }
    let (received, status) =
        outlets.subscribe(v1::SubscribeRequest { everything: true, ..Default::default() }, 0).await;
    assert_eq!(
        (received, status.get_error_details().error_info().expect("a gap").metadata["to"].as_str()),
        (vec![1, 2], "3")
    );
}

// what waits for a subscriber is judged by the clock that the journal goes by
#[tokio::test]
async fn a_stream_leaves_out_what_expired_while_it_waited() {
    let soon = DateTime::UNIX_EPOCH + TimeDelta::minutes(1);
    let entries = [None, Some(soon), None, Some(soon), None].map(|expires_at| entry("a", expires_at));
    let outlets = Outlets::with(entries.into(), &[5..=5], Seq::MAX).await;
    let since = Some(v1::Position { sequence: 0, epoch: outlets.journal.epoch().to_string() });
    let request = v1::SubscribeRequest { rooms: vec!["a".to_owned()], since, ..Default::default() };
    let mut stream = outlets.subscriber.subscribe(outlets.call(request), None).await.expect("a stream").into_inner();
    let mut next = async || stream.next().await.expect("it goes on").map(|notification| notification.sequence);
    // By the first, the page is read, and the rest of it waits.
    assert_eq!(next().await.expect("a notification"), 1);
    outlets.clock.step(TimeDelta::hours(1));
    assert_eq!(next().await.expect("a notification"), 3);
    outlets.clock.step(outlets.clock.wall().signed_duration_since(DateTime::UNIX_EPOCH) * -1);
    assert_eq!(next().await.expect("a notification"), 4);
    assert_eq!(next().await.expect_err("the gap").code(), Code::DataLoss);
}

#[tokio::test]
async fn the_history_is_read_over_what_is_lost() {
    let lost = [1..=2, 5..=24, 26..=26, 30..=30];
    let outlets = Outlets::of(&["general"; 30], &lost, 4).await;
    let readable: Vec<Seq> = (1..=30).filter(|seq| !lost.iter().any(|range| range.contains(seq))).collect();
    for newest_first in [false, true] {
        let (mut seqs, mut missing) = (Vec::new(), Vec::new());
        let mut request = v1::GetHistoryRequest { page_size: 2, newest_first, ..Default::default() };
        for pages in 1.. {
            assert!(pages <= 30, "it does not come further");
            let page = outlets.page(request.clone()).await;
            seqs.extend(page.notifications.iter().map(|notification| notification.sequence));
            missing.extend(page.missing.iter().flat_map(|gap| gap.from_sequence..=gap.to_sequence));
            if !page.has_more {
                break;
            }
            let next = if newest_first { &mut request.before_sequence } else { &mut request.after_sequence };
            *next = page.next_sequence;
        }
        seqs.sort_unstable();
        missing.sort_unstable();
        assert_eq!(seqs, readable, "newest first: {newest_first}");
        assert_eq!(missing, lost.iter().cloned().flatten().collect::<Vec<_>>(), "newest first: {newest_first}");
    }
}

#[tokio::test]
async fn the_last_notifications_come_with_what_is_missing_among_them() {
    let shown = async |outlets: &Outlets| -> Value {
        let response = reqwest::get(format!("http://{}/history", outlets.address)).await.expect("an answer");
        assert_eq!(response.status(), 200);
        serde_json::from_str(&response.text().await.expect("a body")).expect("JSON")
    };
    let outlets = Outlets::of(&["general"; 200], &[20..=30, 110..=119], Seq::MAX).await;
    let history = shown(&outlets).await;
    assert_eq!(history["total"], 100);
    assert_eq!((&history["history"][0]["seq"], &history["history"][99]["seq"]), (&json!(91), &json!(200)));
    assert_eq!(history["missing"], json!([{ "from": 110, "to": 119 }]));
    let recent = outlets.history.recent(None, 10).await.expect("read");
    assert_eq!((recent.notifications.len(), recent.missing), (10, Vec::new()));

    let sound = shown(&Outlets::of(&["general"; 2], &[], Seq::MAX).await).await;
    assert_eq!(sound.as_object().expect("an object").keys().collect::<Vec<_>>(), ["history", "total"]);
}
