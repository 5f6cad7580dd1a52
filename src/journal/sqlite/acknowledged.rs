//! The newest place that was acknowledged, written down beside the journal: a journal that ends before it lost something.
//!
//! The database cannot tell by itself. A write-ahead log that is damaged in the middle ends there, and looks like one whose
//! last commit was torn off; an older copy of the file looks like any other.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use crate::domain::{Epoch, Seq};

/// The name of the file in the data directory: one line, the epoch and the place.
const FILE: &str = "acknowledged";

/// Where the newest acknowledged place is noted.
#[derive(Debug)]
pub(super) struct Acknowledged {
    file: File,
    epoch: Epoch,
}

impl Acknowledged {
    /// Begins to note the places of `epoch`.
    pub(super) fn open(dir: &Path, epoch: Epoch) -> std::io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(dir.join(FILE))?;
        Ok(Self { file, epoch })
    }

    /// Notes that everything up to `seq` is about to be acknowledged. It is not synced: after a power cut an older place may
    /// stand there, with which less is found, but nothing that is not so.
    pub(super) fn note(&mut self, seq: Seq) -> std::io::Result<()> {
        // Always as long as before, so that nothing of an older line remains, and no room is needed where there was some.
        let line = format!("{} {seq:020}\n", self.epoch);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(line.as_bytes())
    }
}

/// The newest place of `epoch` that was noted in `dir`.
pub(super) fn newest(dir: &Path, epoch: &Epoch) -> Option<Seq> {
    let text = fs::read_to_string(dir.join(FILE)).ok()?;
    let (of, seq) = text.lines().next()?.split_once(' ')?;
    (of == epoch.as_str()).then(|| seq.parse().ok()).flatten()
}
