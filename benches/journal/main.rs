//! What the journal costs and what it gives, measured on the real binary: `scripts/bench journal [append|stream|latency|replay]...`.
//!
//! Everything that is compared is run in turns, on the same disk, and the median of the rounds counts. The programs that ask
//! run on the same machine as those that answer, so the figures are those of the pair. SERVER names the binary, should it be another
//! revision's: nothing here may ask more of it than of this one, and what it reads from disk it wrote itself.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time, and ends with its process")]

mod args;
mod fill;
mod h2load;
mod latency;
mod publish;
mod redis;
mod replay;
mod report;
mod server;

use args::{Args, Part};
use clap::Parser;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    std::fs::create_dir_all(Args::directory())?;
    if args.wants(Part::Append) {
        publish::append(&args).await?;
    }
    if args.wants(Part::Stream) {
        publish::stream(&args).await?;
    }
    if args.wants(Part::Latency) {
        latency::measure(&args).await?;
    }
    if args.wants(Part::Replay) {
        replay::measure(&args).await?;
    }
    Ok(())
}
