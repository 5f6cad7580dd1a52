//! The threads of an open file, and their end.

use std::{sync::Arc, thread::JoinHandle};

use parking_lot::Mutex;

use crate::{
    journal::sqlite::{queue::Queue, reader::Readers},
    worker::Worker,
};

/// The threads that write and read, with the queues to them. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) queue: Arc<Queue>,
    pub(super) readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    workers: Vec<Worker>,
}

impl Threads {
    pub(super) fn new(queue: Arc<Queue>, readers: Readers, writer: JoinHandle<()>, workers: Vec<Worker>) -> Self {
        Self { queue, readers, writer: Mutex::new(Some(writer)), workers }
    }

    pub(super) fn workers(&self) -> Vec<Worker> {
        self.workers.clone()
    }

    /// Commits what waits, carries everything over into the file, and gives the data directory back. Blocks meanwhile; what
    /// is appended later is refused.
    pub(super) fn end(&self) {
        // The last connection to the file is the writer's: it leaves no write-ahead log behind.
        self.readers.close();
        self.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has said so, and has nothing left to do.
            let _ = writer.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}
