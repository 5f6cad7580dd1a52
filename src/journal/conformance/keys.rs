//! What every engine must do with idempotency keys.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{Fate, append, append_many, append_one, clock, keyed, keyed_by, options};
use crate::{
    clock::Clock,
    domain::Durability,
    journal::{Entry, Journal, Options, Outcome},
};

pub(in crate::journal) async fn a_key_is_a_duplicate_within_and_across_batches<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    append_many(&*journal, 1).await;
    let outcomes = append(&*journal, vec![keyed("k", 1), keyed("k", 1)]).await;
    assert_eq!(outcomes, [Fate::Appended(2), Fate::Duplicate(2)]);
    assert_eq!(append_one(&*journal, keyed("k", 1)).await, Fate::Duplicate(2));
    assert_eq!(append_one(&*journal, keyed("other", 1)).await, Fate::Appended(3));
}

pub(in crate::journal) async fn a_key_with_another_content_conflicts<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    append_one(&*journal, keyed("k", 1)).await;
    assert_eq!(append_one(&*journal, keyed("k", 2)).await, Fate::Conflict);
    assert_eq!(append_one(&*journal, keyed("k", 1)).await, Fate::Duplicate(1));
    assert_eq!(journal.bounds().newest, 1);
}

pub(in crate::journal) async fn keys_are_forgotten_after_their_window<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&options());
    append_one(&*journal, keyed("k", 1)).await;
    advance(Duration::from_secs(3_599));
    assert_eq!(append_one(&*journal, keyed("k", 1)).await, Fate::Duplicate(1));
    advance(Duration::from_secs(1));
    assert_eq!(append_one(&*journal, keyed("k", 2)).await, Fate::Appended(2));
}

pub(in crate::journal) async fn the_oldest_keys_go_when_there_are_too_many<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&Options { idempotency_max_keys: Some(NonZeroUsize::MIN), ..options() });
    for key in ["a", "b", "c"] {
        append_one(&*journal, keyed(key, 1)).await;
    }
    assert_eq!(append_one(&*journal, keyed("c", 1)).await, Fate::Duplicate(3));
    assert_eq!(append_one(&*journal, keyed("a", 1)).await, Fate::Appended(4));
}

pub(in crate::journal) async fn a_key_belongs_to_its_owner<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let batch = vec![keyed_by("a", "pedido-77", 1), keyed_by("b", "pedido-77", 2), keyed_by("a", "pedido-77", 1)];
    assert_eq!(append(&*journal, batch).await, [Fate::Appended(1), Fate::Appended(2), Fate::Duplicate(1)]);
    let batch = vec![keyed_by("b", "pedido-77", 2), keyed_by("b", "pedido-77", 1), keyed_by("c", "pedido-77", 1)];
    assert_eq!(append(&*journal, batch).await, [Fate::Duplicate(2), Fate::Conflict, Fate::Appended(3)]);
}

pub(in crate::journal) async fn whoever_publishes_much_forgets_its_own_keys<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&Options { idempotency_max_keys: NonZeroUsize::new(10), ..options() });
    append(&*journal, (0..3).map(|n| keyed_by("few", &n.to_string(), 1)).collect()).await;
    for batch in 0..20 {
        append(&*journal, (0..5).map(|n| keyed_by("many", &(5 * batch + n).to_string(), 1)).collect()).await;
    }
    let few = append(&*journal, (0..3).map(|n| keyed_by("few", &n.to_string(), 1)).collect()).await;
    assert_eq!(few, [Fate::Duplicate(1), Fate::Duplicate(2), Fate::Duplicate(3)]);
    let many = append(&*journal, (93..100).map(|n| keyed_by("many", &n.to_string(), 1)).collect()).await;
    assert_eq!(many, (97..104).map(Fate::Duplicate).collect::<Vec<_>>());
    assert_eq!(append_one(&*journal, keyed_by("many", "92", 1)).await, Fate::Appended(104));
}

pub(in crate::journal) async fn keys_keep_to_their_bytes_and_tell_how_long_they_lived<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    // Room for a hundred keys, and one owner has half of it.
    let journal = open(&Options { idempotency_max_bytes: NonZeroUsize::new(6_400).expect("not zero"), ..options() });
    for n in 0..50 {
        append_one(&*journal, keyed(&n.to_string(), 1)).await;
        advance(Duration::from_secs(2));
    }
    assert_eq!(append_one(&*journal, keyed("0", 1)).await, Fate::Duplicate(1));
    assert_eq!(journal.shortest_key_life(), None);
    append_one(&*journal, keyed("50", 1)).await;
    assert_eq!(journal.shortest_key_life(), Some(Duration::from_secs(100)));
    assert_eq!(append_one(&*journal, keyed("1", 1)).await, Fate::Duplicate(2));
    assert_eq!(append_one(&*journal, keyed("0", 1)).await, Fate::Appended(52));
    assert_eq!(journal.shortest_key_life(), Some(Duration::from_secs(98)));
    advance(Duration::from_secs(3_599));
    // What goes by its age is as old as was promised.
    append_one(&*journal, keyed("51", 1)).await;
    assert_eq!(journal.shortest_key_life(), Some(Duration::from_secs(98)));
    advance(Duration::from_secs(61));
    assert_eq!(journal.shortest_key_life(), None);
}

pub(in crate::journal) async fn a_retry_answers_the_whole_first_result<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&options());
    let one = async |durability| {
        let outcome = journal.append(vec![Entry { durability, ..keyed("k", 1) }]).await.expect("appends").outcomes[0];
        let (Outcome::Appended(stored) | Outcome::Duplicate(stored)) = outcome else { panic!("{outcome:?}") };
        (stored, matches!(outcome, Outcome::Duplicate(_)))
    };
    advance(Duration::from_millis(123));
    let (first, _) = one(Durability::Process).await;
    assert_eq!(first.at, clock().wall());
    assert!(first.durability.is_some());
    for _ in 0..3 {
        advance(Duration::from_millis(777));
        assert_eq!(one(Durability::Fsync).await, (first, true));
    }
}

pub(in crate::journal) async fn keys_follow_a_clock_that_steps<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&options());
    append_one(&*journal, keyed("before", 1)).await;
    clock().step(TimeDelta::minutes(-30));
    assert_eq!(append_one(&*journal, keyed("before", 1)).await, Fate::Duplicate(1));
    append_one(&*journal, keyed("slow", 1)).await;
    clock().step(TimeDelta::minutes(30));
    advance(Duration::from_secs(1_800));
    // By the clock that is right, one is an hour old and the other half an hour.
    assert_eq!(append_one(&*journal, keyed("slow", 1)).await, Fate::Appended(3));
    assert_eq!(append_one(&*journal, keyed("before", 1)).await, Fate::Duplicate(1));
    advance(Duration::from_secs(1_800));
    assert_eq!(append_one(&*journal, keyed("before", 1)).await, Fate::Appended(4));
    assert_eq!(append_one(&*journal, keyed("slow", 1)).await, Fate::Duplicate(3));
    assert_eq!(journal.shortest_key_life(), None);
}

pub(in crate::journal) async fn keys_are_kept_while_the_clock_may_be_wrong<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&options());
    append_one(&*journal, keyed("k", 1)).await;
    for days in [3, -3] {
        clock().step(TimeDelta::days(days));
        advance(Duration::from_secs(60));
        assert_eq!(append_one(&*journal, keyed("k", 1)).await, Fate::Duplicate(1), "{days} days");
    }
    // Once it was right for a day, ages count again.
    advance(Duration::from_secs(24 * 3_600));
    assert_eq!(append_one(&*journal, keyed("k", 1)).await, Fate::Appended(2));
}
