//! Random operations on an engine, beside a journal in the fewest words that does the same.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::{Fate, append, clock, entry, options, room, user};
use crate::{
    clock::Clock,
    domain::{Audience, IdempotencyKey, KeyOwner, Seq},
    journal::{Journal, Options, Query},
};

/// For whom, under which key with which content, and for how many seconds.
type Appending = (u8, Option<(u8, u8)>, Option<u64>);

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Appending>),
    Read {
        audiences: Option<Vec<u8>>,
        after: Seq,
        before: Option<Seq>,
        since: Option<u64>,
        limit: usize,
        newest_first: bool,
    },
    /// Time passes, in seconds.
    Wait(u64),
}

fn audience(number: u8) -> Audience {
    match number {
        0 => Audience::Everyone,
        1 | 2 => user(&number.to_string()),
        _ => room(&number.to_string()),
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::option::weighted(0.3, (0..4u8, 0..2u8));
    let ttl = proptest::option::weighted(0.3, 1..MODEL_AGE);
    let append = proptest::collection::vec((0..5u8, key, ttl), 1..6).prop_map(Step::Append);
    let audiences = proptest::option::of(proptest::collection::vec(0..5u8, 0..4));
    let since = proptest::option::weighted(0.3, 0..300u64);
    let read = (audiences, 0..40u64, proptest::option::of(0..40u64), since, 1..10usize, any::<bool>());
    let read = read.prop_map(|(audiences, after, before, since, limit, newest_first)| Step::Read {
        audiences,
        after,
        before,
        since,
        limit,
        newest_first,
    });
    let wait = (1..MODEL_AGE / 2).prop_map(Step::Wait);
    proptest::collection::vec(prop_oneof![append, read, wait], 1..40)
}

/// What a journal is, in the fewest words: a list, cut off at the front, the keys that were used, and a clock, in seconds.
#[derive(Default)]
struct Model {
    entries: Vec<Known>,
    keys: HashMap<u8, (u8, Seq)>,
    gone: usize,
    now: u64,
}

struct Known {
    audience: Audience,
    appended_at: u64,
    expires_at: Option<u64>,
}

const MODEL_ENTRIES: usize = 20;
const MODEL_AGE: u64 = 60;

impl Model {
    fn append(&mut self, number: u8, key: Option<(u8, u8)>, ttl: Option<u64>) -> Fate {
        if let Some((key, content)) = key
            && let Some((known, seq)) = self.keys.get(&key)
        {
            return if *known == content { Fate::Duplicate(*seq) } else { Fate::Conflict };
        }
        let expires_at = ttl.map(|ttl| self.now + ttl);
        self.entries.push(Known { audience: audience(number), appended_at: self.now, expires_at });
        let seq = self.entries.len() as Seq;
        if let Some((key, content)) = key {
            self.keys.insert(key, (content, seq));
        }
        Fate::Appended(seq)
    }

    /// Retention comes with every append, and may come earlier.
    fn retain(&mut self) {
        let young = |known: &Known| known.appended_at + MODEL_AGE > self.now;
        let old = self.entries.iter().position(young).unwrap_or(self.entries.len());
        self.gone = self.gone.max(old).max(self.entries.len().saturating_sub(MODEL_ENTRIES));
    }

    fn read(&self, query: &Query, since: u64) -> (Vec<Seq>, bool) {
        let wanted = |seq: &Seq, known: &Known| {
            *seq > query.after
                && query.before.is_none_or(|before| *seq < before)
                && known.appended_at >= since
                && known.expires_at.is_none_or(|expires_at| expires_at > self.now)
                && query.audiences.as_ref().is_none_or(|audiences| audiences.contains(&known.audience))
        };
        let kept = (1..).zip(&self.entries).skip(self.gone);
        let mut found: Vec<Seq> = kept.filter(|(seq, known)| wanted(seq, known)).map(|(seq, _)| seq).collect();
        if query.newest_first {
            found.reverse();
        }
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        (found, more)
    }
}

pub(in crate::journal) fn random_operations_agree_with_a_plain_model<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let max_entries = NonZeroUsize::new(MODEL_ENTRIES).expect("not zero");
    let max_age = Duration::from_secs(MODEL_AGE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    proptest!(ProptestConfig::with_cases(64), |(steps in steps())| {
        runtime.block_on(async {
            let journal = open(&Options { max_entries, max_age, ..options() });
            // All that follows happens in the middle of a second, so that nothing depends on milliseconds.
            let start = clock().wall() - TimeDelta::milliseconds(500);
            let mut model = Model::default();
            for step in steps {
                check_step(&*journal, &mut model, start, step, &advance).await;
            }
        });
    });
}

async fn check_step<J: Journal>(
    journal: &J,
    model: &mut Model,
    start: DateTime<Utc>,
    step: Step,
    advance: &impl Fn(Duration),
) {
    let at = |second: u64| start + TimeDelta::seconds(second as i64);
    match step {
        Step::Append(entries) => {
            let batch = entries.iter().map(|(number, key, ttl)| {
                let mut entry = entry("e", audience(*number));
                entry.key = key.and_then(|(key, content)| {
                    Some((IdempotencyKey::new(KeyOwner::named("test", &[]), key.to_string())?, [content; 32]))
                });
                entry.expires_at = ttl.map(|ttl| at(model.now + ttl));
                entry
            });
            let outcomes = append(journal, batch.collect()).await;
            let expected: Vec<_> = entries.iter().map(|(number, key, ttl)| model.append(*number, *key, *ttl)).collect();
            model.retain();
            assert_eq!(outcomes, expected);
        }
        Step::Read { audiences, after, before, since, limit, newest_first } => {
            let audiences = audiences.map(|numbers| numbers.into_iter().map(audience).collect());
            let from = since.map(at);
            let query = Query { audiences, after, before, since: from, limit, max_bytes: usize::MAX, newest_first };
            let page = journal.read(query.clone()).await.expect("reads");
            let found = page.notifications.iter().map(|notification| notification.seq).collect();
            let (found, since) = ((found, page.more), since.unwrap_or_default());
            // An engine that has nothing to do may forget what is old without being asked.
            if found != model.read(&query, since) {
                model.retain();
                assert_eq!(found, model.read(&query, since));
            }
        }
        Step::Wait(seconds) => {
            advance(Duration::from_secs(seconds));
            model.now += seconds;
        }
    }
}
