//! The keys that publishers used lately, in memory, for every engine alike; an engine that has a file writes them down beside.
//!
//! Each owner has its keys in the order of their use, and the oldest of them goes first. What goes before its window is over goes
//! by three rules: an owner holds at most half of the bytes; whatever comes when all is full takes the room of the oldest key of
//! whoever holds most; and what is too old goes before either. So who publishes much shortens the life of its own keys, and a
//! publisher with few keeps them.
//!
//! The same keys in the same order give the same window: a journal that is opened again applies what it wrote down.

mod entry;
mod index;
mod life;
mod owners;
mod slots;
mod staged;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

pub(super) use self::{
    entry::{ENTRY_BYTES, KeyEntry},
    life::KeyLife,
    staged::Staged,
};
use self::{
    index::KeyIndex,
    owners::Owners,
    slots::{Slot, Slots},
};
use crate::{
    domain::{Fingerprint, IdempotencyKey, KeyOwner},
    journal::{Options, Outcome, Stored, log::millis},
};

/// What a key takes at the most, all told.
const KEY_BYTES: usize = 64;

/// What an owner takes at the most, beside its keys.
const OWNER_BYTES: usize = 192;

/// A time at which, and before which, no key can have been used.
pub(super) const NEVER: i64 = i64::MIN;

/// What bounds the keys.
#[derive(Debug, Clone, Copy)]
struct Limits {
    window: TimeDelta,
    max_bytes: usize,
    max_keys: usize,
    max_keys_of_one: u32,
}

impl From<&Options> for Limits {
    fn from(options: &Options) -> Self {
        // On disk they take about as much as in memory, and what the journal may take is for notifications first.
        let max_bytes = options.idempotency_max_bytes.get().min((options.max_bytes.get() / 4).max(KEY_BYTES));
        // Slots have numbers of 32 bits, and one of them stands for none.
        let most = (max_bytes / KEY_BYTES).min(u32::MAX as usize - 1);
        Self {
            window: options.idempotency_window(),
            max_bytes,
            max_keys: options.idempotency_max_keys.map_or(most, |keys| keys.get().min(most)),
            max_keys_of_one: (most / 2).max(1) as u32,
        }
    }
}

/// The keys that are known, with what was sent under them and what became of it.
#[derive(Debug)]
pub(super) struct KeyWindow {
    limits: Limits,
    slots: Slots,
    index: KeyIndex,
    owners: Owners,
    life: Arc<KeyLife>,
}

impl KeyWindow {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            limits: options.into(),
            slots: Slots::default(),
            index: KeyIndex::default(),
            owners: Owners::default(),
            life: Arc::default(),
        }
    }

    /// How long keys live that go before their window is over.
    pub(super) fn life(&self) -> &Arc<KeyLife> {
        &self.life
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Makes room for keys that are about to come, if there are about this many.
    pub(super) fn reserve(&mut self, keys: usize) {
        // Some of them may be gone when the others are there; growing once more costs less than room that is not needed.
        self.index.reserve(keys.min(self.limits.max_keys) / 3 * 2, &self.slots);
    }

    /// The time at which a key was used whose window ends now, in milliseconds since 1970: those that were used then or earlier
    /// had their window. While the clock may be wrong, which is when there is no `now`, none had.
    pub(super) fn ended(&self, now: Option<DateTime<Utc>>) -> i64 {
        now.and_then(|now| now.checked_sub_signed(self.limits.window)).map_or(NEVER, millis)
    }

    /// Claims `key` for what is about to become `stored`, in this commit, unless it is known already: then what it stands for.
    pub(super) fn claim(
        &self,
        staged: &mut Staged,
        (key, fingerprint): &(IdempotencyKey, Fingerprint),
        stored: Stored,
        ended: i64,
    ) -> Option<Outcome> {
        let entry = KeyEntry::new(key, fingerprint, stored);
        let known = staged.get(&entry.digest).or_else(|| self.known(&entry, ended)).or_else(|| {
            // One that an older version wrote down, which did not know whose it was, counts for everybody.
            let unowned = || IdempotencyKey { owner: KeyOwner::NOBODY, name: key.name.clone() };
            self.has_unowned().then(|| self.known(&KeyEntry::new(&unowned(), fingerprint, stored), ended))?
        });
        match known {
            None => {
                staged.push(entry);
                None
            }
            Some(known) if known.fingerprint == entry.fingerprint => Some(Outcome::Duplicate(known.stored())),
            Some(_) => Some(Outcome::Conflict),
        }
    }

    fn known(&self, entry: &KeyEntry, ended: i64) -> Option<KeyEntry> {
        let id = self.index.find(&entry.digest, &self.slots)?;
        Some(self.entry(id)).filter(|known| known.used_at > ended)
    }

    fn has_unowned(&self) -> bool {
        self.owners.id(&KeyEntry::owner_digest(&KeyOwner::NOBODY)).is_some()
    }

    /// Whether this very use of a key is known.
    pub(super) fn has(&self, entry: &KeyEntry) -> bool {
        let found = self.index.find(&entry.digest, &self.slots);
        found.is_some_and(|id| self.slots[id].seq == entry.seq)
    }

    /// Takes in what was claimed, once it is committed at `now`; `monotonic` is the same moment on the clock that never steps.
    pub(super) fn commit(&mut self, staged: Staged, ended: i64, now: DateTime<Utc>, monotonic: Duration) {
        let went = staged.into_keys().into_iter().filter_map(|entry| self.remember(&entry, ended)).max();
        if let Some(used_at) = went {
            let lived = u64::try_from(millis(now).saturating_sub(used_at)).unwrap_or(0);
            self.life.note(Duration::from_millis(lived), monotonic);
        }
    }

    /// Takes in a key. If others had to go for it before their window was over, says when the last of these was used.
    pub(super) fn remember(&mut self, entry: &KeyEntry, ended: i64) -> Option<i64> {
        let mut went = None;
        let mut owner = self.owners.id(&entry.owner);
        while let Some(from) = self.gives_way(owner, ended) {
            let used_at = self.forget_oldest(from).used_at();
            if used_at > ended {
                went = went.max(Some(used_at));
            }
            owner = self.owners.id(&entry.owner);
        }
        self.insert(entry);
        went
    }

    /// Whose oldest key goes for one of `owner`, if there is no room for it.
    fn gives_way(&self, owner: Option<u32>, ended: i64) -> Option<u32> {
        if let Some(owner) = owner.filter(|owner| self.owners.count(*owner) >= self.limits.max_keys_of_one) {
            return Some(owner);
        }
        let keys = self.slots.len() + 1;
        let owners = self.owners.len() + usize::from(owner.is_none());
        let fits = keys <= self.limits.max_keys && keys * KEY_BYTES + owners * OWNER_BYTES <= self.limits.max_bytes;
        if fits { None } else { self.owners.ended(ended).or_else(|| self.owners.largest(owner)) }
    }

    /// Forgets at most `most` keys whose window is over. Until it is forgotten such a key takes room, but counts as unknown.
    pub(super) fn expire(&mut self, ended: i64, most: usize) {
        for _ in 0..most {
            let Some(owner) = self.owners.ended(ended) else { return };
            self.forget_oldest(owner);
        }
    }

    fn insert(&mut self, entry: &KeyEntry) {
        let owner = self.owners.enter(entry.owner);
        let id = self.slots.insert(Slot::new(entry, owner));
        if let Some(previous) = self.owners.push(owner, id, entry.used_at) {
            self.slots[previous].next = id;
        }
        self.index.put(id, &self.slots);
    }

    fn forget_oldest(&mut self, owner: u32) -> Slot {
        let id = self.owners.oldest(owner);
        let Slot { next, .. } = self.slots[id];
        let next = (next != slots::NONE).then(|| (next, self.slots[next].used_at()));
        self.owners.pop(owner, self.slots[id].used_at(), next);
        self.index.remove(id, &self.slots);
        self.slots.remove(id)
    }

    fn entry(&self, id: u32) -> KeyEntry {
        let slot = &self.slots[id];
        slot.entry(self.owners.digest(slot.owner))
    }
}

#[cfg(test)]
mod tests;
