//! The log: gives each notification its `seq`, keeps it, and hands what is committed to the fan-out.
//!
//! One set of traits, one engine for each store. An engine passes the suite in `conformance` or it is not one.
//! The broker appends, the fan-out follows the commit stream, subscribers read; nothing else writes here.

mod aging;
mod attend;
mod commit_stream;
#[cfg(test)]
mod conformance;
mod contract;
mod error;
mod faults;
mod idempotency;
mod log;
mod memory;
mod options;
mod sqlite;

use std::sync::Arc;

use tokio::task::spawn_blocking;

pub use attend::{Attend, Attendance, Attended, Attending};
pub use commit_stream::{Batch, CommitFanout, CommitStream};
pub use contract::{
    Answer, Append, Bounds, Condition, Entry, Follow, Incarnation, Journal, Outcome, Page, Query, Read, Relay, Stored,
};
pub use error::Error;
pub use memory::Memory;
pub use options::{Engine, Options, Promise};
pub use sqlite::{JournalTool, JournalToolError, Sqlite};

use crate::clock::Clock;

/// Opens the journal that the settings name: the one place that knows all engines. A disk may take its time; whoever does not
/// want to wait any longer lets go of this.
pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Arc<dyn Journal>, Error> {
    let journal: Arc<dyn Journal> = match options.engine {
        Engine::Memory => Arc::new(Memory::new(&options, clock)),
        Engine::Sqlite => {
            let opening = spawn_blocking(move || Sqlite::open(&options, clock)).await;
            Arc::new(opening.map_err(|panic| Error::Io(panic.to_string()))??)
        }
    };
    Ok(journal)
}
