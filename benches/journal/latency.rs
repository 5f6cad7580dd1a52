//! How long one publisher waits for its answer when there is little to do.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use crate::{
    Result,
    args::{Args, Part},
    publish::{connect, empty, request},
    report::{self, Table},
    server::Server,
};

const EVENTS: usize = 500;

/// Light load: one event every five milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) async fn measure(args: &Args) -> Result<()> {
    let (mut answers, mut syncs, mut memory) = (vec![], vec![], vec![]);
    for _ in 0..args.rounds() {
        if args.with_peers() {
            syncs.push(report::median(&sync().await?));
        }
        answers.push(report::median(&answer(&[]).await?));
        memory.push(report::median(&answer(&[("JOURNAL", "memory")]).await?));
    }
    let title = "Time to an answer, one publisher, 200 events a second (medians)";
    let table = Table::new(args, Part::Latency, title);
    table.line("sqlite", "ms", &answers)?;
    table.line("memory", "ms", &memory)?;
    if args.with_peers() {
        table.line("one write of 8 KiB and fdatasync", "ms", &syncs)?;
    }
    Ok(())
}

async fn answer(settings: &[(&str, &str)]) -> Result<Vec<f64>> {
    let server = Server::start(&empty("data")?, settings).await?;
    let mut client = connect(&server.grpc).await?;
    let mut times = Vec::new();
    for user in 0..EVENTS as u64 {
        tokio::time::sleep(PAUSE).await;
        let asked = Instant::now();
        client.publish(request(user)).await?;
        times.push(report::millis(asked.elapsed()));
    }
    server.stop().await?;
    Ok(times)
}

/// What the disk itself takes, for as much as a small commit writes.
async fn sync() -> Result<Vec<f64>> {
    let file = File::create(empty("sync")?.join("file"))?;
    let block = [b'x'; 8_192];
    let mut times = Vec::new();
    for number in 0..EVENTS as u64 {
        tokio::time::sleep(PAUSE).await;
        let asked = Instant::now();
        file.write_all_at(&block, number * block.len() as u64)?;
        file.sync_data()?;
        times.push(report::millis(asked.elapsed()));
    }
    Ok(times)
}
