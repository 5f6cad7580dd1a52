//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use crate::{
    floods::{Kind, Target},
    kind,
};

#[derive(Debug, Parser)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure healthy clients in quiet, and then beside a flood.
    Beside(Beside),
    /// The process that `beside` starts to flood.
    #[command(hide = true)]
    Flood(Flooding),
}

/// Who is flooded.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Where {
    /// Where the server listens for HTTP and WebSockets.
    #[arg(long)]
    pub(crate) http: SocketAddr,
    /// Where it listens for gRPC.
    #[arg(long)]
    pub(crate) grpc: SocketAddr,
}

impl Where {
    pub(crate) fn get(self) -> Target {
        Target { http: self.http, grpc: self.grpc, token: "dev" }
    }
}

/// By what.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flooding {
    #[command(flatten)]
    pub(crate) target: Where,
    /// The kind of flood.
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Kind,
    /// It has one of so many of its connections.
    #[arg(long, default_value_t = 1)]
    pub(crate) part: usize,
    /// How many of them it may open a second, those that were hung up on among them.
    #[arg(long, default_value_t = 100)]
    pub(crate) openings: u32,
}

impl Flooding {
    /// How many connections it has.
    pub(crate) fn connections(&self) -> usize {
        self.kind.connections.div_ceil(self.part)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Beside {
    #[command(flatten)]
    pub(crate) flood: Flooding,
    /// The server's process, whose memory is read.
    #[arg(long)]
    pub(crate) pid: u32,
    /// Seconds that are measured in quiet.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) quiet: f64,
    /// Seconds that are measured beside the flood once it stands; what passes until then is measured, too.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
}
