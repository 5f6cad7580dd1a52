//! What every engine must do. `suite!(open, advance)` makes the tests of one engine out of the promises in these files; `open`
//! takes the [`Options`] and gives an empty journal, and `advance` lets time go by for it. An engine whose time stands still
//! unless it is moved opens on [`clock`] and is moved by [`advance`].

pub(super) mod appending;
pub(super) mod clocks;
pub(super) mod commit_streams;
pub(super) mod embedded;
pub(super) mod keys;
pub(super) mod model;
pub(super) mod pages;
pub(super) mod retention;
mod shared;

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::DateTime;

use crate::{
    clock::Manual,
    domain::{
        Audience, Audiences, ClientId, Delivery, Durability, Event, IdempotencyKey, JsonText, KeyOwner, Notice,
        Payload, Publication, RoomId, Seq, UserId,
    },
    journal::{Append, CommitStream, Engine, Entry, Options, Outcome, Promise, Query, Read},
};

macro_rules! suite {
    ($open:ident, $advance:path) => {
        conformance::tests!(
            $open, $advance, appending:
            places_are_consecutive_and_ids_unique,
            a_batch_is_answered_entry_by_entry,
            an_answer_says_which_epoch_its_places_are_of,
            overlapping_appends_are_serialised,
            appends_are_kept_in_the_order_in_which_they_were_first_polled,
        );
        conformance::tests!(
            $open, $advance, commit_streams:
            tails_get_everything_once_and_in_order,
            a_slow_tail_loses_nothing,
            relayed_frames_reach_every_tail_and_are_not_kept,
            an_unread_tail_that_is_dropped_holds_nobody_up,
            tails_that_are_ended_give_what_was_committed_first,
            what_is_attended_to_is_delivered_or_can_be_read,
        );
        conformance::tests!(
            $open, $advance, pages:
            pages_are_read_by_audience_and_position,
            pages_keep_to_their_limits,
            pages_are_read_from_a_time_on,
            what_expired_is_not_read,
        );
        conformance::tests!(
            $open, $advance, keys:
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
        );
        conformance::tests!(
            $open, $advance, retention:
            retention_drops_the_oldest_by_count_and_says_so,
            retention_drops_the_oldest_by_bytes,
            retention_drops_the_oldest_by_age,
            places_go_on_when_all_is_dropped,
        );

        #[test]
        fn random_operations_agree_with_a_plain_model() {
            conformance::model::random_operations_agree_with_a_plain_model($open, $advance);
        }
    };
}
pub(super) use suite;

/// A test for each of these promises, which are functions of the module `subject`.
macro_rules! tests {
    ($open:ident, $advance:path, $subject:ident: $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                conformance::$subject::$promise($open, $advance).await;
            }
        )+
    };
}
pub(super) use tests;

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
    journal.append(entries).await.expect("appends").outcomes.into_iter().map(fate).collect()
}

async fn append_one(journal: &impl Append, entry: Entry) -> Fate {
    append(journal, vec![entry]).await[0]
}

async fn append_many(journal: &impl Append, count: usize) {
    for n in 0..count {
        append_one(journal, entry(&format!("e{n}"), Audience::Everyone)).await;
    }
}

async fn next_seqs(commits: &mut CommitStream, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        for delivery in commits.next().await.expect("the journal lives").iter() {
            if let Delivery::Notification(Publication { notification, .. }) = delivery {
                seqs.push(notification.seq);
            }
        }
    }
    seqs
}

/// What a client says in a room.
fn chat(text: &str) -> Notice {
    let (client_id, room) = (ClientId::parse("me").expect("a name"), RoomId::parse("r").expect("a name"));
    Notice::Chat { client_id, room, message: JsonText::of_text(text), at: DateTime::UNIX_EPOCH }
}
