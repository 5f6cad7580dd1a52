//! Files that are missing, replaced, deleted or another process's: nothing is thrown away on a guess, and each is told.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{
    faults::{holds, is_refused},
    service::{Home, Service, event, within},
};

const NOTE: &str = "acknowledged";

/// The names in the data directory, but for the lock's, with what is in the files.
fn contents(home: &Home) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(&home.data)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("lock") && !path.ends_with("notifications.db-shm"))
        .map(|path| (path.clone(), fs::read(path).expect("a file")))
        .collect();
    found.sort();
    found
}

/// A service that must not start says why, and leaves everything as it is.
async fn is_lost(home: &Home) {
    let before = contents(home);
    let said = home.refusal().await;
    assert!(said.contains("20 was acknowledged") && said.contains("journal new-epoch --accept-loss"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(contents(home), before);
}

#[tokio::test]
async fn a_file_that_is_missing_is_not_taken_for_a_new_one() {
    let (folder, home) = Home::scratch(&[]);
    home.filled(20).await.kill().await;
    let aside = folder.path().join("aside.db");
    fs::rename(home.file(), &aside).expect("moves");
    is_lost(&home).await;
    fs::rename(aside, home.file()).expect("moves");
    holds(&home, 20).await;
}

#[tokio::test]
async fn a_file_that_is_empty_is_not_taken_for_a_new_one() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(20).await.stop().await;
    fs::write(home.file(), "").expect("writes");
    is_lost(&home).await;
}

#[tokio::test]
async fn a_file_without_a_table_is_not_taken_for_a_new_one_where_something_was_acknowledged() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(20).await.stop().await;
    fs::remove_file(home.file()).expect("removes");
    let empty = rusqlite::Connection::open(home.file()).expect("opens");
    empty.pragma_update(None, "application_id", 7).expect("writes");
    drop(empty);
    is_lost(&home).await;
}

#[tokio::test]
async fn a_log_whose_file_is_missing_is_kept_even_where_no_note_tells_of_it() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(20).await.kill().await;
    fs::remove_file(home.file()).expect("removes");
    fs::remove_file(home.data.join(NOTE)).expect("removes");
    let before = contents(&home);
    let said = home.refusal().await;
    assert!(said.contains("write-ahead log") && said.contains("put it back"), "{said}");
    assert_eq!(contents(&home), before);
}

// What a process leaves that is killed in the first moments of a first start: a first page, whatever it says, and no table.
#[tokio::test]
async fn a_file_without_any_table_is_new() {
    for setting in ["journal_mode = WAL", "application_id = 1163415146", "user_version = 1"] {
        let (_folder, home) = Home::scratch(&[]);
        fs::create_dir_all(&home.data).expect("a directory");
        let begun = rusqlite::Connection::open(home.file()).expect("opens");
        begun.execute_batch(&format!("PRAGMA {setting}; CREATE TABLE t (x); DROP TABLE t")).expect("writes");
        drop(begun);
        home.filled(1).await.stop().await;
        holds(&home, 1).await;
    }
}

#[tokio::test]
async fn a_note_that_cannot_be_read_stops_nothing() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(20).await.stop().await;
    fs::write(home.data.join(NOTE), [0xff; 40]).expect("writes");
    holds(&home, 20).await;
}

#[tokio::test]
async fn a_file_of_another_application_is_refused() {
    let (_folder, home) = Home::scratch(&[]);
    fs::create_dir_all(&home.data).expect("a directory");
    let other = rusqlite::Connection::open(home.file()).expect("opens");
    other.execute_batch("CREATE TABLE diary (entry TEXT)").expect("writes");
    drop(other);
    is_refused(&home, "is not a journal of this service").await;
}

async fn detail(service: &Service) -> Value {
    let (status, health) = service.health().await;
    assert_eq!(status, 200, "{health}");
    health["detail"].clone()
}

async fn until_told(service: &Service, what: &str) {
    let told = async {
        loop {
            if detail(service).await.as_str().is_some_and(|detail| detail.contains(what)) {
                return;
            }
        }
    };
    within(what, told).await;
}

/// Moves a file of a running service away: publishes are refused, health says it, and all is well when it is back.
async fn is_missed_while_running(name: &str) {
    let (folder, home) = Home::scratch(&[]);
    let service = home.filled(3).await;
    let (path, aside) = (home.data.join(name), folder.path().join("aside"));
    fs::rename(&path, &aside).expect("moves");
    until_told(&service, &format!("{name} was deleted")).await;
    let (status, refused) = service.notify(&event("e3"), None).await.expect("an answer");
    assert_eq!(status, 503, "{refused}");
    fs::write(&path, "another").expect("writes");
    until_told(&service, &format!("{name} was replaced")).await;
    fs::rename(&aside, &path).expect("moves");
    within("health by itself", async { while service.health().await.1["status"] != "healthy" {} }).await;
    assert_eq!(service.publish("e3").await, 4);
    service.kill().await;
    holds(&home, 4).await;
}

#[tokio::test]
async fn a_file_that_is_deleted_or_replaced_while_the_service_runs_is_missed() {
    is_missed_while_running("notifications.db").await;
}

#[tokio::test]
async fn a_log_that_is_deleted_or_replaced_while_the_service_runs_is_missed() {
    is_missed_while_running("notifications.db-wal").await;
}

#[tokio::test]
async fn a_second_process_is_refused_whatever_was_removed_beside_the_file() {
    let (_folder, home) = Home::scratch(&[]);
    let service = home.filled(3).await;
    fs::remove_file(home.data.join("lock")).expect("removes");
    let other = Home::new(&home.data, &[]);
    let said = other.refusal().await;
    assert!(said.contains("another process uses this DATA_DIR"), "{said}");
    assert_eq!(service.publish("e3").await, 4);
    service.stop().await;
    holds(&home, 4).await;
}
