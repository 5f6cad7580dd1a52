//! The write-ahead log as a file, for when the disk failed to sync it.
//!
//! After a sync that failed the system has given up what it could not write, says so once, and succeeds the next time: what was
//! written before and not synced may be missing on the disk, although whoever reads still gets it from memory. Carried over
//! from such a log, or kept behind such a hole, it would be lost by a power cut. So all of the log is written once more, in its
//! position, and synced, before anything is kept in it or carried over from it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How much is written at a time.
const CHUNK: usize = 1024 * 1024;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The first bytes of a log; the last bit says in which order the bytes of its checksums are.
const MAGIC: u32 = 0x377f_0682;

/// The log of the database file `path`.
pub(super) fn of(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

/// Writes the log at `path` once more, as it is, and syncs it. Nobody may write to it meanwhile.
pub(super) fn write_again(path: &Path) -> io::Result<()> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let (mut at, mut chunk) = (0, vec![0; CHUNK]);
    while at < length {
        let part = &mut chunk[..CHUNK.min(usize::try_from(length - at).unwrap_or(CHUNK))];
        file.read_exact_at(part, at)?;
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    if length == 0 { Ok(()) } else { file.sync_all() }
}

/// How many pages the log at `path` has that follow on each other without a hole.
pub(super) fn whole_pages(path: &Path) -> io::Result<u64> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let mut header = [0; HEADER];
    if length < HEADER as u64 {
        return Ok(0);
    }
    file.read_exact_at(&mut header, 0)?;
    let word = |bytes: &[u8], number: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| bytes[4 * number + byte]));
    let (magic, page) = (word(&header, 0), word(&header, 2) as usize);
    let mut sum = Sum { big_endian: magic & 1 == 1, sums: (0, 0) };
    sum.add(&header[..24]);
    if magic & !1 != MAGIC || sum.sums != (word(&header, 6), word(&header, 7)) {
        return Ok(0);
    }
    let (mut pages, mut frame) = (0, vec![0; FRAME_HEADER + page]);
    let size = frame.len() as u64;
    while HEADER as u64 + (pages + 1) * size <= length {
        file.read_exact_at(&mut frame, HEADER as u64 + pages * size)?;
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        let of_this_log = frame[8..16] == header[16..24];
        if !of_this_log || sum.sums != (word(&frame, 4), word(&frame, 5)) {
            break;
        }
        pages += 1;
    }
    Ok(pages)
}

/// The checksum of a log, which goes on from one page to the next.
struct Sum {
    big_endian: bool,
    sums: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            let word = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            self.sums.0 = self.sums.0.wrapping_add(word([a, b, c, d])).wrapping_add(self.sums.1);
            self.sums.1 = self.sums.1.wrapping_add(word([e, f, g, h])).wrapping_add(self.sums.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_log_is_written_as_it_was_and_a_hole_in_it_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notifications.db");
        let log = of(&path);
        write_again(&log).expect("there is nothing to do");
        let connection = Connection::open(&path).expect("opens");
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).expect("a log");
        connection.execute_batch("CREATE TABLE t (x)").expect("writes");
        for _ in 0..20 {
            connection.execute("INSERT INTO t VALUES (zeroblob(3000))", []).expect("writes");
        }
        let before = fs::read(&log).expect("the log");
        write_again(&log).expect("writes");
        assert_eq!(fs::read(&log).expect("the log"), before);
        let pages = (before.len() - HEADER) / (FRAME_HEADER + 4_096);
        assert_eq!(whole_pages(&log).expect("reads"), pages as u64);
        let mut holed = before;
        holed[HEADER + 10 * (FRAME_HEADER + 4_096) + 500] ^= 1;
        let elsewhere = dir.path().join("holed");
        fs::write(&elsewhere, holed).expect("writes");
        assert_eq!(whole_pages(&elsewhere).expect("reads"), 10);
    }
}
