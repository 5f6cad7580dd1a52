//! How long one publisher waits for its answer when there is little to do.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    ROUNDS, Result,
    publish::{connect, empty, request},
    report,
    server::Server,
};

const EVENTS: usize = 500;

/// Light load: one event every five milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) async fn measure(dir: &Path) -> Result<()> {
    let (mut answers, mut syncs, mut memory) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        syncs.push(report::median(&sync(dir).await?));
        answers.push(report::median(&answer(dir, &[]).await?));
        memory.push(report::median(&answer(dir, &[("JOURNAL", "memory")]).await?));
    }
    report::head("Time to an answer, one publisher, 200 events a second (medians)");
    report::line("sqlite", "ms", &answers);
    report::line("memory", "ms", &memory);
    report::line("one write of 8 KiB and fdatasync", "ms", &syncs);
    Ok(())
}

async fn answer(dir: &Path, settings: &[(&str, &str)]) -> Result<Vec<f64>> {
    let server = Server::start(&empty(dir, "data")?, settings).await?;
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
async fn sync(dir: &Path) -> Result<Vec<f64>> {
    let file = File::create(empty(dir, "sync")?.join("file"))?;
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
