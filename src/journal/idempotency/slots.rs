//! Where the keys are: slots of one size in chunks, so that no growth copies them, and a slot that is free is used again.

use std::ops::{Index, IndexMut};

use crate::{domain::Seq, journal::idempotency::KeyEntry};

/// How many slots are made at a time.
const CHUNK: usize = 1_024;

/// The number of no slot.
pub(super) const NONE: u32 = u32::MAX;

/// A key, and which one its owner used next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) digest: [u8; 16],
    fingerprint: [u8; 8],
    pub(super) seq: Seq,
    /// The time and the durability, as [`KeyEntry::used`] gives them.
    used: i64,
    /// The number of its owner.
    pub(super) owner: u32,
    /// The next one of the same owner, or the next free one.
    pub(super) next: u32,
}

impl Slot {
    const FREE: Self = Self { digest: [0; 16], fingerprint: [0; 8], seq: 0, used: 0, owner: NONE, next: NONE };

    /// The slot of a key whose owner has the number `owner`.
    pub(super) fn new(entry: &KeyEntry, owner: u32) -> Self {
        let KeyEntry { digest, fingerprint, seq, .. } = *entry;
        Self { digest, fingerprint, seq, used: entry.used(), owner, next: NONE }
    }

    /// The key, whose owner is `owner`.
    pub(super) fn entry(&self, owner: [u8; 8]) -> KeyEntry {
        KeyEntry::with(self.digest, self.fingerprint, owner, self.seq, self.used)
    }

    /// When it was used, in milliseconds since 1970.
    pub(super) fn used_at(&self) -> i64 {
        self.entry([0; 8]).used_at
    }
}

#[derive(Debug)]
pub(super) struct Slots {
    chunks: Vec<Box<[Slot]>>,
    /// How many were ever in use.
    opened: u32,
    len: usize,
    first_free: u32,
}

impl Default for Slots {
    fn default() -> Self {
        Self { chunks: Vec::new(), opened: 0, len: 0, first_free: NONE }
    }
}

impl Slots {
    /// How many are in use.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        let id = self.first_free;
        let id = if id == NONE {
            let id = self.opened;
            if id as usize == self.chunks.len() * CHUNK {
                self.chunks.push(vec![Slot::FREE; CHUNK].into());
            }
            self.opened += 1;
            id
        } else {
            self.first_free = self[id].next;
            id
        };
        self.len += 1;
        self[id] = slot;
        id
    }

    pub(super) fn remove(&mut self, id: u32) -> Slot {
        let slot = self[id];
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else {
            self[id] = Slot { next: self.first_free, ..Slot::FREE };
            self.first_free = id;
        }
        slot
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Box<[Slot]>>() + self.chunks.len() * CHUNK * size_of::<Slot>()
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, id: u32) -> &Slot {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, id: u32) -> &mut Slot {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }
}
