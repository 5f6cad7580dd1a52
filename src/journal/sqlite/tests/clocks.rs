//! The clock from one start to the next: what an earlier run stamped is held against what the clock shows now.

use std::{path::Path, time::Duration};

use chrono::TimeDelta;

use super::*;
use crate::journal::conformance::{advance, clock};

const DAY: Duration = Duration::from_secs(86_400);

fn open_in(dir: &Path) -> Sqlite {
    let options = Options { data_dir: dir.to_owned(), max_age: 7 * DAY, ..options() };
    Sqlite::open(&options, clock()).expect("opens")
}

async fn append(journal: &Sqlite, count: usize) {
    for _ in 0..count {
        journal.append(vec![entry_of("e", Audience::Everyone, "{}")]).await.expect("appends");
    }
}

async fn held(journal: &Sqlite) -> usize {
    journal.read(everything()).await.expect("reads").notifications.len()
}

// One start with the clock thirty days ahead, one event published; then the right time again.
#[tokio::test]
async fn one_start_with_a_clock_that_is_ahead_empties_nothing() {
    let dir = empty_dir();
    let journal = open_in(&dir);
    append(&journal, 6).await;
    drop(journal);
    clock().step(TimeDelta::days(30));
    let journal = open_in(&dir);
    append(&journal, 1).await;
    assert_eq!((held(&journal).await, journal.condition()), (7, Condition::Ok));
    drop(journal);
    // A second start does not begin to count anew, nor does it forget.
    advance(Duration::from_secs(60));
    let journal = open_in(&dir);
    append(&journal, 1).await;
    assert_eq!(held(&journal).await, 8);
    drop(journal);
    clock().step(TimeDelta::days(-30));
    let journal = open_in(&dir);
    assert!(matches!(journal.condition(), Condition::Degraded(reason) if reason.contains("settle-clock")));
    append(&journal, 1).await;
    assert_eq!(held(&journal).await, 9);
}

#[tokio::test]
async fn what_is_left_of_a_hold_outlives_the_process() {
    let dir = empty_dir();
    let journal = open_in(&dir);
    append(&journal, 2).await;
    drop(journal);
    clock().step(TimeDelta::days(8));
    let journal = open_in(&dir);
    append(&journal, 1).await;
    advance(DAY / 2);
    append(&journal, 1).await;
    drop(journal);
    let journal = open_in(&dir);
    advance(DAY / 2 - Duration::from_secs(1));
    append(&journal, 1).await;
    assert_eq!(journal.bounds().oldest, 1);
    advance(Duration::from_secs(1));
    append(&journal, 1).await;
    assert_eq!(journal.bounds().oldest, 3);
}

// The clock is slow at the start and right a moment later: stamps fall, and nothing is older for it than it is.
#[tokio::test]
async fn a_start_with_a_clock_that_is_slow_makes_nothing_old() {
    let dir = empty_dir();
    let journal = open_in(&dir);
    append(&journal, 3).await;
    drop(journal);
    clock().step(TimeDelta::days(-10));
    let journal = open_in(&dir);
    assert!(matches!(journal.condition(), Condition::Degraded(_)));
    append(&journal, 3).await;
    clock().step(TimeDelta::days(10));
    advance(Duration::from_secs(1));
    append(&journal, 1).await;
    assert_eq!((held(&journal).await, journal.condition()), (7, Condition::Ok));
    drop(journal);
    advance(2 * DAY);
    let journal = open_in(&dir);
    append(&journal, 1).await;
    assert_eq!(held(&journal).await, 8);
}
