//! Whose the keys are: how many each owner has, and its oldest and newest.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};

/// An owner with at least one key.
#[derive(Debug, Clone, Copy)]
struct Owner {
    digest: [u8; 8],
    count: u32,
    /// The slots of its oldest key and of its newest.
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
pub(super) struct Owners {
    ids: HashMap<[u8; 8], u32>,
    owners: Vec<Owner>,
    free: Vec<u32>,
    /// By [`level`]s of how many keys they have.
    by_count: BTreeSet<(u32, u32)>,
    /// By the times at which they used their oldest keys.
    by_age: BTreeSet<(i64, u32)>,
}

/// The count of an owner in sixteen steps from one power of two to the next, so that few of its keys move it to another position.
fn level(count: u32) -> u32 {
    let shift = (u32::BITS - count.leading_zeros()).saturating_sub(5);
    (shift << 5) + (count >> shift)
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
            owners: Vec::new(),
            free: Vec::new(),
            by_count: BTreeSet::new(),
            by_age: BTreeSet::new(),
        }
    }
}

impl Owners {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    fn owner(&self, id: u32) -> &Owner {
        &self.owners[id as usize]
    }

    /// The number of an owner, if it has a key.
    pub(super) fn id(&self, digest: &[u8; 8]) -> Option<u32> {
        self.ids.get(digest).copied()
    }

    pub(super) fn digest(&self, owner: u32) -> [u8; 8] {
        self.owner(owner).digest
    }

    pub(super) fn count(&self, owner: u32) -> u32 {
        self.owner(owner).count
    }

    pub(super) fn oldest(&self, owner: u32) -> u32 {
        self.owner(owner).oldest
    }

    /// An owner whose oldest key was used at `ended` or earlier.
    pub(super) fn ended(&self, ended: i64) -> Option<u32> {
        self.by_age.first().filter(|(used_at, _)| *used_at <= ended).map(|(_, owner)| *owner)
    }

    /// Who has most keys, or as good as most: `preferred`, if nobody has more by a sixteenth.
    pub(super) fn largest(&self, preferred: Option<u32>) -> Option<u32> {
        let (most, owner) = *self.by_count.last()?;
        Some(preferred.filter(|preferred| level(self.count(*preferred)) == most).unwrap_or(owner))
    }

    /// The number of an owner that is about to have one key more.
    pub(super) fn enter(&mut self, digest: [u8; 8]) -> u32 {
        *self.ids.entry(digest).or_insert_with(|| {
            let owner = Owner { digest, count: 0, oldest: 0, newest: 0 };
            match self.free.pop() {
                Some(id) => {
                    self.owners[id as usize] = owner;
                    id
                }
                None => {
                    self.owners.push(owner);
                    self.owners.len() as u32 - 1
                }
            }
        })
    }

    /// Gives an owner the key in `slot`, and says in which slot its newest one was before.
    pub(super) fn push(&mut self, id: u32, slot: u32, used_at: i64) -> Option<u32> {
        let Owner { count, newest, .. } = *self.owner(id);
        self.count_changed(id, count, count + 1);
        let owner = &mut self.owners[id as usize];
        owner.count += 1;
        owner.newest = slot;
        if count == 0 {
            owner.oldest = slot;
            self.by_age.insert((used_at, id));
            return None;
        }
        Some(newest)
    }

    fn count_changed(&mut self, id: u32, before: u32, now: u32) {
        let (before, now) = (level(before), level(now));
        if before == now {
            return;
        }
        if before > 0 {
            self.by_count.remove(&(before, id));
        }
        if now > 0 {
            self.by_count.insert((now, id));
        }
    }

    /// Takes its oldest key from an owner, which was used at `used_at`; `next` is the slot of the one behind it and when that was
    /// used.
    pub(super) fn pop(&mut self, id: u32, used_at: i64, next: Option<(u32, i64)>) {
        let Owner { count, digest, .. } = *self.owner(id);
        self.count_changed(id, count, count - 1);
        self.by_age.remove(&(used_at, id));
        let Some((oldest, used_at)) = next else {
            self.ids.remove(&digest);
            self.free.push(id);
            return;
        };
        let owner = &mut self.owners[id as usize];
        owner.count -= 1;
        owner.oldest = oldest;
        self.by_age.insert((used_at, id));
    }

    /// About how many: of the trees it is not to be had.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        // A node of a tree has at least five of eleven entries; above eleven leaves there is one more node.
        let in_tree = |entry: usize| (entry * 11 + 16) / 5 + (entry * 11 + 16 + 12 * 8) / 30;
        self.ids.capacity() * 8 / 7 * 2 * (12 + 1)
            + self.owners.capacity() * size_of::<Owner>()
            + self.free.capacity() * 4
            + self.by_count.len() * in_tree(8)
            + self.by_age.len() * in_tree(16)
    }
}
