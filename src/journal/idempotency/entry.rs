//! One use of a key, as it is kept and written down.

use sha2::{Digest, Sha256};

use chrono::DateTime;

use crate::{
    domain::{Durability, Fingerprint, IdempotencyKey, KeyOwner, Seq},
    journal::{Stored, log::millis},
};

/// How long an entry is when it is written down.
pub(in crate::journal) const ENTRY_BYTES: usize = 48;

/// How many bits of the time of use say the durability.
const DURABILITY_BITS: u32 = 3;

/// A key that was used. Of owner, key and content there are only digests: they are short, all of one length, and tell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::journal) struct KeyEntry {
    /// Of the owner and its name for the key.
    pub(in crate::journal) digest: [u8; 16],
    /// Of what was sent under it.
    pub(in crate::journal) fingerprint: [u8; 8],
    /// Of the owner.
    pub(in crate::journal) owner: [u8; 8],
    /// What it became.
    pub(in crate::journal) seq: Seq,
    /// When, in milliseconds since 1970.
    pub(in crate::journal) used_at: i64,
    /// What it survives; an older version did not write it down.
    pub(in crate::journal) durability: Option<Durability>,
}

impl KeyEntry {
    /// The use of `key` for a content that became `stored`.
    pub(in crate::journal) fn new(key: &IdempotencyKey, fingerprint: &Fingerprint, stored: Stored) -> Self {
        let digest = Sha256::new().chain_update(key.owner.as_bytes()).chain_update(key.name.as_bytes()).finalize();
        Self {
            digest: first(&digest),
            fingerprint: first(fingerprint),
            owner: Self::owner_digest(&key.owner),
            seq: stored.seq,
            used_at: millis(stored.at),
            durability: stored.durability,
        }
    }

    /// An owner as entries know it.
    pub(super) fn owner_digest(owner: &KeyOwner) -> [u8; 8] {
        first(owner.as_bytes())
    }

    /// What became of the content, as its publisher was told.
    pub(in crate::journal) fn stored(&self) -> Stored {
        let at = DateTime::from_timestamp_millis(self.used_at).unwrap_or_default();
        Stored { seq: self.seq, durability: self.durability, at }
    }

    /// The time of use and the durability in one number.
    pub(super) fn used(&self) -> i64 {
        let durability = match self.durability {
            None => 0,
            Some(Durability::Ephemeral) => 1,
            Some(Durability::Memory) => 2,
            Some(Durability::Process) => 3,
            Some(Durability::Fsync) => 4,
        };
        (self.used_at << DURABILITY_BITS) | durability
    }

    /// An entry with these; `used` is what [`used`](Self::used) gave.
    pub(super) fn with(digest: [u8; 16], fingerprint: [u8; 8], owner: [u8; 8], seq: Seq, used: i64) -> Self {
        let durability = match used & ((1 << DURABILITY_BITS) - 1) {
            1 => Some(Durability::Ephemeral),
            2 => Some(Durability::Memory),
            3 => Some(Durability::Process),
            4 => Some(Durability::Fsync),
            _ => None,
        };
        Self { digest, fingerprint, owner, seq, used_at: used >> DURABILITY_BITS, durability }
    }

    /// Writes the entry down.
    pub(in crate::journal) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.digest);
        to.extend_from_slice(&self.fingerprint);
        to.extend_from_slice(&self.owner);
        to.extend_from_slice(&self.seq.to_be_bytes());
        to.extend_from_slice(&self.used().to_be_bytes());
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(in crate::journal) fn read(from: &[u8; ENTRY_BYTES]) -> Self {
        let number = |position| u64::from_be_bytes(first(&from[position..]));
        Self::with(first(from), first(&from[16..]), first(&from[24..]), number(32), number(40) as i64)
    }
}

/// The first bytes of more.
fn first<const N: usize>(of: &[u8]) -> [u8; N] {
    *of.first_chunk().expect("there are more")
}
