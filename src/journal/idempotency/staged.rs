//! The keys of a commit that is being made: they count once it is done, and if it fails nothing was.

use foldhash::{HashMap, HashMapExt};

use crate::journal::idempotency::KeyEntry;

#[derive(Debug)]
pub(in crate::journal) struct Staged {
    keys: Vec<KeyEntry>,
    positions: HashMap<[u8; 16], usize>,
}

impl Default for Staged {
    fn default() -> Self {
        Self { keys: Vec::new(), positions: HashMap::new() }
    }
}

impl Staged {
    pub(super) fn get(&self, digest: &[u8; 16]) -> Option<KeyEntry> {
        self.positions.get(digest).map(|position| self.keys[*position])
    }

    pub(super) fn push(&mut self, entry: KeyEntry) {
        self.positions.insert(entry.digest, self.keys.len());
        self.keys.push(entry);
    }

    /// Gives the keys in the order in which they were claimed.
    pub(in crate::journal) fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    pub(super) fn into_keys(self) -> Vec<KeyEntry> {
        self.keys
    }
}
