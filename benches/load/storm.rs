//! Everybody is cut off at once, misses something, and comes back for it, while a few others go on.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{
    Result,
    args::{Connect, Pace, Storm},
    clock,
    idle::{self, Held},
    process::Server,
    run::{PATIENCE, Run},
};

/// How many notifications everybody misses.
const MISSED: u64 = 5;

/// How long the others are watched, in seconds, and how long after their start the storm begins.
const WATCHED: f64 = 6.0;
const BEGINNING: f64 = 2.0;

pub(crate) fn measure(args: &Storm) -> Result<Value> {
    let server = Server::new(args.connect.pid);
    let (mut run, held) = idle::hold(&args.connect, args.seconds, &server)?;
    let quiet = Others::watch(&args.connect)?.figures(&mut run)?;

    let others = Others::watch(&args.connect)?;
    run.rest(BEGINNING)?;
    run.publish_by(&args.publish, &args.connect)?;
    run.cut()?;
    miss(&mut run)?;
    let arrived = run.meter.total;
    let back_in = run.reconnect(&args.back)?;
    let received = run.meter.total - arrived;
    let during = others.figures(&mut run)?;
    run.rest(idle::SETTLING)?;
    let after_storm = held.bytes_each(&server)?;
    let Held { connected_in, bytes, microseconds, .. } = held;
    Ok(json!({
        "open": held.open,
        "connected_in": connected_in,
        "bytes_per_connection": bytes,
        "microseconds_per_connection_second": microseconds,
        "open_again": run.swarm.open(),
        "back_in": back_in,
        "received_of_missed": received as f64 / MISSED as f64,
        "bytes_per_connection_after_storm": after_storm,
        "others_quiet": quiet,
        "others_during": during,
    }))
}

/// Publishes what nobody is there for.
fn miss(run: &mut Run) -> Result<()> {
    let Some(publisher) = &mut run.publisher else { return Ok(()) };
    publisher.start(Pace { rate: None, window: MISSED as u32, warmup: 0.0, seconds: 0.0 }, clock::now());
    // What is answered would otherwise make room for more.
    run.receivers = u64::MAX;
    run.until(clock::now() + clock::nanos(PATIENCE), |run| {
        Ok(run.publisher.as_ref().is_some_and(|publisher| publisher.answered >= MISSED))
    })?;
    run.publisher = None;
    Ok(())
}

/// A second process with connections of its own in a room of their own, which is published to at a steady pace.
#[derive(Debug)]
struct Others(std::process::Child);

impl Others {
    fn watch(connect: &Connect) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["fanout", "--address", &connect.address.to_string(), "--pid", &connect.pid.to_string()])
            .args(["--conns", "50", "--path", "/ws/other{i}?room=others", "--rate", "50"])
            .args(["--body", r#"{"event":"bench.event","payload":{"ts":"{ts}"},"target":{"rooms":["others"]}}"#])
            .args(["--warmup", "1", "--seconds", &WATCHED.to_string()]);
        Ok(Self(command.stdout(Stdio::piped()).spawn()?))
    }

    /// What they saw, once they are through.
    fn figures(mut self, run: &mut Run) -> Result<Value> {
        run.until(clock::now() + clock::nanos(PATIENCE), |_| Ok(self.0.try_wait()?.is_some()))?;
        Ok(serde_json::from_slice(&self.0.wait_with_output()?.stdout)?)
    }
}
