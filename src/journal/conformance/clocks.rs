//! What every engine must do whose time is that of this service: the clock may be wrong, and be put right, and nothing that was
//! acknowledged goes for it. `suite!(open)` makes the tests; the engine opens on [`clock`](super::clock).

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{advance, append, append_many, clock, entry, everything, options, read};
use crate::{
    clock::Clock,
    domain::Audience,
    journal::{Bounds, Condition, Entry, Journal, Options, Query},
};

macro_rules! suite {
    ($open:ident) => {
        conformance::clocks::suite!(
            $open,
            a_clock_that_was_ahead_takes_nothing_along,
            a_clock_that_is_behind_is_told_until_it_has_passed,
            what_is_old_goes_again_after_a_day_of_running,
            small_steps_are_followed_without_a_word,
            stamps_may_fall_and_order_is_by_place,
            a_time_to_live_ends_by_the_clock_that_began_it,
        );
    };
    ($open:ident, $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                conformance::clocks::$promise($open).await;
            }
        )+
    };
}
pub(in crate::journal) use suite;

/// Keeps what it has for a week.
fn a_week() -> Options {
    Options { max_age: Duration::from_secs(7 * 86_400), ..options() }
}

fn is_degraded(journal: &impl Journal) -> bool {
    matches!(journal.condition(), Condition::Degraded(reason) if reason.contains("clock"))
}

pub(in crate::journal) async fn a_clock_that_was_ahead_takes_nothing_along<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
) {
    let journal = open(&a_week());
    append_many(&*journal, 6).await;
    clock().step(TimeDelta::days(30));
    append_many(&*journal, 1).await;
    assert_eq!(read(&*journal, everything()).await, [1, 2, 3, 4, 5, 6, 7]);
    clock().step(TimeDelta::days(-30));
    append_many(&*journal, 1).await;
    advance(Duration::from_secs(3_600));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds(), Bounds::of_consecutive(1, 9));
    assert_eq!(read(&*journal, everything()).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

pub(in crate::journal) async fn a_clock_that_is_behind_is_told_until_it_has_passed<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
) {
    let journal = open(&a_week());
    append_many(&*journal, 1).await;
    clock().step(TimeDelta::hours(-1));
    append_many(&*journal, 1).await;
    assert!(is_degraded(&*journal));
    advance(Duration::from_secs(3_600));
    append_many(&*journal, 1).await;
    assert_eq!(journal.condition(), Condition::Ok);
}

pub(in crate::journal) async fn what_is_old_goes_again_after_a_day_of_running<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
) {
    let journal = open(&a_week());
    append_many(&*journal, 3).await;
    clock().step(TimeDelta::days(8));
    append_many(&*journal, 1).await;
    assert_eq!((journal.bounds().oldest, journal.condition()), (1, Condition::Ok));
    advance(Duration::from_secs(86_399));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds().oldest, 1);
    advance(Duration::from_secs(1));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds().oldest, 4);
}

pub(in crate::journal) async fn small_steps_are_followed_without_a_word<J: Journal>(open: impl Fn(&Options) -> Arc<J>) {
    let journal = open(&Options { max_age: Duration::from_secs(60), ..options() });
    append_many(&*journal, 1).await;
    clock().step(TimeDelta::seconds(-30));
    append_many(&*journal, 1).await;
    assert_eq!((journal.bounds().oldest, journal.condition()), (1, Condition::Ok));
    clock().step(TimeDelta::seconds(90));
    append_many(&*journal, 1).await;
    assert_eq!((journal.bounds().oldest, journal.condition()), (3, Condition::Ok));
}

pub(in crate::journal) async fn stamps_may_fall_and_order_is_by_place<J: Journal>(open: impl Fn(&Options) -> Arc<J>) {
    let journal = open(&options());
    let start = clock().wall();
    let from = |seconds| Query { since: Some(start + TimeDelta::seconds(seconds)), ..everything() };
    append_many(&*journal, 2).await;
    clock().step(TimeDelta::seconds(-40));
    append_many(&*journal, 2).await;
    advance(Duration::from_secs(60));
    append_many(&*journal, 2).await;
    assert_eq!(read(&*journal, everything()).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(read(&*journal, from(-60)).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(read(&*journal, from(-10)).await, [1, 2, 5, 6]);
    assert_eq!(read(&*journal, from(10)).await, [5, 6]);
    let newest_first = Query { newest_first: true, limit: 3, ..from(-10) };
    assert_eq!(read(&*journal, newest_first).await, [6, 5, 2]);
    let everyone = Query { audiences: Some(vec![Audience::Everyone]), ..from(-10) };
    assert_eq!(read(&*journal, everyone).await, [1, 2, 5, 6]);
}

pub(in crate::journal) async fn a_time_to_live_ends_by_the_clock_that_began_it<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
) {
    let journal = open(&options());
    let expires_at = Some(clock().wall() + TimeDelta::seconds(60));
    append(&*journal, vec![Entry { expires_at, ..entry("e", Audience::Everyone) }]).await;
    assert_eq!(read(&*journal, everything()).await, [1]);
    clock().step(TimeDelta::hours(1));
    assert_eq!(read(&*journal, everything()).await, [0; 0]);
    clock().step(TimeDelta::hours(-1));
    assert_eq!(read(&*journal, everything()).await, [1]);
    advance(Duration::from_secs(60));
    assert_eq!(read(&*journal, everything()).await, [0; 0]);
}
