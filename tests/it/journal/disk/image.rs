//! What is on a disk: what was synced for certain, and of the rest what chance leaves.
//!
//! The rules are those that programs may count on, and no better ones. What was written to a file is on the disk once the
//! file was synced; before that each write is there, is not, or is there in part: old and new by sectors of 512 bytes, and one
//! of several torn at a byte. A write that did not come through may have made the file longer all the same, with zeros. A name comes,
//! goes or moves for certain once the directory was synced; that a file is there, also once the file itself was. A sync that
//! fails leaves the bytes that waited for it to chance for good: a later one says nothing of them.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use rand::{RngExt, rngs::StdRng};

use super::{Files, record::Operation};

const SECTOR: usize = 512;

/// The files of the directory, by number: a name may come to stand for another file.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    files: Vec<File>,
    /// As a process sees it.
    names: BTreeMap<String, usize>,
    /// As it is for certain after a power cut.
    synced_names: BTreeMap<String, usize>,
    /// What leads from these to those.
    changes: Vec<Change>,
    /// `None` for the directory itself.
    open: HashMap<i32, Option<usize>>,
}

#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    waiting: Vec<Waiting>,
}

/// What was done to the content of a file and not synced.
#[derive(Debug, Clone)]
enum Waiting {
    Write { offset: usize, data: Vec<u8> },
    Truncate(usize),
}

/// What was done to a name and not synced.
#[derive(Debug, Clone)]
enum Change {
    Add(String, usize),
    Remove(String, usize),
    /// At once: the file is never without a name.
    Move(String, String, usize),
}

impl Image {
    /// A disk that has what is in `dir` for certain.
    pub(super) fn of(dir: &Path) -> Self {
        let mut image = Self::default();
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name of ours").to_owned();
            image.files.push(File { synced: fs::read(path).expect("a file"), waiting: Vec::new() });
            image.synced_names.insert(name, image.files.len() - 1);
        }
        image.names = image.synced_names.clone();
        image
    }

    /// Does what was done. `random` decides what a sync that failed has left.
    pub(super) fn apply(&mut self, operation: &Operation, random: &mut StdRng) {
        match operation {
            Operation::Process => self.open.clear(),
            Operation::Open { fd, flags, name } => self.open(*fd, *flags, name),
            Operation::Close { fd } => drop(self.open.remove(fd)),
            Operation::Write { fd, offset, data } => {
                self.file(*fd).waiting.push(Waiting::Write { offset: *offset, data: data.clone() });
            }
            Operation::Truncate { fd, length } => self.file(*fd).waiting.push(Waiting::Truncate(*length)),
            Operation::Sync { fd } => self.sync(*fd),
            Operation::FailedSync { fd } => {
                if let Some(number) = self.open[fd] {
                    let file = &mut self.files[number];
                    *file = File { synced: file.after_a_cut(None, random), waiting: Vec::new() };
                }
            }
            Operation::Unlink { name } => {
                let number = self.names[name];
                self.change(Change::Remove(name.clone(), number));
            }
            Operation::Rename { from, to } => {
                let number = self.names[from];
                self.change(Change::Move(from.clone(), to.clone(), number));
            }
            Operation::Link { from, to } => self.change(Change::Add(to.clone(), self.names[from])),
        }
    }

    fn open(&mut self, fd: i32, flags: u64, name: &str) {
        // As Linux has it on every machine that the tests run on.
        const TRUNCATE: u64 = 0o1000;
        let known = self.names.get(name).copied();
        let number = match known {
            _ if name.is_empty() => None,
            Some(number) => Some(number),
            None => {
                self.files.push(File::default());
                let number = self.files.len() - 1;
                self.change(Change::Add(name.to_owned(), number));
                Some(number)
            }
        };
        self.open.insert(fd, number);
        if known.is_some() && flags & TRUNCATE != 0 {
            self.file(fd).waiting.push(Waiting::Truncate(0));
        }
    }

    fn file(&mut self, fd: i32) -> &mut File {
        let number = self.open[&fd].expect("a directory is not written to");
        &mut self.files[number]
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn sync(&mut self, fd: i32) {
        let Some(number) = self.open[&fd] else {
            self.changes.drain(..).for_each(|change| change.apply(&mut self.synced_names));
            return;
        };
        let file = &mut self.files[number];
        for waiting in std::mem::take(&mut file.waiting) {
            waiting.apply(&mut file.synced);
        }
        let names = &mut self.synced_names;
        let comes = |change: &mut Change| matches!(change, Change::Add(_, of) if *of == number);
        self.changes.extract_if(.., comes).for_each(|change| change.apply(names));
    }

    /// What the disk may hold after a power cut while `last` was done.
    pub(super) fn cut(&self, last: &Operation, random: &mut StdRng) -> Files {
        let mut image = self.clone();
        let mut torn = None;
        match last {
            // None of it is certain before it has come to an end.
            Operation::Sync { .. } | Operation::FailedSync { .. } => {}
            Operation::Write { fd, .. } => {
                torn = image.open[fd];
                image.apply(last, random);
            }
            other => image.apply(other, random),
        }
        let mut names = image.synced_names.clone();
        let all = random.random_range(0..=image.changes.len());
        let in_order = random.random_ratio(1, 2);
        for (place, change) in image.changes.iter().enumerate() {
            let is_there = if in_order { place < all } else { random.random_ratio(1, 2) };
            if is_there {
                change.apply(&mut names);
            }
        }
        let mut content = |number: usize| {
            let file = &image.files[number];
            file.after_a_cut((torn == Some(number)).then(|| file.waiting.len() - 1), random)
        };
        names.into_iter().map(|(name, number)| (name, content(number))).collect()
    }

    /// The name of an open file.
    pub(super) fn name(&self, fd: i32) -> Option<&str> {
        let file = (*self.open.get(&fd)?)?;
        self.names.iter().find_map(|(name, number)| (*number == file).then_some(name.as_str()))
    }

    /// What a process sees.
    pub(super) fn whole(&self) -> Files {
        let content = |number: usize| {
            let mut bytes = self.files[number].synced.clone();
            self.files[number].waiting.iter().for_each(|waiting| waiting.apply(&mut bytes));
            bytes
        };
        self.names.iter().map(|(name, number)| (name.clone(), content(*number))).collect()
    }
}

impl File {
    /// What may be left of it. The operation with the number `torn` was under way.
    fn after_a_cut(&self, torn: Option<usize>, random: &mut StdRng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        // From nothing to all of it: a disk that is idle is as possible as one that is late.
        let lost = random.random_range(0..=8);
        for (number, waiting) in self.waiting.iter().enumerate() {
            match waiting {
                Waiting::Write { offset, data } if torn == Some(number) || random.random_ratio(1, 16) => {
                    tear(&mut bytes, *offset, data, random);
                }
                Waiting::Write { offset, data } if random.random_ratio(lost, 8) => {
                    if random.random_ratio(1, 4) {
                        grow(&mut bytes, offset + data.len());
                    }
                }
                Waiting::Truncate(_) if random.random_ratio(lost, 8) => {}
                kept => kept.apply(&mut bytes),
            }
        }
        bytes
    }
}

impl Waiting {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                grow(bytes, offset + data.len());
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
            Self::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

fn grow(bytes: &mut Vec<u8>, length: usize) {
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
}

/// Writes some sectors of `data`, and one of them up to a byte only.
fn tear(bytes: &mut Vec<u8>, offset: usize, data: &[u8], random: &mut StdRng) {
    let torn_at = offset + random.random_range(1..data.len().max(2));
    let mut at = offset;
    while at < offset + data.len() {
        let sector_end = ((at / SECTOR + 1) * SECTOR).min(offset + data.len());
        let end = if (at + 1..sector_end).contains(&torn_at) { torn_at } else { sector_end };
        if random.random_ratio(1, 2) || end == torn_at {
            grow(bytes, end);
            bytes[at..end].copy_from_slice(&data[at - offset..end - offset]);
        }
        at = sector_end;
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, number) => drop(names.insert(name.clone(), *number)),
            Self::Remove(name, number) => remove(names, name, *number),
            Self::Move(from, to, number) => {
                remove(names, from, *number);
                names.insert(to.clone(), *number);
            }
        }
    }
}

/// A name that stands for another file by now stays.
fn remove(names: &mut BTreeMap<String, usize>, name: &str, number: usize) {
    if names.get(name) == Some(&number) {
        names.remove(name);
    }
}
