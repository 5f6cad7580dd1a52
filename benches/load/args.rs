//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Run on this CPU only.
    #[arg(long, global = true)]
    pub(crate) cpu: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bare writes to many sockets: what no server can exceed.
    Limit(Limit),
    /// The process that `limit` starts to write.
    #[command(hide = true)]
    Writer(Writer),
    /// Publish over HTTP, and receive.
    Fanout(Fanout),
    /// Hold connections that do nothing.
    Idle(Idle),
    /// Hold connections, cut them off, and have them come back at once.
    Storm(Storm),
}

/// Who connects, and to whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// Where the server listens for WebSockets.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The path of a subscriber; {i} is its number and {room} the number of its room.
    #[arg(long, default_value = "/ws/c{i}?room=r{room}&user_id=u{i}")]
    pub(crate) path: String,
    #[arg(long, default_value_t = 1_000)]
    pub(crate) conns: u32,
    #[arg(long, default_value_t = 1)]
    pub(crate) rooms: u32,
    /// A text that each subscriber sends first, for protocols on top of WebSocket.
    #[arg(long)]
    pub(crate) hello: Option<String>,
    /// Offer to compress, and read what is compressed.
    #[arg(long)]
    pub(crate) deflate: bool,
    /// The server's process, whose CPU time and memory are read together with its children's.
    #[arg(long)]
    pub(crate) pid: u32,
}

/// When to publish, and for how long.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Pace {
    /// Notifications a second, on time whether or not the server keeps up; without, as fast as it goes.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// How many notifications may be on their way when it goes as fast as it can.
    #[arg(long, default_value_t = 64)]
    pub(crate) window: u32,
    /// Seconds before measuring begins.
    #[arg(long, default_value_t = 0.7)]
    pub(crate) warmup: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

/// What to publish, and where.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The path to POST to; {room}, {seq}, {ts} and {pad} are replaced, here and in the body, and {hundred} by the names of a
    /// hundred rooms.
    #[arg(long, default_value = "/notify")]
    pub(crate) to: String,
    #[arg(
        long,
        default_value = r#"{"event":"bench.event","payload":{"ts":"{ts}","seq":{seq},"pad":"{pad}"},"target":{"rooms":["r{room}"]}}"#
    )]
    pub(crate) body: String,
    /// How long {pad} is.
    #[arg(long, default_value_t = 200)]
    pub(crate) pad: usize,
    /// Over how many rooms the notifications go in turn; as many as the subscribers have, unless it is said.
    #[arg(long)]
    pub(crate) into: Option<u32>,
    /// How many connections publish.
    #[arg(long, default_value_t = 1)]
    pub(crate) publishers: u32,
    /// How many requests each of them may wait for.
    #[arg(long, default_value_t = 4)]
    pub(crate) inflight: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Limit {
    #[arg(long, default_value_t = 1_000)]
    pub(crate) conns: u32,
    /// How many frames go into one write.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: u32,
    #[arg(long, default_value_t = 200)]
    pub(crate) pad: usize,
    /// The CPU that the writer runs on.
    #[arg(long)]
    pub(crate) writer_cpu: usize,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

#[derive(Debug, Args)]
pub(crate) struct Writer {
    #[arg(long)]
    pub(crate) conns: u32,
    #[arg(long)]
    pub(crate) batch: u32,
    #[arg(long)]
    pub(crate) pad: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Fanout {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(flatten)]
    pub(crate) publish: Publish,
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// How many of the subscribers stop to read once they are connected.
    #[arg(long, default_value_t = 0)]
    pub(crate) stalled: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// Seconds over which CPU time is read, after everybody is connected.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) seconds: f64,
    #[command(flatten)]
    pub(crate) publish: Publish,
}

#[derive(Debug, Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// The path by which they come back, with the place where they were.
    #[arg(long)]
    pub(crate) back: String,
    /// Seconds over which CPU time is read before they are cut off.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) seconds: f64,
    #[command(flatten)]
    pub(crate) publish: Publish,
}
