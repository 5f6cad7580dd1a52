//! Subscribers that go on while something happens to the rest: a few in a room of their own, which is published to at a
//! steady pace.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

use crate::{
    Result,
    args::{Connect, Pace, Publish},
    clock,
    meter::{Meter, Sample},
    run::{PATIENCE, Run},
};

/// How many they are, and how many notifications a second go to all of them.
const CONNECTIONS: u32 = 50;
const RATE: f64 = 200.0;

/// They are in a thread of their own, to which the system gives its share of the processor.
#[derive(Debug)]
pub(crate) struct Others {
    thread: JoinHandle<Result<Seen>>,
    over: Arc<AtomicBool>,
}

impl Others {
    /// Connects them to the server of `connect`, and publishes until they are asked what they saw.
    pub(crate) fn watch(connect: &Connect) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (to, stop) = (
            Connect { conns: CONNECTIONS, rooms: 1, path: "/ws/other{i}?room=others".to_owned(), ..connect.clone() },
            Arc::clone(&over),
        );
        Self { thread: thread::spawn(move || listen(&to, &stop)), over }
    }

    /// What they saw, once they have all that was sent to them, or have waited for it for long.
    pub(crate) fn seen(self) -> Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the others panicked")?
    }
}

fn listen(to: &Connect, over: &AtomicBool) -> Result<Seen> {
    let (mut run, _) = Run::connected(to, 0)?;
    let publish = Publish {
        to: "/notify".to_owned(),
        body: r#"{"event":"bench.event","payload":{"ts":"{ts}"},"target":{"rooms":["others"]}}"#.to_owned(),
        pad: 0,
        into: None,
        publishers: 1,
        inflight: 4,
    };
    run.publish_by(&publish, to)?;
    run.meter = Meter::keeping();
    if let Some(publisher) = &mut run.publisher {
        publisher.start(Pace { rate: Some(RATE), window: 0, warmup: 0.0, seconds: 0.0 }, clock::now());
    }
    run.until(u64::MAX, |_| Ok(over.load(Ordering::Relaxed)))?;
    if let Some(publisher) = &mut run.publisher {
        publisher.stop();
    }
    let sent = |run: &Run| run.publisher.as_ref().map_or(0, |publisher| publisher.answered) * u64::from(CONNECTIONS);
    run.until(clock::now() + clock::nanos(PATIENCE), |run| Ok(run.meter.total >= sent(run)))?;
    run.rest(0.5)?;
    Ok(Seen { sent: sent(&run), samples: run.meter.kept })
}

/// What the others saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// How many deliveries there should have been.
    sent: u64,
    samples: Vec<Sample>,
}

impl Seen {
    /// Of what was sent, this part arrived.
    pub(crate) fn received(&self) -> f64 {
        self.samples.len() as f64 / self.sent as f64
    }

    /// What was sent between two moments and arrived, and how late.
    pub(crate) fn between(&self, window: Range<u64>) -> Value {
        let mut meter = Meter::new();
        meter.restart(window);
        self.samples.iter().for_each(|sample| meter.record(*sample));
        json!({ "received": meter.measured(), "latency": meter.latency() })
    }
}
