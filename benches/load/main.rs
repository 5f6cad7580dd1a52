//! Load on one server, as cheap as the kernel allows, and what the server spends on it. `scripts/bench` starts the servers
//! and runs this beside them; each run prints one line of JSON.
//!
//! One thread reads all sockets, edge-triggered, into one buffer, and looks for nothing in a message but its time.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a load generator measures real time, and prints what it found"
)]

mod args;
mod clock;
mod fanout;
mod frame;
mod http;
mod idle;
mod limit;
mod meter;
mod others;
mod process;
mod publisher;
mod run;
mod storm;
mod swarm;
mod template;

use args::Command;
use clap::Parser;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let args::Cli { command, cpu } = args::Cli::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    if let Some(cpu) = cpu {
        process::pin(cpu)?;
    }
    let figures = match command {
        Command::Limit(args) => limit::measure(&args)?,
        Command::Writer(args) => return limit::write(&args),
        Command::Fanout(args) => fanout::measure(&args)?,
        Command::Idle(args) => idle::measure(&args)?,
        Command::Storm(args) => storm::measure(&args)?,
    };
    println!("{figures}");
    Ok(())
}
