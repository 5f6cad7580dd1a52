//! Everybody is cut off at once, misses something, and comes back for it, while a few others go on.

use serde_json::{Value, json};

use crate::{
    Result,
    args::{Pace, Storm},
    clock,
    idle::{self, Held},
    others::Others,
    process::Server,
    run::{PATIENCE, Run},
};

/// How many notifications everybody misses.
const MISSED: u64 = 5;

/// How long the others are watched before the storm, in seconds, once they have begun.
const QUIET: f64 = 5.0;
const BEGINNING: f64 = 2.0;

pub(crate) fn measure(args: &Storm) -> Result<Value> {
    let server = Server::new(args.connect.pid);
    let (mut run, held) = idle::hold(&args.connect, args.seconds, &server)?;
    let others = Others::watch(&args.connect);
    run.rest(BEGINNING)?;
    let quiet = clock::now();
    run.rest(QUIET)?;
    run.publish_by(&args.publish, &args.connect)?;
    let cut = clock::now();
    run.cut()?;
    miss(&mut run)?;
    let (arrived, missed) = (run.meter.total, clock::now());
    let back_in = run.reconnect(&args.back)?;
    let received = run.meter.total - arrived;
    let seen = others.seen()?;
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
        "others_received_of_sent": seen.received(),
        "others_quiet": seen.between(quiet..cut),
        "others_during": seen.between(cut..missed + clock::nanos(back_in)),
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
