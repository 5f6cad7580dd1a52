//! The newest position that was acknowledged, written down beside the journal: a journal that ends before it lost something.
//!
//! The database cannot tell by itself. A write-ahead log that is damaged in the middle ends there, and looks like one whose
//! last commit was torn off; an older copy of the file looks like any other.

use std::{
    fs::{self, File},
    io::{ErrorKind, Seek, SeekFrom, Write},
    path::Path,
};

use crate::domain::{Epoch, Seq};

/// The name of the file in the data directory: one line, the epoch, the position and check digits of both.
const FILE: &str = "acknowledged";

/// Where the newest acknowledged position is noted.
#[derive(Debug)]
pub(super) struct AckWatermark {
    file: File,
    /// How long a note is there that may be longer than ours.
    length: u64,
    epoch: Epoch,
}

impl AckWatermark {
    /// Begins to note the positions of `epoch`.
    pub(super) fn open(dir: &Path, epoch: Epoch) -> std::io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(dir.join(FILE))?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, epoch })
    }

    /// Notes that everything up to `seq` is about to be acknowledged. It is not synced: after a power cut an older position may
    /// stand there, with which less is found, but nothing that is not so.
    pub(super) fn note(&mut self, seq: Seq) -> std::io::Result<()> {
        // Always as long as before, so that nothing of an older line remains, and no room is needed where there was some.
        let line = format!("{}\n", sealed(&format!("{} {seq:020}", self.epoch)));
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(line.as_bytes())?;
        if self.length > line.len() as u64 {
            self.file.set_len(line.len() as u64)?;
            self.length = 0;
        }
        Ok(())
    }
}

/// A note with its check digits: one that was torn may look like another.
fn sealed(note: &str) -> String {
    format!("{note} {:08x}", crc32fast::hash(note.as_bytes()))
}

/// What the note in a data directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// There is none.
    Absent,
    /// It says nothing that could be read.
    Garbled,
    /// The newest position that an epoch acknowledged.
    Named {
        /// The epoch.
        epoch: Epoch,
        /// The position; 0 when there was none yet.
        seq: Seq,
    },
}

/// Reads the note in `dir`.
pub(super) fn read(dir: &Path) -> Note {
    let text = match fs::read(dir.join(FILE)) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Note::Absent,
        Err(_) => return Note::Garbled,
    };
    let named = || {
        let line = str::from_utf8(&text).ok()?.strip_suffix('\n')?;
        // Those of earlier versions have no check digits.
        let note = if line.matches(' ').count() == 1 { line } else { line.rsplit_once(' ')?.0 };
        if note != line && line != sealed(note) {
            return None;
        }
        let (epoch, seq) = note.split_once(' ')?;
        Some(Note::Named { epoch: Epoch::from_text(epoch), seq: seq.parse().ok()? })
    };
    match named() {
        None if text.is_empty() => Note::Absent,
        named => named.unwrap_or(Note::Garbled),
    }
}

/// Takes the note away, for a journal that begins anew.
pub(super) fn forget(dir: &Path) -> std::io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The newest position of `epoch` that was noted in `dir`.
pub(super) fn newest(dir: &Path, epoch: &Epoch) -> Option<Seq> {
    match read(dir) {
        Note::Named { epoch: of, seq } if of == *epoch => Some(seq),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_garbage_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(read(dir.path()), Note::Absent);
        let epoch = Epoch::from_text("e");
        let mut noted = AckWatermark::open(dir.path(), epoch.clone()).expect("opens");
        assert_eq!(read(dir.path()), Note::Absent);
        noted.note(7).expect("writes");
        noted.note(1_000).expect("writes");
        assert_eq!(read(dir.path()), Note::Named { epoch: epoch.clone(), seq: 1_000 });
        assert_eq!(newest(dir.path(), &epoch), Some(1_000));
        assert_eq!(newest(dir.path(), &Epoch::from_text("another")), None);
        fs::write(dir.path().join(FILE), "e 00000000000000000007\n").expect("writes");
        assert_eq!(newest(dir.path(), &epoch), Some(7), "of an earlier version");
        let torn = sealed("e 00000000000000000644").replace("644", "654") + "\n";
        for garbled in ["e 7", "e\n", "e x\n", "\0\0", &torn] {
            fs::write(dir.path().join(FILE), garbled).expect("writes");
            assert_eq!(read(dir.path()), Note::Garbled, "{garbled:?}");
        }
    }
}
