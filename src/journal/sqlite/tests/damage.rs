//! A file of which a part is damaged: whatever part that is, what can be read is read, the rest is told, and nothing is made up.

use std::{cell::Cell, collections::BTreeMap, path::Path, time::Duration};

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::{
    clock::Manual,
    domain::{IdempotencyKey, KeyOwner, RoomId, UserId},
    journal::Query,
};

const PAGE: usize = 4_096;
const COUNT: Seq = 600;
const MAX_AGE: Duration = Duration::from_secs(600);

fn audience(seq: Seq) -> Audience {
    match seq % 3 {
        0 => Audience::Everyone,
        1 => Audience::User(UserId::parse("ana").expect("a name")),
        _ => Audience::Room(RoomId::parse(&format!("room-{}", seq % 30)).expect("a name")),
    }
}

fn payload(seq: Seq) -> String {
    format!(r#"{{"seq":{seq},"pad":"{}"}}"#, "x".repeat((seq % 7 * 150) as usize))
}

/// The time at which everything here begins.
fn start() -> Arc<Manual> {
    Arc::new(Manual::new(DateTime::from_timestamp(1_800_000_000, 0).expect("a time")))
}

fn open_in(dir: &Path, clock: Arc<Manual>) -> Result<Sqlite, Error> {
    let memory_bytes = NonZeroUsize::new(64 * 1024).expect("not zero");
    Sqlite::open(&Options { data_dir: dir.to_owned(), memory_bytes, max_age: MAX_AGE, ..options() }, clock)
}

/// What was published at `seq`, under a key of its own.
fn keyed(seq: Seq) -> Entry {
    let key = IdempotencyKey::new(KeyOwner::named("test", &["ana"]), seq.to_string()).map(|key| (key, [1; 32]));
    Entry { key, ..entry_of("e", audience(seq), &payload(seq)) }
}

/// The bytes of a journal of [`COUNT`] notifications, most of which have an index.
fn whole() -> Vec<u8> {
    let dir = empty_dir();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let journal = open_in(&dir, start()).expect("opens");
    let mut seq = 0;
    while seq < COUNT {
        let batch = (seq + 1..=(seq + 1 + seq % 5).min(COUNT)).collect::<Vec<_>>();
        seq = *batch.last().expect("not empty");
        let entries = batch.iter().map(|seq| keyed(*seq)).collect();
        runtime.block_on(journal.append(entries)).expect("appends");
    }
    drop(journal);
    fs::read(dir.join(files::FILE)).expect("the file")
}

/// Reads all that is for `audiences`, page by page in one direction: what was read, and what was told to be lost.
async fn read_through(journal: &Sqlite, audiences: Option<Vec<Audience>>, newest_first: bool) -> (Vec<Seq>, Vec<Seq>) {
    let (mut read, mut lost, mut query) = (Vec::new(), Vec::new(), everything());
    query = Query { audiences, limit: 37, newest_first, ..query };
    loop {
        let page = journal.read(query.clone()).await.expect("a page");
        for notification in &page.notifications {
            let expected = payload(notification.seq);
            assert_eq!(notification.event.payload.as_bytes(), expected.as_bytes(), "{}", notification.seq);
            assert_eq!(notification.audiences, audience(notification.seq).into());
            read.push(notification.seq);
        }
        lost.extend(page.lost.into_iter().flatten());
        let Some(last) = page.notifications.last().filter(|_| page.more) else { return (read, lost) };
        match newest_first {
            true => query.before = Some(last.seq),
            false => query.after = last.seq,
        }
    }
}

/// Everything is read or told to be lost, each once and in order, whoever asks and in whatever direction. Gives how many were
/// lost.
async fn check_reading(journal: &Sqlite) -> usize {
    let mut lost_to_all = 0;
    for audiences in [None, Some(vec![Audience::Everyone]), Some(vec![audience(1), audience(5)])] {
        for newest_first in [false, true] {
            let (mut read, lost) = read_through(journal, audiences.clone(), newest_first).await;
            if newest_first {
                read.reverse();
            }
            assert!(read.is_sorted_by(|one, other| one < other), "{read:?}");
            let mut told: BTreeMap<Seq, usize> = BTreeMap::new();
            read.iter().chain(&lost).for_each(|seq| *told.entry(*seq).or_default() += 1);
            assert!(told.values().all(|times| *times == 1), "read and lost, or lost twice: {told:?}");
            let wanted = |seq: &Seq| audiences.as_ref().is_none_or(|audiences| audiences.contains(&audience(*seq)));
            let silent: Vec<_> = (1..=COUNT).filter(wanted).filter(|seq| !told.contains_key(seq)).collect();
            assert!(silent.is_empty(), "neither read nor told ({audiences:?}, {newest_first}): {silent:?}");
            if audiences.is_none() {
                lost_to_all = lost.len();
            }
            let damaged = matches!(journal.condition(), Condition::Degraded(reason) if reason.contains("damaged"));
            assert!(lost.is_empty() || damaged, "lost, and nobody is told");
        }
    }
    lost_to_all
}

thread_local! {
    /// How many journals could be opened, and took nothing in.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

/// What is old goes, whatever is damaged, and what is young stays.
async fn ages(journal: &Sqlite, clock: &Manual) {
    clock.advance(MAX_AGE);
    let young = entry_of("e", Audience::Everyone, "{}");
    for _ in 0..20 {
        if journal.append(vec![young.clone()]).await.is_err() {
            return REFUSED.set(REFUSED.get() + 1);
        }
    }
    let bounds = journal.bounds();
    assert!(bounds.oldest > COUNT && bounds.newest + 1 - bounds.oldest >= 20, "{bounds:?}");
    let page = journal.read(everything()).await.expect("reads");
    assert!(page.notifications.len() >= 20, "{} of {bounds:?}", page.notifications.len());
}

/// What becomes of a journal with these bytes: it is refused as damaged, or it is read around the damage, and what is appended
/// is kept or refused. Gives how many were lost, if it could be opened.
fn what_becomes_of(bytes: &[u8]) -> Option<usize> {
    let dir = empty_dir();
    fs::write(dir.join(files::FILE), bytes).expect("writes");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let clock = start();
    let journal = match open_in(&dir, Arc::clone(&clock)) {
        Ok(journal) => journal,
        Err(Error::Damaged(_)) => return None,
        Err(error) => panic!("refused for another reason: {error}"),
    };
    runtime.block_on(async {
        let lost = check_reading(&journal).await;
        journal.count(vec![audience(1)], 0, COUNT).await.expect("counts");
        match journal.append(vec![entry_of("e", audience(COUNT + 1), &payload(COUNT + 1))]).await {
            Ok(_) => {
                assert!(journal.bounds().newest > COUNT);
                ages(&journal, &clock).await;
            }
            Err(Error::Damaged(_)) => REFUSED.set(REFUSED.get() + 1),
            Err(error) => panic!("not appended for another reason: {error}"),
        }
        Some(lost)
    })
}

#[test]
fn whichever_page_is_empty_the_rest_is_read_and_what_is_lost_is_told() {
    let whole = whole();
    let (mut refused, mut lost) = (0, Vec::new());
    for page in 1..whole.len() / PAGE {
        let mut bytes = whole.clone();
        bytes[page * PAGE..(page + 1) * PAGE].fill(0);
        match what_becomes_of(&bytes) {
            Some(count) => lost.push(count),
            None => refused += 1,
        }
    }
    // Most of the file is rows, of which one page has a few.
    assert!(refused <= 8, "{refused} pages without which the journal is not opened");
    assert!(REFUSED.get() <= 6, "{} pages without which nothing is taken in", REFUSED.get());
    assert!(lost.iter().filter(|count| (1..100).contains(*count)).count() > whole.len() / PAGE / 2, "{lost:?}");
    assert!(lost.iter().all(|count| *count < COUNT as usize), "{lost:?}");
}

#[test]
fn a_long_stretch_that_is_empty_is_passed_by() {
    let whole = whole();
    let pages = whole.len() / PAGE;
    let mut bytes = whole;
    bytes[pages / 3 * PAGE..pages * 2 / 3 * PAGE].fill(0x5a);
    if let Some(lost) = what_becomes_of(&bytes) {
        assert!((50..COUNT as usize).contains(&lost), "{lost}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("LONG_TESTS").is_some() { 3_000 } else { 48 }))]

    /// A row that is not as it was written is not given out, whatever it says.
    #[test]
    fn bytes_that_changed_are_found(changes in proptest::collection::vec((0.03..1.0f64, any::<u8>()), 1..6)) {
        thread_local! { static WHOLE: Vec<u8> = whole(); }
        let mut bytes = WHOLE.with(Clone::clone);
        for (position, value) in changes {
            let position = (position * (bytes.len() - 1) as f64) as usize;
            bytes[position] = value;
        }
        what_becomes_of(&bytes);
    }
}

#[test]
fn what_is_damaged_goes_with_what_follows_and_the_journal_is_well_again() {
    let bytes = whole();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(outlive_the_damage(bytes));
}

async fn outlive_the_damage(mut bytes: Vec<u8>) {
    let page = bytes.len() / PAGE / 4;
    bytes[page * PAGE..(page + 2) * PAGE].fill(0);
    let dir = empty_dir();
    fs::write(dir.join(files::FILE), bytes).expect("writes");
    let max_age = Duration::from_secs(60);
    let options = Options { data_dir: dir, memory_bytes: NonZeroUsize::MIN, max_age, ..options() };
    let clock = start();
    let journal = Sqlite::open(&options, Arc::clone(&clock) as _).expect("opens");
    let (_, lost) = read_through(&journal, None, false).await;
    assert!(!lost.is_empty() && journal.condition() != Condition::Ok);
    clock.advance(max_age);
    for n in 1..20 {
        journal.append(vec![entry_of("e", Audience::Everyone, &payload(COUNT + n))]).await.expect("appends");
    }
    assert_eq!(journal.bounds().oldest, COUNT + 1);
    assert_eq!(journal.condition(), Condition::Ok);
    let page = journal.read(everything()).await.expect("reads");
    assert_eq!((page.notifications.len(), page.lost.len()), (19, 0));
}
