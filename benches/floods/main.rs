//! Healthy clients in quiet, and then beside a flood. `scripts/bench hostile` starts the servers and runs this beside them; each
//! run prints one line of JSON. The floods are those of the tests.
//!
//! The flood is a process of its own, which gives way to the healthy clients: they share a processor, as they do on no network.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a load generator measures real time, and prints what it found"
)]

mod args;
mod beside;
#[path = "../../tests/it/support/floods/mod.rs"]
mod floods;
mod healthy;
mod memory;
mod samples;

use std::io::{self, Read};

use args::{Command, Flooding};
use clap::Parser;
use floods::Flood;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args::Cli { command } = args::Cli::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    match command {
        Command::Beside(args) => println!("{}", beside::measure(&args).await?),
        Command::Flood(args) => flood(&args).await?,
    }
    Ok(())
}

/// Says when the flood stands; then, once standard input ends, how many connections it opened.
async fn flood(args: &Flooding) -> Result<()> {
    let flood = Flood::start(args.kind, args.target.get(), args.connections(), args.openings);
    flood.stands().await;
    println!("stands");
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    println!("{}", flood.openings());
    Ok(())
}

/// The kind of flood with a name.
fn kind(name: &str) -> std::result::Result<floods::Kind, String> {
    let names = || floods::ALL.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let found = floods::ALL.iter().find(|kind| kind.name == name).copied();
    found.ok_or_else(|| format!("there is no such flood; name one of {}", names()))
}

/// An error in words.
fn failed(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}
