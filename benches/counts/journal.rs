//! What it takes to write into the file of the journal, and to read from it. The file lies in memory: what is counted is the
//! service and the database in it, not a disk.

use std::{path::Path, sync::Arc};

use exposia_notifications::{
    broker::Rules,
    clock::System,
    config::Config,
    domain::{Audience, RoomId},
    journal::{Append, Outcome, Query, Read, Sqlite},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{Result, acts};

/// A file system in memory that every Linux has.
const MEMORY: &str = "/dev/shm";

/// How many entries are appended as one, and how many notifications a page has.
const BATCH: usize = 100;

/// So little is held in memory that what a run appends becomes several segments, and that a page is read from the file.
const HELD: usize = 128 * 1_024;

/// How many notifications lie in the file that is read.
const KEPT: usize = 20 * BATCH;

/// Appends so many entries, a hundred as one.
pub(crate) fn append(times: usize) -> Result<()> {
    let file = File::new()?;
    file.runtime.block_on(file.append(times))
}

/// Reads so many notifications, in pages of a hundred.
pub(crate) fn read(times: usize) -> Result<()> {
    let file = File::new()?;
    file.runtime.block_on(async {
        file.append(KEPT).await?;
        for _ in 0..times / BATCH {
            let page = file.journal.read(oldest()?).await?;
            if page.notifications.len() != BATCH {
                return Err("a page is not full".into());
            }
        }
        Ok(())
    })
}

/// A journal by itself.
struct File {
    journal: Sqlite,
    runtime: Runtime,
    _dir: TempDir,
}

impl File {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir_in(Path::new(MEMORY))?;
        let mut options = Config::defaults().journal;
        options.data_dir = dir.path().to_owned();
        options.memory_bytes = HELD.try_into()?;
        Ok(Self {
            journal: Sqlite::open(&options, Arc::new(System::default()))?,
            runtime: Builder::new_current_thread().enable_all().build()?,
            _dir: dir,
        })
    }

    async fn append(&self, entries: usize) -> Result<()> {
        let entry = acts::entry(&Rules::default())?;
        for _ in 0..entries / BATCH {
            let outcomes = self.journal.append(vec![entry.clone(); BATCH]).await?.outcomes;
            if !outcomes.iter().all(|outcome| matches!(outcome, Outcome::Appended(..))) {
                return Err("an entry was not appended".into());
            }
        }
        Ok(())
    }
}

/// What is kept the longest for the room that the entries are for.
fn oldest() -> Result<Query> {
    Ok(Query {
        audiences: Some(vec![Audience::Room(RoomId::parse("tema_7")?)]),
        after: 0,
        before: None,
        since: None,
        limit: BATCH,
        max_bytes: usize::MAX,
        newest_first: false,
    })
}
