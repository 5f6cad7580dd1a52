//! What every engine must do for those who read.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{append, append_many, clock, entry, everything, options, read, room, user};
use crate::{
    clock::Clock,
    domain::{Audience, Audiences, Seq},
    journal::{Entry, Journal, Options, Query},
};

pub(in crate::journal) async fn pages_are_read_by_audience_and_position<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let both = Audiences::from_target(false, &["u".to_owned()], &["r".to_owned()]).expect("a target");
    let entries: [(&str, Audiences); 6] = [
        ("1", Audience::Everyone.into()),
        ("2", room("r").into()),
        ("3", user("u").into()),
        ("4", both),
        ("5", room("other").into()),
        ("6", Audience::Everyone.into()),
    ];
    append(&*journal, entries.map(|(name, audiences)| entry(name, audiences)).to_vec()).await;
    let mine = || Query { audiences: Some(vec![Audience::Everyone, user("u"), room("r")]), ..everything() };
    assert_eq!(read(&*journal, mine()).await, [1, 2, 3, 4, 6]);
    assert_eq!(read(&*journal, Query { after: 2, ..mine() }).await, [3, 4, 6]);
    assert_eq!(read(&*journal, Query { after: 1, before: Some(6), ..mine() }).await, [2, 3, 4]);
    assert_eq!(read(&*journal, Query { newest_first: true, limit: 2, ..mine() }).await, [6, 4]);
    assert_eq!(read(&*journal, Query { newest_first: true, before: Some(4), ..mine() }).await, [3, 2, 1]);
    assert_eq!(read(&*journal, Query { audiences: Some(vec![user("nobody")]), ..everything() }).await, [0; 0]);
    assert_eq!(read(&*journal, Query { audiences: Some(vec![]), ..everything() }).await, [0; 0]);
    assert_eq!(read(&*journal, Query { after: Seq::MAX, ..mine() }).await, [0; 0]);
    assert_eq!(read(&*journal, Query { after: 4, before: Some(2), ..mine() }).await, [0; 0]);
    assert_eq!(read(&*journal, Query { after: 4, before: Some(2), ..everything() }).await, [0; 0]);
    assert_eq!(journal.count(vec![user("u"), room("r")], 1, 4).await.expect("counts"), 3);
    assert_eq!(journal.count(vec![user("u")], 4, Seq::MAX).await.expect("counts"), 0);
}

pub(in crate::journal) async fn pages_keep_to_their_limits<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    append_many(&*journal, 5).await;
    let page = journal.read(Query { limit: 5, ..everything() }).await.expect("reads");
    assert_eq!((page.notifications.len(), page.more), (5, false));
    let page = journal.read(Query { limit: 4, ..everything() }).await.expect("reads");
    assert_eq!((page.notifications.len(), page.more), (4, true));
    let page = journal.read(Query { max_bytes: 1, ..everything() }).await.expect("reads");
    assert_eq!((page.notifications.len(), page.more), (1, true));
}

pub(in crate::journal) async fn pages_are_read_from_a_time_on<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&options());
    let start = clock().wall() - TimeDelta::milliseconds(500);
    for _ in 0..5 {
        append_many(&*journal, 2).await;
        advance(Duration::from_secs(10));
    }
    let from = |seconds| Query { since: Some(start + TimeDelta::seconds(seconds)), ..everything() };
    assert_eq!(read(&*journal, from(-60)).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(read(&*journal, from(20)).await, [5, 6, 7, 8, 9, 10]);
    assert_eq!(read(&*journal, from(21)).await, [7, 8, 9, 10]);
    assert_eq!(read(&*journal, Query { after: 8, ..from(20) }).await, [9, 10]);
    assert_eq!(read(&*journal, Query { newest_first: true, limit: 2, before: Some(9), ..from(20) }).await, [8, 7]);
    let audiences = Some(vec![Audience::Everyone]);
    assert_eq!(read(&*journal, Query { audiences, ..from(41) }).await, [0; 0]);
}

pub(in crate::journal) async fn what_expired_is_not_read<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&options());
    let expiring = |seconds| {
        let expires_at = Some(clock().wall() + TimeDelta::seconds(seconds));
        Entry { expires_at, ..entry("e", Audience::Everyone) }
    };
    append(&*journal, vec![expiring(60), entry("e", Audience::Everyone), expiring(3_600)]).await;
    let everyone = || Query { audiences: Some(vec![Audience::Everyone]), ..everything() };
    assert_eq!(read(&*journal, everyone()).await, [1, 2, 3]);
    advance(Duration::from_secs(61));
    assert_eq!(read(&*journal, everyone()).await, [2, 3]);
    assert_eq!(read(&*journal, Query { newest_first: true, limit: 2, ..everything() }).await, [3, 2]);
    assert_eq!(journal.count(vec![Audience::Everyone], 0, 3).await.expect("counts"), 2);
    let page = journal.read(Query { limit: 2, ..everything() }).await.expect("reads");
    assert!(!page.more);
}
