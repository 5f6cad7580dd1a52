//! What every engine must let go, and when.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use super::{append_many, append_one, entry_of, everything, options, read, room};
use crate::{
    domain::Audience,
    journal::{Bounds, Journal, Options, Query},
};

pub(in crate::journal) async fn retention_drops_the_oldest_by_count_and_says_so<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&Options { max_entries: NonZeroUsize::new(3).expect("not zero"), ..options() });
    append_many(&*journal, 5).await;
    let page = journal.read(everything()).await.expect("reads");
    assert_eq!(page.bounds, Bounds::of_consecutive(3, 5));
    assert_eq!(page.notifications.iter().map(|notification| notification.seq).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(journal.count(vec![Audience::Everyone], 0, 5).await.expect("counts"), 3);
}

pub(in crate::journal) async fn retention_drops_the_oldest_by_bytes<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&Options { max_bytes: NonZeroUsize::new(50_000).expect("not zero"), ..options() });
    let large = format!(r#"{{"pad":"{}"}}"#, "x".repeat(10_000));
    for _ in 0..20 {
        append_one(&*journal, entry_of("large", room("r"), &large)).await;
    }
    let bounds = journal.bounds();
    assert_eq!(bounds.newest, 20);
    assert!((15..=20).contains(&bounds.oldest), "{bounds:?}");
    assert_eq!(read(&*journal, everything()).await, (bounds.oldest..=20).collect::<Vec<_>>());
}

pub(in crate::journal) async fn retention_drops_the_oldest_by_age<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&Options { max_age: Duration::from_secs(60), ..options() });
    append_many(&*journal, 3).await;
    advance(Duration::from_secs(30));
    append_many(&*journal, 2).await;
    assert_eq!(journal.bounds(), Bounds::of_consecutive(1, 5));
    advance(Duration::from_secs(30));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds(), Bounds::of_consecutive(4, 6));
    assert_eq!(read(&*journal, everything()).await, [4, 5, 6]);
    assert_eq!(journal.count(vec![Audience::Everyone], 0, 6).await.expect("counts"), 3);
}

pub(in crate::journal) async fn places_go_on_when_all_is_dropped<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&Options { max_age: Duration::from_secs(60), ..options() });
    append_many(&*journal, 5).await;
    advance(Duration::from_secs(61));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds(), Bounds::of_consecutive(6, 6));
    assert_eq!(read(&*journal, Query { audiences: Some(vec![Audience::Everyone]), ..everything() }).await, [6]);
}
