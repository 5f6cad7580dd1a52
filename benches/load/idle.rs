//! What connections cost that do nothing.

use serde_json::{Value, json};

use crate::{
    Result,
    args::{Connect, Idle, Pace},
    process::Server,
    run::Run,
};

/// How long memory is given to settle, in seconds.
pub(crate) const SETTLING: f64 = 3.0;

pub(crate) fn measure(args: &Idle) -> Result<Value> {
    let server = Server::new(args.connect.pid);
    let (mut run, held) = hold(&args.connect, args.seconds, &server)?;
    run.publish_by(&args.publish, &args.connect)?;
    run.receivers = u64::from(run.swarm.open());
    run.measure(Pace { rate: None, window: 64, warmup: 0.0, seconds: 2.0 }, &server)?;
    run.rest(SETTLING)?;
    let after_burst = held.bytes_each(&server)?;
    Ok(json!({
        "open": held.open,
        "connected_in": held.connected_in,
        "bytes_per_connection": held.bytes,
        "bytes_per_connection_after_burst": after_burst,
        "microseconds_per_connection_second": held.microseconds,
    }))
}

/// Connections that do nothing, and what the server spends on each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) open: f64,
    /// Seconds until all of them were open.
    pub(crate) connected_in: f64,
    pub(crate) bytes: f64,
    /// Of CPU, a second.
    pub(crate) microseconds: f64,
    resident_before: f64,
}

impl Held {
    /// What the server's memory has grown by since before they came, for each of them.
    pub(crate) fn bytes_each(&self, server: &Server) -> Result<f64> {
        Ok((server.resident()? - self.resident_before) / self.open)
    }
}

/// Connects everybody and watches for so many seconds.
pub(crate) fn hold(connect: &Connect, seconds: f64, server: &Server) -> Result<(Run, Held)> {
    let resident_before = server.resident()?;
    let (mut run, connected_in) = Run::connected(connect, 0)?;
    let open = f64::from(run.swarm.open());
    run.rest(SETTLING)?;
    let mut held = Held { open, connected_in, bytes: 0.0, microseconds: 0.0, resident_before };
    held.bytes = held.bytes_each(server)?;
    let cpu = server.cpu_seconds()?;
    run.rest(seconds)?;
    held.microseconds = (server.cpu_seconds()? - cpu) * 1e6 / open / seconds;
    Ok((run, held))
}
