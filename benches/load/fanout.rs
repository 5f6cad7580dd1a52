//! What one server delivers, for how much of its CPU time, and how late.

use serde_json::{Value, json};

use crate::{Result, args::Fanout, process::Server, run::Run};

pub(crate) fn measure(args: &Fanout) -> Result<Value> {
    let server = Server::new(args.connect.pid);
    let (mut run, _) = Run::connected(&args.connect, args.stalled)?;
    run.publish_by(&args.publish, &args.connect)?;
    let rooms = args.publish.into.unwrap_or(args.connect.rooms).max(1);
    run.receivers = u64::from(run.swarm.open().saturating_sub(args.stalled)) / u64::from(rooms);
    let used = run.measure(args.pace, &server)?;
    Ok(json!({
        "open": run.swarm.open(),
        "deliveries_per_cpu_second": used.arrived as f64 / used.server_cpu,
        "deliveries_per_second": used.arrived as f64 / used.seconds,
        "publishes_per_second": used.answered as f64 / used.seconds,
        "microseconds_per_publish": used.server_cpu * 1e6 / used.answered as f64,
        "refused": run.publisher.as_ref().map(|publisher| publisher.refused),
        "bytes_per_delivery": run.meter.bytes as f64 / run.meter.total.max(1) as f64,
        "received": run.meter.measured(),
        "server_cpu": used.server_cpu / used.seconds,
        "own_cpu": used.own_cpu / used.seconds,
        "resident": server.resident()?,
        "latency": run.meter.latency(),
    }))
}
