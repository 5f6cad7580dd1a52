//! `journal backup` and `journal export --out`: what they leave, and what they refuse.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{Home, done, event, publish_some, refused, text};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

#[tokio::test]
async fn a_copy_of_a_running_journal_is_whole_and_private_and_never_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).expect("a folder");
    let copy = copies.join("copy.db");
    let home = Home::new(&folder.path().join("data"), &[]);
    let service = home.start().await;
    publish_some(&service, "e", 1..=20).await;
    service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    let said = done(&home, &["backup", text(&copy)]).await;
    assert!(said.contains("places 1 to 21"), "{said}");
    assert_eq!(names(&copies), ["copy.db"]);
    assert_eq!(fs::metadata(&copy).expect("there").permissions().mode() & 0o777, 0o600);
    let before = fs::read(&copy).expect("there");
    let said = refused(&home, &["backup", text(&copy)]).await;
    assert!(said.contains("never written over"), "{said}");
    assert_eq!(fs::read(&copy).expect("there"), before);
    service.stop().await;
    // Of one that does not run, too.
    done(&home, &["backup", text(&copies.join("another.db"))]).await;

    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    fs::create_dir(&elsewhere.data).expect("a folder");
    fs::copy(&copy, elsewhere.file()).expect("copies");
    let said = done(&elsewhere, &["check"]).await;
    assert!(said.contains("21 notifications") && said.contains("it is a copy"), "{said}");
    let export = |home: &Home| home.command(&["journal", "export"]).output().expect("the binary runs").stdout;
    assert_eq!(export(&elsewhere), export(&home));
}

#[tokio::test]
async fn a_copy_that_would_let_the_log_grow_is_given_up_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).expect("a folder");
    let home = Home::new(&folder.path().join("data"), &[]);
    let service = home.start().await;
    publish_some(&service, "e", 1..=3).await;
    let said = refused(&home, &["backup", text(&copies.join("copy.db")), "--max-log-bytes", "1000"]).await;
    assert!(said.contains("write-ahead log has") && said.contains("may let it have 1000"), "{said}");
    assert_eq!(names(&copies), [""; 0]);
    let said = refused(&home, &["backup", text(&copies.join("nowhere/copy.db"))]).await;
    assert!(said.contains("nowhere/copy.db: No such file"), "{said}");
    service.stop().await;
}

#[tokio::test]
async fn a_damaged_journal_is_copied_and_said_to_be() {
    let (folder, home) = Home::scratch(&[]);
    let copy = folder.path().join("copy.db");
    let service = home.start().await;
    publish_some(&service, "e", 1..=3).await;
    service.stop().await;
    let file = rusqlite::Connection::open(home.file()).expect("opens");
    file.execute("UPDATE blocks SET appended_at = 0 WHERE first = 2", []).expect("writes");
    drop(file);
    let said = refused(&home, &["backup", text(&copy)]).await;
    assert!(said.contains("damaged: notification 2 cannot be read") && copy.exists(), "{said}");
    fs::remove_file(home.file()).expect("removes");
    let said = refused(&home, &["backup", text(&folder.path().join("other.db"))]).await;
    assert!(said.contains("there is no journal here"), "{said}");
}

// A retry that fails costs nobody the export of yesterday, and a wrong name nobody the journal
#[tokio::test]
async fn an_export_is_private_and_never_written_over_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let exports = folder.path().join("exports");
    fs::create_dir(&exports).expect("a folder");
    let lines = exports.join("journal.jsonl");
    let home = Home::new(&folder.path().join("data"), &[]);
    let service = home.start().await;
    publish_some(&service, "e", 1..=3).await;
    done(&home, &["export", "--out", text(&lines)]).await;
    assert_eq!(fs::metadata(&lines).expect("there").permissions().mode() & 0o777, 0o600);
    let before = fs::read(&lines).expect("there");
    for there in [&lines, &home.file()] {
        let said = refused(&home, &["export", "--out", text(there)]).await;
        assert!(said.contains("never written over"), "{said}");
    }
    assert_eq!(fs::read(&lines).expect("there"), before);
    assert_eq!(names(&exports), ["journal.jsonl"]);
    publish_some(&service, "e", 4..=4).await;
    service.stop().await;
    done(&home, &["check"]).await;
    // Nothing is lost by writing to what keeps nothing.
    done(&home, &["export", "--out", "/dev/null"]).await;
}
