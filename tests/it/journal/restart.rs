//! What lives on over a restart: places, epoch, resume, idempotency keys.

use super::{
    service::{Home, event, marker},
    subscriber::Subscriber,
};

async fn restart_keeps_everything(kill: bool) {
    let (_folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    for n in 1..=3 {
        assert_eq!(service.publish(&format!("before-{n}")).await, n);
    }
    let (_, first) = service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    subscriber.listen(2).await;
    let (_, epoch) = service.history().await;
    if kill {
        service.kill().await;
        assert!(home.log().metadata().expect("a log is left behind").len() > 0);
    } else {
        service.stop().await;
        assert!(!home.log().exists(), "a good end leaves no log behind");
    }

    let service = home.start().await;
    let (_, again) = service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    let mut expected = first.clone();
    (expected["duplicate"], expected["receivers"]) = (true.into(), 0.into());
    assert_eq!(again, expected, "the whole first result");
    let (status, _) = service.notify(&event("another"), Some("key")).await.expect("an answer");
    assert_eq!(status, 409);
    assert_eq!(service.publish("after").await, 5);
    subscriber.resume(&home).await;
    subscriber.listen(5).await;
    assert_eq!(subscriber.got, [1, 2, 3, 4, 5]);
    let (history, epoch_after) = service.history().await;
    assert_eq!(history.iter().map(marker).collect::<Vec<_>>(), ["before-1", "before-2", "before-3", "keyed", "after"]);
    assert_eq!(epoch_after, epoch);
    service.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_places_epoch_and_keys() {
    restart_keeps_everything(false).await;
}

#[tokio::test]
async fn a_kill_keeps_places_epoch_and_keys() {
    restart_keeps_everything(true).await;
}

#[tokio::test]
async fn a_second_process_is_refused_the_directory() {
    let (_folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    let said = Home::new(&home.data, &[]).refusal().await;
    assert!(said.contains("another process uses this DATA_DIR"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    service.publish("still there").await;
    service.stop().await;
}

/// The epoch after a kill with `DURABILITY=process`, when the machine went down in between or not.
async fn epochs_around_a_kill(power_cut: bool) -> (String, String) {
    let (_folder, home) = Home::scratch(&[("DURABILITY", "process")]);
    let service = home.start().await;
    service.publish("not synced").await;
    let (_, epoch) = service.history().await;
    service.kill().await;
    if power_cut {
        let file = rusqlite::Connection::open(home.file()).expect("opens");
        let sql = "UPDATE journal SET unsynced_since_boot = 'an earlier one' WHERE unsynced_since_boot IS NOT NULL";
        assert_eq!(file.execute(sql, []).expect("writes"), 1);
    }
    let service = home.start().await;
    let (_, first) = service.history().await;
    service.stop().await;
    let service = home.start().await;
    let (history, second) = service.history().await;
    assert_eq!(history.len(), 1);
    assert_eq!(first, second, "the accident is made good for once");
    service.stop().await;
    (epoch, second)
}

// `DURABILITY=process` survives a kill; after a power cut the same places are never given to others under
// the same epoch
#[tokio::test]
async fn a_power_cut_over_what_was_not_synced_begins_a_new_epoch() {
    let (before, after) = epochs_around_a_kill(true).await;
    assert_ne!(before, after);
    let (before, after) = epochs_around_a_kill(false).await;
    assert_eq!(before, after);
}
