//! What connections cost that do nothing.

use serde_json::{Value, json};

use crate::{
    Result,
    args::{Idle, Pace},
    clock,
    process::Server,
    run::Run,
};

pub(crate) fn measure(args: &Idle) -> Result<Value> {
    let server = Server::new(args.connect.pid);
    let before = server.resident()?;
    let began = clock::now();
    let mut run = Run::connected(&args.connect, &args.publish, 0)?;
    let connected_in = clock::seconds(clock::now() - began);
    let rest = |run: &mut Run, seconds| run.until(clock::now() + clock::nanos(seconds), |_| Ok(false));
    rest(&mut run, 2.0)?;
    let connected = server.resident()?;
    let cpu = server.cpu_seconds()?;
    rest(&mut run, args.seconds)?;
    let cpu = server.cpu_seconds()? - cpu;
    let open = f64::from(run.swarm.open());
    run.receivers = u64::from(run.swarm.open());
    run.measure(Pace { rate: None, window: 64, warmup: 0.0, seconds: 2.0 }, &server)?;
    rest(&mut run, 5.0)?;
    Ok(json!({
        "open": open,
        "connected_in": connected_in,
        "bytes_per_connection": (connected - before) / open,
        "bytes_per_connection_after_burst": (server.resident()? - before) / open,
        "microseconds_per_connection_second": cpu * 1e6 / open / args.seconds,
    }))
}
