//! The idempotency keys, as far as the tools know them: in an export, in a check, and when the clock is settled.

use std::{collections::HashSet, fmt::Write};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Durability, Seq},
    journal::{
        idempotency::KeyEntry,
        sqlite::keys::{self, Filling, unowned},
    },
};

/// The last millisecond of the year 9999; a later time cannot be written as others are.
const LAST_TIME: i64 = 253_402_300_799_999;

/// A key in an export. Digests and fingerprints are hexadecimal digits, times milliseconds since 1970.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// As the journal knows it.
    Entry {
        /// Of the publisher and its key.
        digest: String,
        /// Of the publisher.
        owner: String,
        /// Of what was published.
        fingerprint: String,
        seq: Seq,
        used_at: i64,
        /// What it survives, where that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        durability: Option<String>,
    },
    /// As the first format has it, and nobody knows whose.
    Name { key: String, used_at: i64, fingerprint: String, seq: Seq },
}

impl Line {
    /// The position that the key stands for.
    pub(super) fn seq(&self) -> Seq {
        match self {
            Self::Entry { seq, .. } | Self::Name { seq, .. } => *seq,
        }
    }

    fn new(entry: &KeyEntry) -> Self {
        Self::Entry {
            digest: hex(&entry.digest),
            owner: hex(&entry.owner),
            fingerprint: hex(&entry.fingerprint),
            seq: entry.seq,
            used_at: entry.used_at,
            durability: entry.durability.and_then(name).map(str::to_owned),
        }
    }

    /// When it was used.
    fn used_at(&self) -> i64 {
        match self {
            Self::Entry { used_at, .. } | Self::Name { used_at, .. } => *used_at,
        }
    }

    /// The key, or what is wrong with it.
    fn entry(&self) -> Result<KeyEntry, &'static str> {
        if !(0..=LAST_TIME).contains(&self.used_at()) {
            return Err("the key was used at no time between the years 1970 and 9999");
        }
        match self {
            Self::Entry { digest, owner, fingerprint, seq, used_at, durability } => {
                let durability = match durability.as_deref() {
                    None => None,
                    Some(durability) => Some(named(durability).ok_or("there is no such durability")?),
                };
                Ok(KeyEntry {
                    digest: bytes(digest).ok_or("the digest is not 32 hexadecimal digits")?,
                    owner: bytes(owner).ok_or("the owner is not 16 hexadecimal digits")?,
                    fingerprint: bytes(fingerprint).ok_or("the fingerprint is not 16 hexadecimal digits")?,
                    seq: *seq,
                    used_at: *used_at,
                    durability,
                })
            }
            Self::Name { key, used_at, fingerprint, seq } => {
                let fingerprint: [u8; 32] = bytes(fingerprint).ok_or("the fingerprint is not 64 hexadecimal digits")?;
                unowned(key, &fingerprint, *seq, *used_at).ok_or("it is no idempotency key")
            }
        }
    }
}

const DURABILITIES: [(Durability, &str); 3] =
    [(Durability::Memory, "memory"), (Durability::Process, "process"), (Durability::Fsync, "fsync")];

fn name(durability: Durability) -> Option<&'static str> {
    DURABILITIES.iter().find(|(known, _)| *known == durability).map(|(_, name)| *name)
}

fn named(name: &str) -> Option<Durability> {
    DURABILITIES.iter().find(|(_, known)| *known == name).map(|(durability, _)| *durability)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a text has room");
        digits
    })
}

fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    (digits.len() == 2 * N).then_some(bytes)
}

/// Gives each key to `take`, in the order of their use; false when some cannot be read.
pub(super) fn each<E: From<rusqlite::Error>>(
    snapshot: &Connection,
    mut take: impl FnMut(Line) -> Result<(), E>,
) -> Result<bool, E> {
    // A key that cannot be read only makes a retry of its publisher a second event.
    if keys::has_first_layout(snapshot)? {
        return keys::each_of_first_layout(snapshot, |entry| take(Line::new(&entry)));
    }
    Ok(keys::for_each(snapshot, |entry| take(Line::new(&entry)))? == 0)
}

/// The keys of an import on their way into the file.
pub(super) struct ImportedKeys<'c> {
    filling: Filling<'c>,
    seen: HashSet<[u8; 16]>,
}

impl<'c> ImportedKeys<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { filling: Filling::new(connection), seen: HashSet::new() }
    }

    /// Writes a key behind the others, and says what is wrong with it if that cannot be.
    pub(super) fn push(&mut self, line: &Line) -> rusqlite::Result<Option<&'static str>> {
        let entry = match line.entry() {
            Ok(entry) => entry,
            Err(wrong) => return Ok(Some(wrong)),
        };
        if !self.seen.insert(entry.digest) {
            return Ok(Some("the key was there before"));
        }
        self.filling.push(entry)?;
        Ok(None)
    }

    /// Writes what is left.
    pub(super) fn end(&mut self) -> rusqlite::Result<()> {
        self.filling.end()
    }
}

/// How many there are.
pub(in crate::journal::sqlite) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    if keys::has_first_layout(connection)? {
        return connection
            .query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0))
            .map(|count| count as u64);
    }
    keys::count(connection)
}

/// Tells what is wrong with the keys of a journal that ends at `newest`.
pub(in crate::journal::sqlite) fn findings(
    snapshot: &Connection,
    newest: Seq,
    mut tell: impl FnMut(String),
) -> rusqlite::Result<()> {
    let mut wrong = 0_u64;
    let mut look = |entry: KeyEntry| {
        wrong += u64::from(!(1..=newest).contains(&entry.seq));
        Ok::<_, rusqlite::Error>(())
    };
    let unread = if keys::has_first_layout(snapshot)? {
        u64::from(!keys::each_of_first_layout(snapshot, look)?)
    } else {
        keys::for_each(snapshot, &mut look)?
    };
    if wrong > 0 {
        tell(format!("{wrong} idempotency keys stand for places that were not given"));
    }
    if unread > 0 {
        tell(format!("{unread} rows of idempotency keys are not as they were written"));
    }
    Ok(())
}

/// Lets keys of at most `most` rows that were used later than `now` have been used now, and says how many rows these were.
pub(in crate::journal::sqlite) fn settle(connection: &Connection, now: i64, most: usize) -> rusqlite::Result<usize> {
    keys::settle(connection, now, most)
}
