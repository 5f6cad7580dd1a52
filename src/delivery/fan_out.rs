//! The loop that delivers what the journal committed to one shard of the rooms.

use std::{mem, sync::Arc};

use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

use crate::{
    domain::Delivery,
    journal::{CommitStream, Follow},
    rooms::{Member, Shard, Writer},
    worker::Worker,
};

/// How many members are flushed before other tasks of this thread get their turn.
const FLUSHES_PER_YIELD: usize = 128;

/// How many batches that wait behind the first one go out with it.
const MORE_BATCHES: usize = 16;

/// No more batches go out together once they have so many bytes: what members hold for the end of a batch is little beside what they
/// may hold, and those who read what they are given get it before there is more.
const BYTES_TOGETHER: usize = 64 * 1024;

/// The loops for all shards, which follow the journal already and run later.
#[derive(Debug)]
pub struct FanOuts(Vec<FanOut>);

impl FanOuts {
    /// Makes a fan-out for each shard of `rooms`. From now on, what `journal` commits waits for them.
    pub fn new(journal: &(impl Follow + ?Sized), rooms: &Writer) -> Self {
        let follow = |shard: &Arc<Shard>| FanOut { commits: journal.commit_stream(), shard: Arc::clone(shard) };
        Self(rooms.shards().iter().map(follow).collect())
    }

    /// Starts the tasks. They end when the journal ended its commit streams and all that was committed is delivered.
    pub fn spawn(self, tasks: &TaskTracker) -> Vec<Worker> {
        let start = |(shard, fan_out): (usize, FanOut)| Worker::spawn(format!("fan-out-{shard}"), tasks, fan_out.run());
        self.0.into_iter().enumerate().map(start).collect()
    }
}

#[derive(Debug)]
struct FanOut {
    commits: CommitStream,
    shard: Arc<Shard>,
}

impl FanOut {
    /// Offers everything that is committed, then flushes each member once: what piled up meanwhile goes out in one
    /// write, and what comes alone goes out at once.
    async fn run(mut self) {
        let mut to_flush: Vec<Arc<dyn Member>> = Vec::new();
        while let Some(batch) = self.commits.next().await {
            let mut bytes = self.enqueue(&batch, &mut to_flush);
            for _ in 0..MORE_BATCHES {
                // A batch may be for everybody: what comes next can wait for others' turn.
                yield_now().await;
                if bytes >= BYTES_TOGETHER {
                    break;
                }
                let Some(batch) = self.commits.try_next() else { break };
                bytes += self.enqueue(&batch, &mut to_flush);
            }
            for (flushed, member) in mem::take(&mut to_flush).into_iter().enumerate() {
                member.flush();
                if flushed % FLUSHES_PER_YIELD == FLUSHES_PER_YIELD - 1 {
                    yield_now().await;
                }
            }
            if bytes >= BYTES_TOGETHER {
                // Those whose own tasks take what waits were only called: now they can.
                yield_now().await;
            }
        }
    }

    /// Offers a batch, and says how many bytes it has.
    fn enqueue(&self, batch: &[Delivery], to_flush: &mut Vec<Arc<dyn Member>>) -> usize {
        self.shard.enqueue(batch, to_flush);
        batch.iter().map(Delivery::size).sum()
    }
}
