//! The keys of a commit that is being made: they count once it is done, and if it fails nothing was.

use foldhash::{HashMap, HashMapExt};

use crate::journal::idempotency::KeyEntry;

#[derive(Debug)]
pub(in crate::journal) struct Staged {
    keys: Vec<KeyEntry>,
    places: HashMap<[u8; 16], usize>,
}

impl Default for Staged {
    fn default() -> Self {
        Self { keys: Vec::new(), places: HashMap::new() }
    }
}

impl Staged {
    pub(super) fn get(&self, digest: &[u8; 16]) -> Option<KeyEntry> {
        self.places.get(digest).map(|place| self.keys[*place])
    }

    pub(super) fn push(&mut self, entry: KeyEntry) {
        self.places.insert(entry.digest, self.keys.len());
        self.keys.push(entry);
    }

    /// In the order in which they were claimed.
    pub(in crate::journal) fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    pub(super) fn into_keys(self) -> Vec<KeyEntry> {
        self.keys
    }
}
