use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    domain::{Audience, Durability, IdempotencyKey, KeyOwner},
    journal::{
        Append, Entry, Journal, Options, Outcome, Read, Stored,
        conformance::{self, entry_of},
        sqlite::{
            Sqlite,
            files::{self, Files},
            opening,
        },
    },
};

/// What a test publishes: owner, name of the key, content.
fn keyed(owner: &str, name: &str, content: u8) -> Entry {
    let owner = KeyOwner::named("test", &[owner]);
    let key = IdempotencyKey::new(owner, name).map(|key| (key, [content; 32]));
    Entry { key, ..entry_of("keyed", Audience::Everyone, "{}") }
}

/// A folder, and settings with which a journal lives there.
fn home(max_keys: Option<usize>) -> (TempDir, Options) {
    let folder = tempfile::tempdir().expect("a folder");
    let idempotency_max_keys = max_keys.and_then(NonZeroUsize::new);
    let options = Options { data_dir: folder.path().to_owned(), idempotency_max_keys, ..conformance::options() };
    (folder, options)
}

fn open(options: &Options) -> Sqlite {
    Sqlite::open(options, conformance::clock()).expect("opens")
}

fn file(options: &Options) -> Connection {
    Connection::open(options.data_dir.join(files::FILE)).expect("opens")
}

async fn append(journal: &Sqlite, entries: Vec<Entry>) -> Vec<Outcome> {
    journal.append(entries).await.expect("appends").outcomes
}

async fn is_known(journal: &Sqlite, owner: &str, name: &str) -> bool {
    !matches!(append(journal, vec![keyed(owner, name, 1)]).await[..], [Outcome::Appended(_)])
}

fn use_of(owner: u64, number: u64) -> KeyEntry {
    let key = IdempotencyKey { owner: KeyOwner::named("test", &[&owner.to_string()]), name: number.to_string().into() };
    let at = DateTime::from_timestamp_millis(number as i64).expect("a time");
    KeyEntry::new(&key, &[1; 32], Stored { seq: number, durability: None, at })
}

/// The numbers up to `until` that `owner` has in a window.
fn held(window: &KeyWindow, owner: u64, until: u64) -> Vec<u64> {
    (0..until).filter(|number| window.has(&use_of(owner, *number))).collect()
}

// a journal that is opened again answers a retry with the whole first result
#[tokio::test]
async fn the_first_result_survives_a_restart() {
    let (_folder, options) = home(None);
    let journal = open(&options);
    let process = Entry { durability: Durability::Process, ..keyed("b", "1", 1) };
    let first = append(&journal, vec![keyed("a", "1", 1), keyed("a", "2", 1)]).await;
    conformance::advance(Duration::from_millis(1_500));
    let second = append(&journal, vec![process.clone()]).await;
    journal.close().await.expect("closes");
    conformance::advance(Duration::from_secs(60));
    let journal = open(&options);
    let retries = append(&journal, vec![keyed("a", "1", 1), keyed("a", "2", 1), process, keyed("a", "2", 2)]).await;
    let stored = |outcome: &Outcome| match outcome {
        Outcome::Appended(stored) | Outcome::Duplicate(stored) => Some(*stored),
        Outcome::Conflict => None,
    };
    assert!(retries[..3].iter().all(|retry| matches!(retry, Outcome::Duplicate(_))), "{retries:?}");
    let expected: Vec<_> = first.iter().chain(&second).map(stored).collect();
    assert_eq!(retries[..3].iter().map(stored).collect::<Vec<_>>(), expected);
    assert_eq!(expected[2].expect("stored").durability, Some(Durability::Process));
    assert_eq!(retries[3], Outcome::Conflict);
}

// what went in memory is not there after a restart, and what stayed is, by the same rules in the same order
#[tokio::test]
async fn a_restart_gives_the_same_window() {
    let (_folder, options) = home(Some(40));
    let journal = open(&options);
    append(&journal, (0..3).map(|n| keyed("few", &n.to_string(), 1)).collect()).await;
    for batch in 0..30 {
        append(&journal, (0..5).map(|n| keyed("many", &(batch * 5 + n).to_string(), 1)).collect()).await;
        append(&journal, vec![keyed("some", &batch.to_string(), 1)]).await;
    }
    let known = |window: &KeyWindow| window.len();
    let mut window = KeyWindow::new(&options);
    KeyTable::read(&file(&options), &mut window).expect("reads");
    assert_eq!(known(&window), 40);
    journal.close().await.expect("closes");
    let journal = open(&options);
    for n in 0..3 {
        assert!(is_known(&journal, "few", &n.to_string()).await, "{n}");
    }
    assert!(is_known(&journal, "many", "149").await && is_known(&journal, "many", "140").await);
    assert!(is_known(&journal, "some", "29").await && is_known(&journal, "some", "12").await);
    assert!(!is_known(&journal, "many", "10").await);
}

// keys that cannot be read are unknown, and everything else is as it was
#[tokio::test]
async fn a_damaged_row_of_keys_costs_its_keys_only() {
    for (sql, unknown) in [
        ("UPDATE key_batches SET keys = zeroblob(length(keys)) WHERE first = 81", "b"),
        ("UPDATE key_batches SET count = 81 WHERE first = 161", "c"),
        ("UPDATE key_batches SET ended = 7 WHERE first = 1", "a"),
        ("UPDATE key_batches SET keys = 'x', count = 'y' WHERE first = 1", "a"),
    ] {
        let (_folder, options) = home(None);
        let journal = open(&options);
        for row in ["a", "b", "c"] {
            append(&journal, (0..SHARED_ROW).map(|n| keyed(row, &n.to_string(), 1)).collect()).await;
        }
        journal.close().await.expect("closes");
        assert_eq!(file(&options).execute(sql, []).expect("writes"), 1);
        let damaged = for_each(&file(&options), |_| Ok::<_, rusqlite::Error>(())).expect("reads");
        assert_eq!(damaged, 1, "{sql}");
        let journal = open(&options);
        for owner in ["a", "b", "c"] {
            assert_eq!(is_known(&journal, owner, "7").await, owner != unknown, "{sql}: {owner}");
            assert!(is_known(&journal, owner, "7").await, "{sql}: {owner}");
        }
    }
}

// what could not be written was not claimed
#[tokio::test]
async fn a_commit_that_fails_claims_no_key() {
    let (_folder, options) = home(None);
    let journal = open(&options);
    append(&journal, vec![keyed("a", "before", 1)]).await;
    let fault = "CREATE TRIGGER fault BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END";
    file(&options).execute_batch(fault).expect("writes");
    assert!(journal.append(vec![keyed("a", "k", 1)]).await.is_err());
    file(&options).execute_batch("DROP TRIGGER fault").expect("writes");
    let outcomes = append(&journal, vec![keyed("a", "k", 2), keyed("a", "k", 2), keyed("a", "before", 1)]).await;
    let [Outcome::Appended(appended), Outcome::Duplicate(again), Outcome::Duplicate(before)] = outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((appended.seq, again, before.seq), (2, appended, 1));
    journal.close().await.expect("closes");
    assert!(is_known(&open(&options), "a", "k").await);
}

// keys of an older journal have no owner: they count for everybody until their window ends
#[tokio::test]
async fn keys_of_the_first_layout_are_carried_over() {
    let (_folder, options) = home(None);
    let now = conformance::clock().wall();
    let old = file(&options);
    old.execute_batch(include_str!("../schema_1.sql")).expect("the first layout");
    old.execute_batch("INSERT INTO journal (id, epoch, oldest) VALUES (1, 'e', 8)").expect("writes");
    old.pragma_update(None, "application_id", 0x4578_4e6a).expect("writes");
    old.pragma_update(None, "user_version", 1).expect("writes");
    for number in 0..5_000_i64 {
        let used_at = now.timestamp_millis() - 5_000 + number;
        let sql = "INSERT INTO keys (key, used_at, fingerprint, seq) VALUES (?1, ?2, ?3, 7)";
        old.execute(sql, (format!("k{number}"), used_at, [1_u8; 32])).expect("writes");
    }
    drop(old);
    let journal = open(&options);
    let retries = [keyed("a", "k0", 1), keyed("b", "k0", 1), keyed("b", "k4999", 1), keyed("b", "k4999", 2)];
    let outcomes = append(&journal, retries.to_vec()).await;
    let at = |before| now - TimeDelta::milliseconds(before);
    let stored = |at| Stored { seq: 7, durability: None, at };
    let first = Outcome::Duplicate(stored(at(5_000)));
    assert_eq!(outcomes, [first, first, Outcome::Duplicate(stored(at(1))), Outcome::Conflict]);
    assert_eq!(count(&file(&options)).expect("reads"), 5_000);
    conformance::advance(options.idempotency_window);
    let outcomes = append(&journal, vec![keyed("a", "k0", 1), keyed("b", "k0", 2)]).await;
    assert!(matches!(outcomes[..], [Outcome::Appended(_), Outcome::Appended(_)]), "{outcomes:?}");
    let table = "SELECT count(*) FROM sqlite_schema WHERE name = 'keys'";
    assert_eq!(file(&options).query_row(table, [], |row| row.get::<_, i64>(0)).expect("reads"), 0);
}

/// Publishes `numbers` under keys of `owner`, `at_once` in a commit.
fn publish(
    connection: &Connection,
    (table, window): (&mut KeyTable, &mut KeyWindow),
    owner: u64,
    numbers: std::ops::Range<u64>,
    at_once: usize,
) {
    let keys: Vec<_> = numbers.map(|number| use_of(owner, number)).collect();
    for keys in keys.chunks(at_once) {
        table.append(connection, keys, NEVER).expect("writes");
        table.tidy(connection, window, 256 + 4 * keys.len()).expect("writes");
        for key in keys {
            window.remember(key, NEVER);
        }
    }
}

// the file holds not many more keys than memory does, whosever keys go, and in whatever portions they come
#[test]
fn the_file_lets_go_of_what_memory_let_go_of() {
    for at_once in [1, 7, 500] {
        let (_folder, options) = home(Some(4_000));
        let files = Files::take(&options.data_dir).expect("a folder for us");
        let connection = opening::open_to_write(&files, false).expect("opens");
        let mut window = KeyWindow::new(&options);
        let (mut table, _) = KeyTable::read(&connection, &mut window).expect("reads");
        // A few keys that stay lie among many that go.
        for round in 0..100 {
            publish(&connection, (&mut table, &mut window), 2, round * 10..round * 10 + 10, at_once);
            publish(&connection, (&mut table, &mut window), 1, round * 400..round * 400 + 400, at_once);
        }
        let written = count(&connection).expect("reads") as usize;
        assert_eq!(written, table.written);
        assert!(written < 2 * 4_000 + SLACK + 4 * at_once, "{written} keys of {} ({at_once} at once)", window.len());
        let mut again = KeyWindow::new(&options);
        let (read, damaged) = KeyTable::read(&connection, &mut again).expect("reads");
        assert_eq!((read.written, damaged, read.next > table.last.first), (written, 0, true));
        for (owner, until) in [(1, 40_000), (2, 1_000)] {
            assert_eq!(held(&again, owner, until), held(&window, owner, until), "{owner} ({at_once} at once)");
        }
        assert_eq!(held(&again, 2, 1_000).len(), 1_000);
        window.expire(i64::MAX, usize::MAX);
        for _ in 0..100 {
            table.tidy(&connection, &window, 1_024).expect("writes");
        }
        assert!(table.written <= SLACK && count(&connection).expect("reads") as usize == table.written);
    }
}

// what was not read is not held against a later commit: the journal goes on behind it
#[tokio::test]
async fn keys_are_written_behind_a_damaged_end() {
    let (_folder, options) = home(None);
    let journal = open(&options);
    append(&journal, vec![keyed("a", "1", 1), keyed("a", "2", 1)]).await;
    journal.close().await.expect("closes");
    file(&options).execute("UPDATE key_batches SET count = 1 << 60", []).expect("writes");
    let journal = Arc::new(open(&options));
    assert_eq!(append(&journal, vec![keyed("a", "3", 1)]).await.len(), 1);
    assert!(is_known(&journal, "a", "3").await && journal.shortest_key_life().is_none());
    journal.close().await.expect("closes");
    assert!(is_known(&open(&options), "a", "3").await);
}
