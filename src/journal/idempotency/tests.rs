use std::num::NonZeroUsize;

use super::*;
use crate::{domain::Durability, journal::conformance::options};

fn window(max_bytes: usize, max_keys: Option<usize>) -> KeyWindow {
    KeyWindow::new(&Options {
        idempotency_max_bytes: NonZeroUsize::new(max_bytes).expect("not zero"),
        idempotency_max_keys: max_keys.and_then(NonZeroUsize::new),
        ..options()
    })
}

/// The key `number` of `owner`, used at `number`.
fn entry(owner: u64, number: u64) -> KeyEntry {
    let key = IdempotencyKey { owner: KeyOwner::named("test", &[&owner.to_string()]), name: number.to_string().into() };
    let at = DateTime::from_timestamp_millis(number as i64).expect("a time");
    KeyEntry::new(&key, &[1; 32], Stored { seq: number, durability: None, at })
}

/// The bytes that the window takes, by what it has room for.
fn bytes(window: &KeyWindow) -> usize {
    window.slots.bytes() + window.index.bytes() + window.owners.bytes()
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    for durability in [None, Some(Durability::Memory), Some(Durability::Process), Some(Durability::Fsync)] {
        for used_at in [-1, 0, 1_800_000_000_123] {
            let entry = KeyEntry { durability, used_at, seq: 1 << 52, ..entry(1, 1) };
            let mut written = Vec::new();
            entry.write(&mut written);
            let written: &[u8; ENTRY_BYTES] = written.as_slice().try_into().expect("as long as an entry");
            assert_eq!(KeyEntry::read(written), entry);
        }
    }
}

// 64 bytes a key, however many there are: also where the tables have just grown
#[test]
fn a_key_takes_no_more_than_its_bytes() {
    let mut window = window(1 << 30, None);
    let fixed = 1_024 * ENTRY_BYTES + bytes(&window);
    let mut most = 0.0_f64;
    for number in 0..150_000 {
        window.remember(&entry(number % 2, number), NEVER);
        if number % 256 == 0 && number > 20_000 {
            most = most.max((bytes(&window) - fixed) as f64 / window.len() as f64);
        }
    }
    assert!(most <= KEY_BYTES as f64, "{most} bytes a key");
    assert!(most > 50.0, "{most} bytes a key: too few to be true");
}

// a publisher of whom there is one key takes what an owner takes, and that counts, too
#[test]
fn owners_take_no_more_than_their_bytes_and_are_forgotten() {
    const MANY: u64 = 50_000;
    let mut window = window(1 << 30, None);
    let fixed = 1_024 * ENTRY_BYTES + bytes(&window);
    for owner in 0..MANY {
        window.remember(&entry(owner, owner), NEVER);
    }
    let each = (bytes(&window) - fixed) / MANY as usize;
    assert!(each <= KEY_BYTES + OWNER_BYTES, "{each} bytes a key with its owner");
    let mut window = self::window((KEY_BYTES + OWNER_BYTES) * 100, None);
    for owner in 0..MANY {
        window.remember(&entry(owner, owner), NEVER);
    }
    assert_eq!((window.len(), window.owners.len()), (100, 100));
    window.expire(MANY as i64, usize::MAX);
    assert_eq!((window.len(), window.owners.len(), window.slots.len()), (0, 0, 0));
}

/// Which of the keys from 0 to `until` an owner has.
fn has(window: &KeyWindow, owner: u64, until: u64) -> Vec<u64> {
    (0..until).filter(|number| window.has(&entry(owner, *number))).collect()
}

#[test]
fn one_owner_holds_at_most_half() {
    let mut window = window(KEY_BYTES * 20 + OWNER_BYTES * 2, None);
    window.remember(&entry(2, 0), NEVER);
    let went: Vec<_> = (1..50).map(|number| window.remember(&entry(1, number), NEVER)).collect();
    let held = has(&window, 1, 50);
    assert_eq!(held, (50 - held.len() as u64..50).collect::<Vec<_>>(), "the newest");
    assert_eq!(held.len(), (KEY_BYTES * 20 + OWNER_BYTES * 2) / KEY_BYTES / 2);
    assert_eq!(has(&window, 2, 1), [0]);
    assert_eq!(went.last(), Some(&Some(49 - held.len() as i64)));
}

#[test]
fn whoever_has_most_gives_way() {
    let mut window = window(1 << 20, Some(12));
    (0..12).for_each(|number| assert_eq!(window.remember(&entry(1, number), NEVER), None));
    for number in 12..60 {
        window.remember(&entry(2, number), NEVER);
    }
    assert_eq!(has(&window, 1, 60), (6..12).collect::<Vec<_>>(), "an equal share is nobody else's");
    assert_eq!(has(&window, 2, 60), (54..60).collect::<Vec<_>>());
    window.remember(&entry(3, 60), NEVER);
    for number in 61..100 {
        window.remember(&entry(2, number), NEVER);
    }
    assert_eq!(has(&window, 3, 100), [60]);
    assert_eq!(window.len(), 12);
}

#[test]
fn what_is_too_old_goes_first_and_is_told_to_nobody() {
    let mut window = window(1 << 20, Some(4));
    for (owner, number) in [(1, 0), (1, 1), (2, 2), (1, 3)] {
        window.remember(&entry(owner, number), NEVER);
    }
    assert_eq!(window.remember(&entry(2, 4), 0), None);
    assert_eq!((has(&window, 1, 5), has(&window, 2, 5)), (vec![1, 3], vec![2, 4]));
    assert_eq!(window.remember(&entry(2, 5), 0), Some(2));
}

// a key whose window is over may be used again while the old use still takes room; when that goes, the new one stays
#[test]
fn a_new_use_outlives_the_old_one() {
    let mut window = window(1 << 20, None);
    let first = entry(1, 1);
    let again = KeyEntry { seq: 9, used_at: 100, ..first };
    window.remember(&first, NEVER);
    window.remember(&entry(1, 2), NEVER);
    window.remember(&again, 50);
    window.expire(50, 2);
    assert!(window.has(&again) && !window.has(&first) && window.len() == 1);
}

#[test]
fn the_shortest_life_is_told_for_an_hour() {
    let life = KeyLife::default();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    assert_eq!(life.shortest(minutes(0)), None);
    life.note(Duration::from_secs(7), minutes(3));
    life.note(Duration::from_secs(5), minutes(3));
    life.note(Duration::from_secs(9), minutes(30));
    assert_eq!(life.shortest(minutes(63)), Some(Duration::from_secs(5)));
    assert_eq!(life.shortest(minutes(64)), Some(Duration::from_secs(9)));
    life.note(Duration::from_secs(11), minutes(64));
    assert_eq!(life.shortest(minutes(91)), Some(Duration::from_secs(11)));
    assert_eq!(life.shortest(minutes(125)), None);
}
