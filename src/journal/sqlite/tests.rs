use std::cell::RefCell;

use tempfile::TempDir;

use super::*;
use crate::journal::conformance;

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
    Arc::new(Sqlite::open(&options).expect("opens"))
}

conformance::suite!(open);

/// The same promises where next to nothing is held in memory, so that the file is read.
mod from_disk {
    use std::num::NonZeroUsize;

    use super::*;

    fn open(options: &Options) -> Arc<Sqlite> {
        super::open(&Options { memory_bytes: NonZeroUsize::MIN, ..options.clone() })
    }

    conformance::suite!(open);
}

/// The same promises where a page is made of what the file has and of what is held in memory.
mod from_both {
    use std::num::NonZeroUsize;

    use super::*;

    fn open(options: &Options) -> Arc<Sqlite> {
        super::open(&Options { memory_bytes: NonZeroUsize::new(4_096).expect("not zero"), ..options.clone() })
    }

    conformance::suite!(open);
}
