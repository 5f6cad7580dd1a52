//! What lives on over a restart: places, epoch, resume, idempotency keys.

use super::{
    service::{Home, event, marker},
    subscriber::Subscriber,
};

async fn restart_keeps_everything(kill: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(&folder.path().join("data"), &[]);
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
    assert_eq!(
        (&again["id"], &again["sequence"], &again["duplicate"]),
        (&first["id"], &first["sequence"], &true.into())
    );
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
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(&folder.path().join("data"), &[]);
    let service = home.start().await;
    let said = Home::new(&home.data, &[]).refusal().await;
    assert!(said.contains("another process uses this DATA_DIR"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    service.publish("still there").await;
    service.stop().await;
}
