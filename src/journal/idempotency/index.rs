//! Which slot has a key: hash tables of nothing but numbers of slots.
//!
//! Many tables and not one: each grows by itself, so that no publish waits for all keys to be put elsewhere, and growing takes no
//! second table as large as all.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::journal::idempotency::slots::Slots;

const SHARDS: usize = 64;

#[derive(Debug)]
pub(super) struct KeyIndex {
    shards: Box<[HashTable<u32>]>,
    /// Nobody outside knows it, so nobody can choose keys that lie in one place.
    seed: RandomState,
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), seed: RandomState::default() }
    }
}

impl KeyIndex {
    /// Makes room for about `keys` more, so that it need not be made again and again.
    pub(super) fn reserve(&mut self, keys: usize, slots: &Slots) {
        let Self { shards, seed } = self;
        for shard in shards {
            shard.reserve(keys / SHARDS, |id| hash_of(seed, &slots[*id].digest));
        }
    }

    /// The slot that has this key.
    pub(super) fn find(&self, digest: &[u8; 16], slots: &Slots) -> Option<u32> {
        let hash = self.hash(digest);
        self.shards[shard(hash)].find(hash, |id| slots[*id].digest == *digest).copied()
    }

    /// Notes that from now on the slot `id` is the one that has its key.
    pub(super) fn put(&mut self, id: u32, slots: &Slots) {
        let digest = &slots[id].digest;
        let hash = self.hash(digest);
        let Self { shards, seed } = self;
        let rehash = |id: &u32| hash_of(seed, &slots[*id].digest);
        let shard = &mut shards[shard(hash)];
        match shard.find_mut(hash, |known| slots[*known].digest == *digest) {
            Some(known) => *known = id,
            None => {
                shard.insert_unique(hash, id, rehash);
            }
        }
    }

    /// Forgets the key of the slot `id`, unless another slot has it by now.
    pub(super) fn remove(&mut self, id: u32, slots: &Slots) {
        let hash = self.hash(&slots[id].digest);
        if let Ok(entry) = self.shards[shard(hash)].find_entry(hash, |known| *known == id) {
            entry.remove();
        }
    }

    fn hash(&self, digest: &[u8; 16]) -> u64 {
        hash_of(&self.seed, digest)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| size_of_val(shard) + shard.allocation_size()).sum()
    }
}

fn hash_of(seed: &RandomState, digest: &[u8; 16]) -> u64 {
    seed.hash_one(u128::from_ne_bytes(*digest))
}

/// A table looks at the lowest bits of a hash and at the highest.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}
