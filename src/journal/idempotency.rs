//! The keys that publishers used lately.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    domain::{Fingerprint, IdempotencyKey},
    journal::Stored,
};

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: it is new, or its window is over.
    Never,
    /// This became of the same content.
    Same(Stored),
    /// Another content was sent under it.
    Other,
}

/// Keys with the digest and the outcome of what was sent under them, for `window` and at most `max_keys`.
#[derive(Debug)]
pub(super) struct Keys {
    window: TimeDelta,
    max_keys: usize,
    known: HashMap<IdempotencyKey, (Fingerprint, Stored)>,
    by_age: VecDeque<(DateTime<Utc>, IdempotencyKey)>,
}

impl Keys {
    pub(super) fn new(window: Duration, max_keys: usize) -> Self {
        let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::MAX);
        Self { window, max_keys, known: HashMap::new(), by_age: VecDeque::new() }
    }

    /// Forgets what is out of the window at `now`.
    pub(super) fn expire(&mut self, now: DateTime<Utc>) {
        while self.by_age.len() > self.max_keys
            || self.by_age.front().is_some_and(|(since, _)| now - since >= self.window)
        {
            if let Some((_, key)) = self.by_age.pop_front() {
                self.known.remove(&key);
            }
        }
    }

    pub(super) fn seen(&self, key: &IdempotencyKey, fingerprint: &Fingerprint) -> Seen {
        match self.known.get(key) {
            None => Seen::Never,
            Some((known, stored)) if known == fingerprint => Seen::Same(*stored),
            Some(_) => Seen::Other,
        }
    }

    /// Remembers a key that was [`Seen::Never`].
    pub(super) fn remember(&mut self, key: IdempotencyKey, fingerprint: Fingerprint, stored: Stored) {
        self.by_age.push_back((stored.at, key.clone()));
        self.known.insert(key, (fingerprint, stored));
    }
}
