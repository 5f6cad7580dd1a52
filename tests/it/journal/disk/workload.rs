//! Publishers on a recorded disk, what they were told and when, and whether a journal has kept its word to them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use exposia_notifications::wire::proto::v1::Notification;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    super::service::{Home, Service, marker, notify, within},
    Disk,
};

const PUBLISHERS: u64 = 8;

/// How many notifications are kept. They are few, so that what goes meets what comes; they are fewer than would fit in the
/// bytes, so that it is known which must be there.
pub(super) const KEPT: u64 = 400;

/// Everything small, so that a short run has segments, carry-overs of the log and retention.
pub(super) const SMALL: [(&str, &str); 3] =
    [("JOURNAL_MEMORY_BYTES", "65536"), ("JOURNAL_MAX_BYTES", "1048576"), ("JOURNAL_MAX_ENTRIES", "400")];

/// An event that somebody publishes.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) key: Option<String>,
    pub(super) body: Value,
}

/// What somebody was told of an event.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) marker: String,
    pub(super) seq: u64,
    /// It is promised to survive a power cut.
    pub(super) synced: bool,
    /// How long the record was when the answer was there.
    pub(super) at: u64,
}

/// All that was sent, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) sent: Mutex<HashMap<String, Sent>>,
    pub(super) acknowledged: Mutex<Vec<Acknowledged>>,
    count: AtomicU64,
}

/// What the publishers do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// After how many acknowledgements they come to an end.
    pub(super) until: u64,
    /// How many of 64 ask for less than a sync.
    pub(super) unsynced: u32,
    /// Whether the service may refuse for a while.
    pub(super) patient: bool,
}

impl Ledger {
    /// Publishes until enough was acknowledged or the service is gone.
    pub(super) async fn fill(self: &Arc<Self>, service: &Service, disk: &Arc<Disk>, plan: Plan, random: &mut StdRng) {
        let mut publishers = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let own = StdRng::seed_from_u64(random.random());
            let (ledger, disk) = (Arc::clone(self), Arc::clone(disk));
            publishers.spawn(publish(ledger, disk, service.rest.clone(), service.home().http(), plan, own));
        }
        within("the end of the publishers", publishers.join_all()).await;
    }

    pub(super) fn acknowledgements(&self) -> u64 {
        self.acknowledged.lock().expect("no panic").len() as u64
    }

    /// A new event, which counts as sent from now on.
    fn draft(&self, plan: Plan, random: &mut StdRng) -> (String, Sent) {
        let marker = format!("m{}", self.count.fetch_add(1, Ordering::Relaxed));
        let length = if random.random_ratio(1, 20) { 20_000 } else { 600 };
        let padding = "x".repeat(random.random_range(0..length));
        let target = match random.random_range(0..3) {
            0 => json!({ "everyone": true }),
            1 => json!({ "users": ["ana"], "rooms": ["norte"] }),
            _ => json!({ "rooms": ["sur", "norte"] }),
        };
        let payload = json!({ "marker": marker, "padding": padding });
        let mut body = json!({ "event": "disk.test", "payload": payload, "target": target });
        if random.random_ratio(plan.unsynced, 64) {
            body["durability"] = "process".into();
        }
        let sent = Sent { key: random.random_ratio(1, 2).then(|| marker.clone()), body };
        self.sent.lock().expect("no panic").insert(marker.clone(), sent.clone());
        (marker, sent)
    }
}

/// Publishes one after the other. What is refused is sent again if it has a key, and otherwise left.
async fn publish(
    ledger: Arc<Ledger>,
    disk: Arc<Disk>,
    client: reqwest::Client,
    address: String,
    plan: Plan,
    mut random: StdRng,
) {
    while ledger.acknowledgements() < plan.until {
        let (marker, Sent { key, body }) = ledger.draft(plan, &mut random);
        loop {
            match notify(&client, &address, &body, key.as_deref()).await {
                Ok((200, answer)) => {
                    let seq = answer["sequence"].as_u64().expect("a place");
                    // A duplicate says what the first answer said.
                    let synced = answer["durability"] == "fsync";
                    let acknowledged = Acknowledged { marker, seq, synced, at: disk.now() };
                    ledger.acknowledged.lock().expect("no panic").push(acknowledged);
                    break;
                }
                Ok((503, _)) if plan.patient && key.is_some() => {}
                Ok((503, _)) if plan.patient => break,
                Ok((503, _)) | Err(_) => return,
                Ok(other) => panic!("{marker}: {other:?}"),
            }
        }
    }
}

/// What must be true of a journal, and since when.
#[derive(Debug)]
pub(super) struct Promise<'l> {
    pub(super) ledger: &'l Ledger,
    /// The epoch of what was acknowledged.
    pub(super) epoch: &'l str,
    /// What was acknowledged when the record was not longer than this.
    pub(super) until: u64,
    /// Every process since then was of the same machine's run: what was not synced is there, too.
    pub(super) by_kill: bool,
    /// Nobody may ask for less than a sync: no power cut begins a new epoch.
    pub(super) all_synced: bool,
}

impl Promise<'_> {
    /// The running service holds what was promised, and goes on.
    pub(super) async fn is_kept_by(&self, service: &Service, random: &mut StdRng) {
        let (history, epoch) = service.history().await;
        let places = self.holds_nothing_strange(&history);
        let oldest = history.first().map_or(1, |it| it.sequence);
        let newest = history.last().map_or(0, |it| it.sequence);
        assert!(oldest == 1 || history.len() as u64 >= KEPT, "too much is gone: {oldest} to {newest}");
        let acknowledged = self.ledger.acknowledged.lock().expect("no panic").clone();
        let (before, later): (Vec<_>, Vec<_>) = acknowledged.iter().partition(|it| it.at <= self.until);
        for Acknowledged { marker, seq, synced, at } in &before {
            if *seq < oldest {
                continue;
            }
            let kept = places.get(marker.as_str()) == Some(seq);
            if *synced || self.by_kill || epoch == self.epoch {
                assert!(
                    kept,
                    "{marker} was acknowledged at {seq} ({at}, synced: {synced}); {oldest} to {newest} are kept"
                );
            }
        }
        if self.by_kill || self.all_synced {
            assert_eq!(epoch, self.epoch, "a new epoch, though nothing can be missing");
        }
        self.keys_are_known(service, &before, newest, random).await;
        self.goes_on(service, &later, random).await;
    }

    /// Every notification is one that was sent, as it was sent, once, and no place is empty.
    fn holds_nothing_strange(&self, history: &[Notification]) -> HashMap<String, u64> {
        let sent = self.ledger.sent.lock().expect("no panic");
        let mut places = HashMap::new();
        for (number, notification) in history.iter().enumerate() {
            let (marker, seq) = (marker(notification), notification.sequence);
            assert_eq!(seq, history[0].sequence + number as u64, "a place is empty");
            let payload: Value = serde_json::from_slice(&notification.payload_json).expect("JSON");
            let known = sent.get(&marker).unwrap_or_else(|| panic!("{marker} was never sent"));
            assert_eq!(payload, known.body["payload"], "{marker} at {seq} has another content");
            let twice = places.insert(marker, seq);
            assert_eq!(twice, None, "{seq} was there before, at {twice:?}");
        }
        places
    }

    /// Some of those that were acknowledged under a key are sent again.
    async fn keys_are_known(&self, service: &Service, before: &[&Acknowledged], newest: u64, random: &mut StdRng) {
        let keyed: Vec<_> = {
            let sent = self.ledger.sent.lock().expect("no panic");
            let safe = before.iter().filter(|it| (it.synced || self.by_kill) && it.seq <= newest);
            safe.filter_map(|it| sent[&it.marker].key.as_ref().map(|_| (*it, sent[&it.marker].clone()))).collect()
        };
        for _ in 0..3.min(keyed.len()) {
            let (Acknowledged { marker, seq, .. }, sent) = &keyed[random.random_range(0..keyed.len())];
            let (status, answer) = service.notify(&sent.body, sent.key.as_deref()).await.expect("an answer");
            assert_eq!((status, &answer["duplicate"]), (200, &true.into()), "{marker} again: {answer}");
            assert_eq!(answer["sequence"], *seq, "{marker} again: {answer}");
        }
    }

    /// What had no answer is sent again under its key; a new event gets the next place.
    async fn goes_on(&self, service: &Service, later: &[&Acknowledged], random: &mut StdRng) {
        let keyed: Vec<_> = {
            let sent = self.ledger.sent.lock().expect("no panic");
            later.iter().filter_map(|it| sent[&it.marker].key.as_ref().map(|_| sent[&it.marker].clone())).collect()
        };
        if !keyed.is_empty() {
            let sent = &keyed[random.random_range(0..keyed.len())];
            let (status, answer) = service.notify(&sent.body, sent.key.as_deref()).await.expect("an answer");
            assert_eq!(status, 200, "{answer}");
        }
        let (marker, Sent { body, .. }) = self.ledger.draft(Plan { until: 0, unsynced: 0, patient: false }, random);
        let (status, answer) = service.notify(&body, None).await.expect("an answer");
        assert_eq!(status, 200, "{answer}");
        let (history, _) = service.history().await;
        let places = self.holds_nothing_strange(&history);
        let newest = history.last().map(|it| it.sequence);
        assert_eq!((places.get(&marker).copied(), newest), (answer["sequence"].as_u64(), newest));
    }
}

/// Whether `journal check` finds the journal sound, beside the service that runs.
pub(super) async fn is_sound(home: &Home) {
    let output = home.run(&["journal", "check"]).await;
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&said));
}
