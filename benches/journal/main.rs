//! What the journal costs and what it gives, measured on the real binary: `scripts/bench journal [append|stream|latency|replay]`.
//!
//! Everything that is compared is run in turns, on the same disk, and the median of the rounds counts. The programs that ask
//! run on the same machine as those that answer, so the figures are those of the pair.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time, and ends with its process")]

mod h2load;
mod latency;
mod publish;
mod redis;
mod replay;
mod report;
mod server;

use std::path::PathBuf;

/// How often each measurement is taken.
const ROUNDS: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where the measured programs keep their files: on the disk of the build, unless BENCH_DIR says otherwise.
fn directory() -> PathBuf {
    let base = std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    base.join("journal")
}

#[tokio::main]
async fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|asked| asked == part);
    std::fs::create_dir_all(directory())?;
    if wanted("append") {
        publish::append(&directory()).await?;
    }
    if wanted("stream") {
        publish::stream(&directory()).await?;
    }
    if wanted("latency") {
        latency::measure(&directory()).await?;
    }
    if wanted("replay") {
        replay::measure(&directory()).await?;
    }
    Ok(())
}
