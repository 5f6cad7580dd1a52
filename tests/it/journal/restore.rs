//! A backup that is made while publishers are at it, and put back.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinSet;

use super::{
    service::{Home, event, marker, notify, within},
    subscriber::Subscriber,
    tools::{done, refused, text},
};

const PUBLISHERS: usize = 16;

/// What was acknowledged, by its place.
type Ledger = Arc<Mutex<BTreeMap<u64, String>>>;

/// Publishes until there is no answer any more.
async fn publish(address: String, name: String, ledger: Ledger) {
    let client = reqwest::Client::new();
    for n in 0.. {
        let marker = format!("{name}-{n}");
        let Ok((200, answer)) = notify(&client, &address, &event(&marker), None).await else { return };
        ledger.lock().expect("nobody panicked").insert(answer["sequence"].as_u64().expect("a place"), marker);
    }
}

/// What was acknowledged, as soon as that is so much.
async fn until(ledger: &Ledger, count: usize) -> BTreeMap<u64, String> {
    let mut between = tokio::time::interval(Duration::from_millis(5));
    let asking = async {
        loop {
            between.tick().await;
            let known = ledger.lock().expect("nobody panicked");
            if known.len() >= count {
                return known.clone();
            }
        }
    };
    within("enough answers", asking).await
}

// Nothing that was acknowledged before the backup began is missing in it; who had seen more starts anew and misses nothing new
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_put_back() {
    let (folder, home) = Home::scratch(&[]);
    let copy = folder.path().join("copy.db");
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    let (ledger, mut publishers) = (Ledger::default(), JoinSet::new());
    for name in 0..PUBLISHERS {
        publishers.spawn(publish(home.http(), name.to_string(), Arc::clone(&ledger)));
    }
    let before = until(&ledger, 500).await;
    done(&home, &["backup", text(&copy)]).await;
    let copied = ledger.lock().expect("nobody panicked").len();
    let after = until(&ledger, copied + 500).await;
    let seen = after.len();
    subscriber.listen(seen).await;
    let (_, epoch) = service.history().await;
    service.stop().await;
    while publishers.join_next().await.is_some() {}

    fs::rename(&home.data, folder.path().join("away")).expect("moves");
    fs::create_dir(&home.data).expect("a folder");
    fs::copy(&copy, home.file()).expect("copies");
    let service = home.start().await;
    let (history, another) = service.history().await;
    assert_ne!(another, epoch);
    let held: BTreeMap<_, _> =
        history.iter().map(|notification| (notification.sequence, marker(notification))).collect();
    assert!(before.iter().all(|known| held.get(known.0) == Some(known.1)), "something acknowledged is missing");
    let newest = history.last().expect("some").sequence;
    assert_eq!(held.len() as u64, newest, "there is a gap");
    assert!(newest < *after.keys().last().expect("some"), "the publishers went on");

    subscriber.start_anew(&home).await;
    for n in 1..=20 {
        assert_eq!(service.publish(&format!("new-{n}")).await, newest + n);
    }
    subscriber.listen(20).await;
    assert_eq!(subscriber.got, (newest + 1..=newest + 20).collect::<Vec<_>>());
    let (_, epoch) = service.history().await;
    service.stop().await;
    let service = home.start().await;
    assert_eq!(service.history().await.1, epoch, "only the first start of a copy begins a new epoch");
    service.stop().await;
}

// A copy that is put where the journal was needs no empty directory, but no other journal's log may be there
#[tokio::test]
async fn a_copy_goes_on_where_the_journal_was_but_not_with_its_log() {
    let (folder, home) = Home::scratch(&[]);
    let copy = folder.path().join("copy.db");
    let service = home.start().await;
    assert_eq!(service.publish("e-1").await, 1);
    done(&home, &["backup", text(&copy)]).await;
    assert_eq!(service.publish("e-2").await, 2);
    service.kill().await;
    assert!(fs::metadata(home.log()).expect("a log is left behind").len() > 0);
    fs::copy(&copy, home.file()).expect("copies");
    let said = home.refusal().await;
    assert!(said.contains("is the log of another journal"), "{said}");
    let said = refused(&home, &["check"]).await;
    assert!(said.contains("is the log of another journal"), "{said}");
    for strange in ["notifications.db-wal", "notifications.db-shm"] {
        fs::remove_file(home.data.join(strange)).expect("removes");
    }
    let service = home.start().await;
    let (history, _) = service.history().await;
    assert_eq!(history.iter().map(marker).collect::<Vec<_>>(), ["e-1"]);
    assert_eq!(service.publish("e-3").await, 2);
    service.stop().await;
}
