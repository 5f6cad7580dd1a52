//! The journal looked after from the command line.

use super::{
    service::{Home, event, marker},
    subscriber::Subscriber,
};

/// Runs `journal …` and gives what it said, with its exit code.
async fn journal(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let output = home.run(&[&["journal"], arguments].concat()).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

// `journal export` and `import` move a journal, places and epoch and keys with it, so that clients resume
#[tokio::test]
async fn an_exported_journal_goes_on_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("journal.jsonl");
    let lines = lines.to_str().expect("text");
    let home = Home::new(&folder.path().join("data"), &[]);
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    for n in 1..=3 {
        assert_eq!(service.publish(&format!("before-{n}")).await, n);
    }
    service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    let (code, said) = journal(&home, &["check"]).await;
    assert!(code == Some(0) && said.contains("4 notifications"), "beside the service: {said}");
    let (code, said) = journal(&home, &["prune", "--keep-entries", "1"]).await;
    assert!(code == Some(1) && said.contains("another process uses"), "not beside the service: {said}");
    service.stop().await;
    assert_eq!(journal(&home, &["export", "--out", lines]).await.0, Some(0));
    let (code, said) = journal(&home, &["import", lines]).await;
    assert!(code == Some(1) && said.contains("not empty"), "{said}");

    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    let (code, said) = journal(&elsewhere, &["import", lines]).await;
    assert_eq!(code, Some(0), "{said}");
    let service = elsewhere.start().await;
    let (_, again) = service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    assert_eq!((&again["sequence"], &again["duplicate"]), (&4.into(), &true.into()));
    assert_eq!(service.publish("after").await, 5);
    subscriber.resume(&elsewhere).await;
    subscriber.listen(5).await;
    assert_eq!(subscriber.got, [1, 2, 3, 4, 5]);
    service.stop().await;
}

// `journal prune` lets the oldest go, and the rest is sound
#[tokio::test]
async fn a_pruned_journal_is_sound_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(&folder.path().join("data"), &[]);
    let service = home.start().await;
    for n in 1..=5 {
        assert_eq!(service.publish(&format!("e{n}")).await, n);
    }
    service.stop().await;
    assert_eq!(journal(&home, &["prune", "--keep-entries", "2"]).await.0, Some(0));
    let (code, said) = journal(&home, &["check"]).await;
    assert!(code == Some(0) && said.contains("2 notifications, places 4 to 5"), "{said}");
    let service = home.start().await;
    assert_eq!(service.publish("e6").await, 6);
    let (history, _) = service.history().await;
    assert_eq!(history.iter().map(marker).collect::<Vec<_>>(), ["e4", "e5", "e6"]);
    service.stop().await;
}

// `journal import` takes in nothing that the service could not read again
#[tokio::test]
async fn an_import_refuses_a_line_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("journal.jsonl");
    let header = r#"{"journal":{"format":1,"epoch":"e","oldest":1,"newest":1}}"#;
    let notification = r#"{"notification":{"seq":1,"appended_at":1,"audiences":["x:y"],"event":"e","source":"s","timestamp":"t","payload":{}}}"#;
    std::fs::write(&lines, format!("{header}\n{notification}\n")).expect("writes");
    let home = Home::new(&folder.path().join("data"), &[]);
    let (code, said) = journal(&home, &["import", lines.to_str().expect("text")]).await;
    assert!(code == Some(1) && said.contains("line 2: audiences"), "{said}");
}
