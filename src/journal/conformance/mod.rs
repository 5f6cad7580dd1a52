//! What every engine must do. `suite!(open, advance)` makes the tests of one engine out of the promises in this file; `open`
//! takes the [`Options`] and gives an empty journal, and `advance` lets time go by for it. An engine whose time stands still
//! unless it is moved opens on [`clock`] and is moved by [`advance`].

pub(super) mod clocks;
mod keys;
mod model;

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};

use crate::{
    clock::{Clock, Manual},
    domain::{
        Audience, Audiences, ClientId, Content, Delivery, Durability, Ephemeral, Event, IdempotencyKey, JsonText,
        KeyOwner, Notice, Payload, Publication, RoomId, Seq, UserId,
    },
    journal::{Append, Bounds, Engine, Entry, Journal, Options, Outcome, Promise, Query, Read, Tail},
};

macro_rules! suite {
    ($open:ident, $advance:path) => {
        conformance::suite!(
            $open,
            $advance,
            places_are_consecutive_and_ids_unique,
            a_batch_is_answered_entry_by_entry,
            tails_get_everything_once_and_in_order,
            a_slow_tail_makes_appends_wait_and_loses_nothing,
            relayed_frames_reach_every_tail_and_are_not_kept,
            an_unread_tail_that_is_dropped_holds_nobody_up,
            pages_are_read_by_audience_and_position,
            pages_keep_to_their_limits,
            pages_are_read_from_a_time_on,
            a_key_is_a_duplicate_within_and_across_batches,
            a_key_with_another_content_conflicts,
            keys_are_forgotten_after_their_window,
            the_oldest_keys_go_when_there_are_too_many,
            a_key_belongs_to_its_owner,
            whoever_publishes_much_forgets_its_own_keys,
            keys_keep_to_their_bytes_and_tell_how_long_they_lived,
            a_retry_answers_the_whole_first_result,
            keys_follow_a_clock_that_steps,
            keys_are_kept_while_the_clock_may_be_wrong,
            retention_drops_the_oldest_by_count_and_says_so,
            retention_drops_the_oldest_by_bytes,
            retention_drops_the_oldest_by_age,
            places_go_on_when_all_is_dropped,
            overlapping_appends_are_serialised,
            tails_that_are_ended_give_what_was_committed_first,
            what_expired_is_not_read,
        );

        #[test]
        fn random_operations_agree_with_a_plain_model() {
            conformance::random_operations_agree_with_a_plain_model($open, $advance);
        }
    };
    ($open:ident, $advance:path, $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                conformance::$promise($open, $advance).await;
            }
        )+
    };
}
pub(super) use suite;

pub(super) use keys::{
    a_key_belongs_to_its_owner, a_key_is_a_duplicate_within_and_across_batches, a_key_with_another_content_conflicts,
    a_retry_answers_the_whole_first_result, keys_are_forgotten_after_their_window,
    keys_are_kept_while_the_clock_may_be_wrong, keys_follow_a_clock_that_steps,
    keys_keep_to_their_bytes_and_tell_how_long_they_lived, the_oldest_keys_go_when_there_are_too_many,
    whoever_publishes_much_forgets_its_own_keys,
};
pub(super) use model::random_operations_agree_with_a_plain_model;

thread_local! {
    /// The clock of a test, which stands still unless it is moved.
    static CLOCK: Arc<Manual> = Arc::new(Manual::new(DateTime::from_timestamp(1_800_000_000, 500_000_000).expect("a time")));
}

/// The clock of this test.
pub(super) fn clock() -> Arc<Manual> {
    CLOCK.with(Arc::clone)
}

/// Lets time go by for this test.
pub(super) fn advance(by: Duration) {
    clock().advance(by);
}

pub(super) fn options() -> Options {
    Options {
        engine: Engine::Memory,
        data_dir: PathBuf::new(),
        durability: Promise::Fsync,
        no_copy: false,
        max_age: Duration::from_secs(1_000_000),
        max_entries: NonZeroUsize::new(1_000).expect("not zero"),
        max_bytes: NonZeroUsize::new(1 << 30).expect("not zero"),
        memory_bytes: NonZeroUsize::new(1 << 30).expect("not zero"),
        idempotency_window: Duration::from_secs(3_600),
        idempotency_max_bytes: NonZeroUsize::new(1 << 20).expect("not zero"),
        idempotency_max_keys: None,
    }
}

fn user(name: &str) -> Audience {
    Audience::User(UserId::parse(name).expect("a name"))
}

fn room(name: &str) -> Audience {
    Audience::Room(RoomId::parse(name).expect("a name"))
}

pub(super) fn entry_of(name: &str, audiences: impl Into<Audiences>, payload: &str) -> Entry {
    let payload = Payload::parse(Bytes::copy_from_slice(payload.as_bytes())).expect("an object");
    let event = Event { name: name.into(), payload, source: "test".into(), timestamp: "now".into() };
    Entry { event, audiences: audiences.into(), key: None, expires_at: None, durability: Durability::Fsync }
}

fn entry(name: &str, audiences: impl Into<Audiences>) -> Entry {
    entry_of(name, audiences, "{}")
}

fn keyed(key: &str, content: u8) -> Entry {
    keyed_by("somebody", key, content)
}

fn keyed_by(owner: &str, key: &str, content: u8) -> Entry {
    let mut entry = entry("keyed", Audience::Everyone);
    let key = IdempotencyKey::new(KeyOwner::named("test", &[owner]), key).expect("a name");
    entry.key = Some((key, [content; 32]));
    entry
}

pub(super) fn everything() -> Query {
    Query {
        audiences: None,
        after: 0,
        before: None,
        since: None,
        limit: 1_000,
        max_bytes: usize::MAX,
        newest_first: false,
    }
}

async fn read(journal: &impl Read, query: Query) -> Vec<Seq> {
    let page = journal.read(query).await.expect("reads");
    page.notifications.iter().map(|notification| notification.seq).collect()
}

/// What became of an entry, whatever the engine makes it survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Appended(Seq),
    Duplicate(Seq),
    Conflict,
}

async fn append(journal: &impl Append, entries: Vec<Entry>) -> Vec<Fate> {
    let fate = |outcome| match outcome {
        Outcome::Appended(stored) => Fate::Appended(stored.seq),
        Outcome::Duplicate(stored) => Fate::Duplicate(stored.seq),
        Outcome::Conflict => Fate::Conflict,
    };
    journal.append(entries).await.expect("appends").into_iter().map(fate).collect()
}

async fn append_one(journal: &impl Append, entry: Entry) -> Fate {
    append(journal, vec![entry]).await[0]
}

async fn append_many(journal: &impl Append, count: usize) {
    for n in 0..count {
        append_one(journal, entry(&format!("e{n}"), Audience::Everyone)).await;
    }
}

async fn next_seqs(tail: &mut Tail, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        for delivery in tail.next().await.expect("the journal lives").iter() {
            if let Delivery::Notification(Publication { notification, .. }) = delivery {
                seqs.push(notification.seq);
            }
        }
    }
    seqs
}

pub(super) async fn places_are_consecutive_and_ids_unique<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    assert_eq!(journal.bounds(), Bounds { oldest: 1, newest: 0 });
    append_many(&*journal, 3).await;
    let page = journal.read(everything()).await.expect("reads");
    let ids: Vec<_> = page.notifications.iter().map(|notification| notification.id()).collect();
    assert_eq!(ids, [1, 2, 3].map(|seq| format!("{}-{seq}", journal.epoch())));
    assert_eq!(journal.bounds(), Bounds { oldest: 1, newest: 3 });
    let names: Vec<_> = page.notifications.iter().map(|notification| &*notification.event.name).collect();
    assert_eq!(names, ["e0", "e1", "e2"]);
}

pub(super) async fn a_batch_is_answered_entry_by_entry<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let batch = vec![keyed("a", 1), entry("x", room("r")), keyed("a", 1), keyed("a", 2), entry("y", user("u"))];
    let outcomes = append(&*journal, batch).await;
    let expected = [Fate::Appended(1), Fate::Appended(2), Fate::Duplicate(1), Fate::Conflict, Fate::Appended(3)];
    assert_eq!(outcomes, expected);
    assert!(append(&*journal, Vec::new()).await.is_empty());
}

pub(super) async fn tails_get_everything_once_and_in_order<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    append_many(&*journal, 1).await;
    let mut tails = [journal.tail(), journal.tail()];
    let batch = vec![entry("a", room("r")), keyed("k", 1), keyed("k", 1), entry("b", user("u"))];
    append(&*journal, batch).await;
    append_many(&*journal, 1).await;
    for tail in &mut tails {
        assert_eq!(next_seqs(tail, 4).await, [2, 3, 4, 5]);
        assert!(tail.try_next().is_none());
    }
}

pub(super) async fn a_slow_tail_makes_appends_wait_and_loses_nothing<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    const MANY: usize = 500;
    let journal = open(&options());
    let mut tail = journal.tail();
    let ((), seqs) = tokio::join!(append_many(&*journal, MANY), next_seqs(&mut tail, MANY));
    assert_eq!(seqs, (1..=MANY as Seq).collect::<Vec<_>>());
}

fn chat(text: &str) -> Notice {
    let (client_id, room) = (ClientId::parse("me").expect("a name"), RoomId::parse("r").expect("a name"));
    Notice::Chat { client_id, room, message: JsonText::of_text(text), at: DateTime::UNIX_EPOCH }
}

pub(super) async fn relayed_frames_reach_every_tail_and_are_not_kept<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut tails = [journal.tail(), journal.tail()];
    for text in ["one", "two"] {
        journal.relay(Ephemeral::notice(chat(text))).await;
    }
    for tail in &mut tails {
        let mut frames = Vec::new();
        while frames.len() < 2 {
            for delivery in tail.next().await.expect("the journal lives").iter() {
                let Delivery::Ephemeral(frame) = delivery else { panic!("not a relayed frame") };
                assert_eq!(frame.audiences, room("r").into());
                assert_eq!(frame.except.as_ref().map(ClientId::as_str), Some("me"));
                let Content::Notice(notice) = &frame.content else { panic!("not a notice") };
                frames.push(notice.clone());
            }
        }
        assert_eq!(frames, ["one", "two"].map(chat));
    }
    assert_eq!(journal.bounds(), Bounds { oldest: 1, newest: 0 });
}

pub(super) async fn an_unread_tail_that_is_dropped_holds_nobody_up<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    drop(journal.tail());
    append_many(&*journal, 500).await;
    assert_eq!(journal.bounds().newest, 500);
}

pub(super) async fn pages_are_read_by_audience_and_position<J: Journal>(
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

pub(super) async fn pages_keep_to_their_limits<J: Journal>(open: impl Fn(&Options) -> Arc<J>, _: impl Fn(Duration)) {
    let journal = open(&options());
    append_many(&*journal, 5).await;
    let page = journal.read(Query { limit: 5, ..everything() }).await.expect("reads");
    assert_eq!((page.notifications.len(), page.more), (5, false));
    let page = journal.read(Query { limit: 4, ..everything() }).await.expect("reads");
    assert_eq!((page.notifications.len(), page.more), (4, true));
    let page = journal.read(Query { max_bytes: 1, ..everything() }).await.expect("reads");
    assert_eq!((page.notifications.len(), page.more), (1, true));
}

pub(super) async fn pages_are_read_from_a_time_on<J: Journal>(
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

pub(super) async fn retention_drops_the_oldest_by_count_and_says_so<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&Options { max_entries: NonZeroUsize::new(3).expect("not zero"), ..options() });
    append_many(&*journal, 5).await;
    let page = journal.read(everything()).await.expect("reads");
    assert_eq!(page.bounds, Bounds { oldest: 3, newest: 5 });
    assert_eq!(page.notifications.iter().map(|notification| notification.seq).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(journal.count(vec![Audience::Everyone], 0, 5).await.expect("counts"), 3);
}

pub(super) async fn retention_drops_the_oldest_by_bytes<J: Journal>(
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

pub(super) async fn retention_drops_the_oldest_by_age<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&Options { max_age: Duration::from_secs(60), ..options() });
    append_many(&*journal, 3).await;
    advance(Duration::from_secs(30));
    append_many(&*journal, 2).await;
    assert_eq!(journal.bounds(), Bounds { oldest: 1, newest: 5 });
    advance(Duration::from_secs(30));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds(), Bounds { oldest: 4, newest: 6 });
    assert_eq!(read(&*journal, everything()).await, [4, 5, 6]);
    assert_eq!(journal.count(vec![Audience::Everyone], 0, 6).await.expect("counts"), 3);
}

pub(super) async fn places_go_on_when_all_is_dropped<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    advance: impl Fn(Duration),
) {
    let journal = open(&Options { max_age: Duration::from_secs(60), ..options() });
    append_many(&*journal, 5).await;
    advance(Duration::from_secs(61));
    append_many(&*journal, 1).await;
    assert_eq!(journal.bounds(), Bounds { oldest: 6, newest: 6 });
    assert_eq!(read(&*journal, Query { audiences: Some(vec![Audience::Everyone]), ..everything() }).await, [6]);
}

pub(super) async fn overlapping_appends_are_serialised<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut tail = journal.tail();
    let many = (0..20).map(|_| append_many(&*journal, 10));
    let (_, seqs) = tokio::join!(futures_util::future::join_all(many), next_seqs(&mut tail, 200));
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
}

pub(super) async fn tails_that_are_ended_give_what_was_committed_first<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut tail = journal.tail();
    append_many(&*journal, 3).await;
    journal.end_tails();
    append_many(&*journal, 1).await;
    assert_eq!(next_seqs(&mut tail, 3).await, [1, 2, 3]);
    assert!(tail.next().await.is_none());
}

pub(super) async fn what_expired_is_not_read<J: Journal>(
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
