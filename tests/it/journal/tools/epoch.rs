//! `journal new-epoch` and `journal settle-clock`.

use std::fs;

use super::{super::disk::Disk, Home, Subscriber, done, publish_some, refused, text};

// A copied folder goes on under another epoch, so that clients that had seen more miss nothing that is new
#[tokio::test]
async fn a_copy_that_was_put_back_by_hand_goes_on_under_a_new_epoch() {
    let (folder, home) = Home::scratch(&[]);
    let kept = folder.path().join("kept.db");
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    publish_some(&service, "e", 1..=10).await;
    service.stop().await;
    fs::copy(home.file(), &kept).expect("copies");
    let service = home.start().await;
    subscriber.resume(&home).await;
    publish_some(&service, "e", 11..=20).await;
    subscriber.listen(20).await;
    service.stop().await;

    fs::copy(&kept, home.file()).expect("copies");
    let said = home.refusal().await;
    assert!(said.contains("20 was acknowledged"), "{said}");
    let said = refused(&home, &["new-epoch"]).await;
    assert!(said.contains("notification 20 was acknowledged, and the journal ends at 10"), "{said}");
    assert!(said.contains("--accept-loss"), "{said}");
    assert!(home.refusal().await.contains("20 was acknowledged"), "nothing was changed");
    let said = done(&home, &["new-epoch", "--accept-loss"]).await;
    assert!(said.contains("places 11 to 20 are given up"), "{said}");
    let service = home.start().await;
    let said = refused(&home, &["new-epoch"]).await;
    assert!(said.contains("another process uses"), "{said}");
    publish_some(&service, "new", 11..=15).await;
    subscriber.start_anew(&home).await;
    publish_some(&service, "new", 16..=20).await;
    subscriber.listen(5).await;
    assert_eq!(subscriber.got, [16, 17, 18, 19, 20]);
    assert_eq!(service.history().await.0.len(), 20);
    service.stop().await;
    done(&home, &["check"]).await;
    // Where nothing is lost, nothing has to be accepted.
    done(&home, &["new-epoch"]).await;
}

// A journal of which only the note of what it acknowledged is left
#[tokio::test]
async fn a_journal_that_is_gone_begins_anew_only_when_that_is_accepted() {
    let (_folder, home) = Home::scratch(&[]);
    let said = refused(&home, &["new-epoch"]).await;
    assert!(said.contains("there is no journal here"), "{said}");
    let service = home.start().await;
    let (_, epoch) = service.history().await;
    publish_some(&service, "e", 1..=3).await;
    service.stop().await;
    for is_empty in [false, true] {
        fs::remove_file(home.file()).expect("removes");
        if is_empty {
            fs::write(home.file(), "").expect("writes");
        }
        let said = refused(&home, &["new-epoch"]).await;
        assert!(said.contains("the journal is gone: notification 3 was acknowledged"), "{said}");
        let said = done(&home, &["new-epoch", "--accept-loss"]).await;
        assert!(said.contains("all that the journal held is given up"), "{said}");
        let service = home.start().await;
        let (history, another) = service.history().await;
        assert!(history.is_empty() && another != epoch);
        publish_some(&service, "e", 1..=3).await;
        service.stop().await;
    }
}

// What a service left in its log behind a sync that failed is synced before anything is kept behind it or carried over
#[tokio::test]
async fn a_log_that_is_there_is_synced_before_a_new_epoch_is_written() {
    let (folder, home) = Home::scratch(&[]);
    let disk = Disk::new(&home.data, folder.path());
    let service = home.start().await;
    publish_some(&service, "e", 1..=3).await;
    service.kill().await;
    let files = || [home.file(), home.log()].map(|file| fs::read(file).expect("there"));
    let before = files();
    let failing = disk.below(&home, &[("DISK_FAIL_SYNC", 1)]).with([("DISK_ONLY", "notifications.db-wal".into())]);
    let said = refused(&failing, &["new-epoch"]).await;
    assert!(said.contains("notifications.db-wal: Input/output error"), "{said}");
    assert!(files() == before, "something was written");
    done(&home, &["new-epoch"]).await;
}

// What was stamped by a clock that was ahead counts as written when the next one with a right stamp was
#[tokio::test]
async fn a_clock_is_settled_when_the_service_does_not_run() {
    let (folder, home) = Home::scratch(&[("JOURNAL_MAX_AGE", "36500d")]);
    let lines = folder.path().join("journal.jsonl");
    let (past, future) = (1_750_000_000_000_i64, 32_503_680_000_000_i64);
    let mut export = r#"{"journal":{"format":2,"epoch":"e","oldest":1,"newest":4}}"#.to_owned() + "\n";
    for (seq, at) in (1..).zip([past, future, future + 1, past + 1]) {
        export += &format!(
            "{{\"notification\":{{\"seq\":{seq},\"appended_at\":{at},\"audiences\":[\"*\"],\"event\":\"e\",\"source\":\"s\",\
             \"timestamp\":\"t\",\"payload\":\"{{}}\"}}}}\n"
        );
    }
    export += r#"{"end":{"notifications":4,"missing":0,"keys":0}}"#;
    fs::write(&lines, export).expect("writes");
    done(&home, &["import", text(&lines)]).await;
    let said = done(&home, &["check"]).await;
    assert!(said.contains("the latest stamp is 3000-01-01"), "{said}");
    let service = home.start().await;
    let said = refused(&home, &["settle-clock"]).await;
    assert!(said.contains("another process uses"), "{said}");
    service.stop().await;
    let said = done(&home, &["settle-clock"]).await;
    assert!(said.contains("3 rows of notifications"), "{said}");
    let file = rusqlite::Connection::open(home.file()).expect("opens");
    let latest: i64 = file
        .query_row("SELECT max(coalesce(reached_at, appended_at)) FROM blocks", [], |row| row.get(0))
        .expect("a row");
    assert_eq!(latest, past + 1);
    drop(file);
    let said = done(&home, &["settle-clock"]).await;
    assert!(said.contains("0 rows of notifications"), "{said}");
    let said = done(&home, &["check"]).await;
    assert!(said.ends_with("sound\n"), "{said}");
    let service = home.start().await;
    assert_eq!(service.history().await.0.len(), 4);
    service.stop().await;
}
