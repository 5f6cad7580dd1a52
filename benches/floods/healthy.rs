//! Healthy clients: a few subscribers over WebSocket, and publishers with a good token by each way to publish one event, at a
//! steady pace.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    Result,
    floods::{LARGE, LIVE, Publisher, Target, WAYS, Way},
    samples::{Sample, Watch},
};

/// How many subscribe.
pub(crate) const SUBSCRIBERS: usize = 20;

/// How often each publishes: as a rule, and where each publish has a connection of its own.
const OFTEN: Duration = Duration::from_millis(20);
const ANEW: Duration = Duration::from_millis(200);

/// How long an answer may take: who waits for longer is kept out. A flood that stands is watched for longer than that.
const ANSWERED: Duration = Duration::from_secs(5);

/// How long what was sent may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The large notifications that are there before anything is measured.
const LARGE_EVENTS: usize = 100;
const LARGE_BYTES: usize = 60_000;

/// Healthy clients that go on until they are ended.
#[derive(Debug)]
pub(crate) struct Healthy {
    publishers: JoinSet<Answered>,
    subscribers: JoinSet<Vec<Sample>>,
    stop: watch::Sender<bool>,
    /// How many notifications each subscriber is to get.
    sent: watch::Sender<Option<usize>>,
}

/// What became of what one publisher sent.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) way: Way,
    pub(crate) accepted: Vec<Sample>,
    pub(crate) refused: Vec<String>,
}

/// What healthy clients saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) answered: Vec<Answered>,
    pub(crate) delivered: Vec<Sample>,
}

impl Healthy {
    /// Publishes the large notifications, connects everybody, and begins to publish.
    pub(crate) async fn begin(target: Target, clock: Watch) -> Result<Self> {
        fill(target).await?;
        let (stop, sent) = (watch::Sender::new(false), watch::Sender::new(None));
        let (mut publishers, mut subscribers) = (JoinSet::new(), JoinSet::new());
        for number in 0..SUBSCRIBERS {
            let address = format!("ws://{}/ws/healthy-{number}?room={LIVE}", target.http);
            subscribers.spawn(listen(connect_async(address).await?.0, clock, sent.subscribe()));
        }
        for way in WAYS {
            publishers.spawn(publish(way, target, clock, stop.subscribe()));
        }
        Ok(Self { publishers, subscribers, stop, sent })
    }

    /// Ends publishing, waits for what is on its way, and tells what was seen.
    pub(crate) async fn end(mut self) -> Result<Seen> {
        self.stop.send_replace(true);
        let mut seen = Seen { answered: Vec::new(), delivered: Vec::new() };
        while let Some(answered) = self.publishers.join_next().await {
            seen.answered.push(answered?);
        }
        self.sent.send_replace(Some(seen.accepted()));
        while let Some(delivered) = self.subscribers.join_next().await {
            seen.delivered.extend(delivered?);
        }
        Ok(seen)
    }
}

impl Seen {
    /// How many publishes were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.answered.iter().map(|answered| answered.accepted.len()).sum()
    }

    /// What was refused, in words.
    pub(crate) fn refused(&self) -> Vec<&str> {
        self.answered.iter().flat_map(|answered| &answered.refused).map(String::as_str).collect()
    }
}

async fn fill(target: Target) -> Result<()> {
    let publisher = Publisher::new(Way::Rest, target, ANSWERED);
    let payload = to_raw_value(&serde_json::json!({ "large": "x".repeat(LARGE_BYTES) }))?;
    for number in 0..LARGE_EVENTS {
        publisher.publish(LARGE, &payload, &format!("large-{number}")).await?;
    }
    Ok(())
}

/// Publishes on time, whether or not the server keeps up: what is late counts from when it was due.
async fn publish(way: Way, target: Target, clock: Watch, mut stop: watch::Receiver<bool>) -> Answered {
    let publisher = Publisher::new(way, target, ANSWERED);
    let mut answered = Answered { way, accepted: Vec::new(), refused: Vec::new() };
    let mut newest = 0;
    let mut turns = interval(if way.is_anew() { ANEW } else { OFTEN });
    for number in 0_u64.. {
        let due = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            due = turns.tick() => clock.at(due),
        };
        match publisher.publish(LIVE, &payload(due), &format!("{way:?}-{number}")).await {
            Ok(published) if !published.duplicate && published.seq > newest => {
                newest = published.seq;
                answered.accepted.push(Sample { sent: due, took: clock.now().saturating_sub(due) });
            }
            Ok(published) => answered.refused.push(format!("{way:?}: not taken for new after {newest}: {published:?}")),
            Err(failure) => answered.refused.push(format!("{way:?}: {failure}")),
        }
    }
    answered
}

fn payload(due: u64) -> Box<RawValue> {
    RawValue::from_string(format!(r#"{{"ts":"{due}"}}"#)).expect("this is JSON")
}

/// Takes in what comes, until all has come that was sent, or the connection is gone.
async fn listen(
    mut socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
    clock: Watch,
    mut sent: watch::Receiver<Option<usize>>,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut patience = Duration::from_secs(u64::from(u32::MAX));
    loop {
        let is_through = sent.borrow_and_update().is_some_and(|sent| samples.len() >= sent);
        if is_through {
            return samples;
        }
        let message = tokio::select! {
            _ = sent.changed() => {
                patience = PATIENCE;
                continue;
            }
            message = timeout(patience, socket.next()) => message,
        };
        match message {
            Ok(Some(Ok(Message::Text(text)))) => samples.extend(sample(&text, clock.now())),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) | Err(_) => return samples,
        }
    }
}

fn sample(text: &str, now: u64) -> Option<Sample> {
    let (_, rest) = text.split_once(r#""ts":""#)?;
    let sent = rest.split_once('"')?.0.parse().ok()?;
    Some(Sample { sent, took: now.saturating_sub(sent) })
}
