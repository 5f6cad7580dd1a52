//! The loop that delivers what the journal committed to one shard of the rooms.

use std::{mem, sync::Arc};

use tokio::task::yield_now;

use crate::{
    domain::Delivery,
    journal::Tail,
    rooms::{Member, Shard},
};

/// How many members are flushed before other tasks of this thread get their turn.
const FLUSHES_PER_TURN: usize = 128;

/// How many batches that wait behind the first one go out with it.
const MORE_BATCHES: usize = 16;

/// No more batches go out together once they have so many bytes: what members hold for the end of a batch is little beside what they
/// may hold, and those who read what they are given get it before there is more.
const BYTES_TOGETHER: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct FanOut {
    tail: Tail,
    shard: Arc<Shard>,
}

impl FanOut {
    pub(super) fn new(tail: Tail, shard: Arc<Shard>) -> Self {
        Self { tail, shard }
    }

    /// Offers everything that is committed, then flushes each member once: what piled up meanwhile goes out in one
    /// write, and what comes alone goes out at once.
    pub(super) async fn run(mut self) {
        let mut due: Vec<Arc<dyn Member>> = Vec::new();
        while let Some(batch) = self.tail.next().await {
            let mut bytes = self.offer(&batch, &mut due);
            for _ in 0..MORE_BATCHES {
                // A batch may be for everybody: what comes next can wait for others' turn.
                yield_now().await;
                if bytes >= BYTES_TOGETHER {
                    break;
                }
                let Some(batch) = self.tail.try_next() else { break };
                bytes += self.offer(&batch, &mut due);
            }
            for (flushed, member) in mem::take(&mut due).into_iter().enumerate() {
                member.flush();
                if flushed % FLUSHES_PER_TURN == FLUSHES_PER_TURN - 1 {
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
    fn offer(&self, batch: &[Delivery], due: &mut Vec<Arc<dyn Member>>) -> usize {
        self.shard.offer(batch, due);
        batch.iter().map(Delivery::size).sum()
    }
}
