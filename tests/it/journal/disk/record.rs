//! The record of what a process did to its files.

use std::{fs, path::Path};

/// The size of an operation's head: see `struct head` in `tests/disk/record.c`.
pub(super) const HEAD: usize = 32;

/// An operation, and where in the record it begins.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) begins: u64,
    pub(super) operation: Operation,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// A process began; what an earlier one had open is closed.
    Process,
    Open {
        fd: i32,
        flags: u64,
        name: String,
    },
    Close {
        fd: i32,
    },
    Write {
        fd: i32,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        fd: i32,
        length: usize,
    },
    Sync {
        fd: i32,
    },
    FailedSync {
        fd: i32,
    },
    Unlink {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Link {
        from: String,
        to: String,
    },
}

/// Reads a record.
pub(super) fn read(path: &Path) -> Vec<Entry> {
    let record = fs::read(path).expect("a record");
    let (mut entries, mut rest) = (Vec::new(), record.as_slice());
    while !rest.is_empty() {
        let begins = (record.len() - rest.len()) as u64;
        let (operation, size) = operation(rest).unwrap_or_else(|| panic!("the record is torn at {begins}"));
        entries.push(Entry { begins, operation });
        rest = &rest[size..];
    }
    entries
}

/// The first operation, and its size.
fn operation(bytes: &[u8]) -> Option<(Operation, usize)> {
    let head = bytes.get(..HEAD)?;
    let length = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let fd = length(4) as i32;
    let offset = u64::from_ne_bytes(head[8..16].try_into().expect("eight bytes"));
    let name_end = HEAD + length(16) as usize;
    let other_end = name_end + length(20) as usize;
    let end = other_end + length(24) as usize;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("names of ours are UTF-8");
    let (name, other) = (text(bytes.get(HEAD..name_end)?), text(bytes.get(name_end..other_end)?));
    let data = bytes.get(other_end..end)?;
    let operation = match head[0] {
        b'P' => Operation::Process,
        b'O' => Operation::Open { fd, flags: offset, name },
        b'C' => Operation::Close { fd },
        b'W' => Operation::Write { fd, offset: offset as usize, data: data.to_vec() },
        b'T' => Operation::Truncate { fd, length: offset as usize },
        b'S' => Operation::Sync { fd },
        b'F' => Operation::FailedSync { fd },
        b'U' => Operation::Unlink { name },
        b'R' => Operation::Rename { from: name, to: other },
        b'L' => Operation::Link { from: name, to: other },
        other => panic!("the record has an operation {other}"),
    };
    Some((operation, end))
}
