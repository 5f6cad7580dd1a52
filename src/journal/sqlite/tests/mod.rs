use std::{cell::RefCell, fs, num::NonZeroUsize};

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::journal::conformance::{self, entry_of, everything, options};

thread_local! {
    /// The data directories of a test: they go when its thread ends.
    static DIRS: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
}

fn empty_dir() -> std::path::PathBuf {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    DIRS.with_borrow_mut(|dirs| dirs.push(dir));
    path
}

fn open(options: &Options) -> Arc<Sqlite> {
    let options = Options { data_dir: empty_dir(), ..options.clone() };
    Arc::new(Sqlite::open(&options, conformance::clock()).expect("opens"))
}

conformance::suite!(open, conformance::advance);
conformance::embedded::suite!(open, conformance::advance);
conformance::clocks::suite!(open);

/// The same promises where next to nothing is held in memory, so that the file is read.
mod from_disk {
    use super::*;

    fn open(options: &Options) -> Arc<Sqlite> {
        super::open(&Options { memory_bytes: NonZeroUsize::MIN, ..options.clone() })
    }

    conformance::suite!(open, conformance::advance);
    conformance::embedded::suite!(open, conformance::advance);
    conformance::clocks::suite!(open);
}

/// The same promises where a page is made of what the file has and of what is held in memory.
mod from_both {
    use super::*;

    fn open(options: &Options) -> Arc<Sqlite> {
        super::open(&Options { memory_bytes: NonZeroUsize::new(4_096).expect("not zero"), ..options.clone() })
    }

    conformance::suite!(open, conformance::advance);
    conformance::embedded::suite!(open, conformance::advance);
    conformance::clocks::suite!(open);
}

mod clocks;
mod damage;

// A log is written over only when nobody reads what it holds, and there is always somebody here.
#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_is_bounded_while_somebody_always_reads() {
    let max_bytes = NonZeroUsize::new(8 * 1024 * 1024).expect("not zero");
    let options = Options { max_bytes, memory_bytes: NonZeroUsize::MIN, data_dir: empty_dir(), ..options() };
    let journal = Arc::new(Sqlite::open(&options, conformance::clock()).expect("opens"));
    let log = options.data_dir.join(format!("{}-wal", files::FILE));
    let payload = format!("{{\"x\":\"{}\"}}", "x".repeat(1_024));
    let batch = || (0..64).map(|_| entry_of("event", Audience::Everyone, &payload)).collect();
    journal.append(batch()).await.expect("appended");
    let mut crowd = JoinSet::new();
    for _ in 0..8 {
        let journal = Arc::clone(&journal);
        crowd.spawn(async move {
            loop {
                journal.read(everything()).await.expect("read");
            }
        });
    }
    for _ in 0..256 {
        journal.append(batch()).await.expect("appended");
    }
    let bytes = fs::metadata(log).expect("there").len();
    assert!(crowd.try_join_next().is_none());
    assert!(bytes < 4 * retention::log_bytes(&options), "{bytes} bytes");
}
