//! Journals and exports of the first layout, as the released version wrote them (tests/fixtures), are carried forward.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::{Home, done, payloads, refused, sha, text};

/// What was written in 2025 is not let go of for its age.
const KEEP_ALL: &[(&str, &str)] = &[("JOURNAL_MAX_AGE", "36500d"), ("IDEMPOTENCY_WINDOW", "36500d")];

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/layout-1", name].iter().collect()
}

/// The SHA-256 of the payload at each place, as its publisher sent it.
fn sent() -> Vec<(u64, String)> {
    let lines = fs::read_to_string(fixture("payloads.sha256")).expect("a list");
    let line = |line: &str| {
        let (sha, seq) = line.split_once("  ").expect("two columns");
        (seq.parse().expect("a place"), sha.to_owned())
    };
    lines.lines().map(line).collect()
}

/// A home with a copy of a data directory.
pub(in crate::journal) fn home(name: &str) -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a directory");
    for file in fs::read_dir(fixture(name)).expect("a directory") {
        let file = file.expect("a file");
        fs::copy(file.path(), data.join(file.file_name())).expect("copies");
    }
    let home = Home::new(&data, KEEP_ALL);
    (folder, home)
}

/// What a journal has is what was sent, from `oldest` to `newest`.
pub(in crate::journal) async fn has_all(home: &Home, oldest: u64, newest: u64) {
    let export = done(home, &["export"]).await;
    let sent: Vec<_> = sent().into_iter().filter(|(seq, _)| (oldest..=newest).contains(seq)).collect();
    assert_eq!(sent.len() as u64, newest + 1 - oldest);
    let export = export.split("exported ").next().expect("the lines");
    assert_eq!(payloads(export), sent);
}

async fn is_carried_forward(name: &str, oldest: u64, newest: u64) {
    let (_folder, home) = home(name);
    let said = done(&home, &["check"]).await;
    assert!(said.contains("have no checksum") && said.ends_with("sound\n"), "as it is: {said}");
    has_all(&home, oldest, newest).await;

    let service = home.start().await;
    let (history, epoch) = service.history().await;
    assert_eq!(epoch, "9020528230f03c8a");
    let alive = sent().into_iter().filter(|(seq, _)| (oldest..=newest).contains(seq) && seq % 12 != 6);
    let got: Vec<_> =
        history.iter().map(|notification| (notification.sequence, sha(&notification.payload_json))).collect();
    assert_eq!(got, alive.collect::<Vec<_>>());
    // The last event under a key, sent again.
    let body = r#"{"event":"calificacion.creada","payload":{ "nota" : 9.50 , "n" : 83 }}"#;
    let request =
        service.rest.post(format!("http://{}/notify", home.http())).bearer_auth("dev").header("Idempotency-Key", "c83");
    let answer = request.header("Content-Type", "application/json").body(body).send().await.expect("an answer");
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!((&answer["sequence"], &answer["duplicate"]), (&json!(84), &json!(true)), "{answer}");
    assert_eq!(service.publish("after").await, newest + 1);
    service.stop().await;
    let said = done(&home, &["check"]).await;
    assert!(said.ends_with("sound\n"), "{said}");
    let export = done(&home, &["export"]).await;
    let sent = sent().into_iter().filter(|(seq, _)| (oldest..=newest).contains(seq));
    let export = payloads(export.split("exported ").next().expect("the lines"));
    assert_eq!(export[..export.len() - 1], sent.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_journal_that_was_ended_well_is_carried_forward() {
    is_carried_forward("stopped", 15, 84).await;
}

#[tokio::test]
async fn a_journal_that_was_killed_is_carried_forward() {
    is_carried_forward("killed", 19, 88).await;
}

// What needs no other layout works on the older one, and leaves it
#[tokio::test]
async fn an_older_layout_gets_a_new_epoch_and_is_not_backed_up() {
    let (folder, home) = home("stopped");
    let said = refused(&home, &["backup", text(&folder.path().join("copy.db"))]).await;
    assert!(said.contains("has the layout 1") && said.contains("copy DATA_DIR as a whole"), "{said}");
    assert!(!folder.path().join("copy.db").exists());
    let said = done(&home, &["new-epoch"]).await;
    assert!(said.contains("the epoch was 9020528230f03c8a") && said.contains("has the place 85"), "{said}");
    let file = rusqlite::Connection::open(home.file()).expect("opens");
    let layout: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number");
    assert_eq!(layout, 1);
    drop(file);
    let service = home.start().await;
    assert_ne!(service.history().await.1, "9020528230f03c8a");
    assert_eq!(service.publish("after").await, 85);
    service.stop().await;
}

// The first format had payloads as they are, over several lines where their publishers wrote them so
#[tokio::test]
async fn an_export_of_the_first_format_is_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(&folder.path().join("data"), KEEP_ALL);
    let said = done(&home, &["import", "--keep-epoch", text(&fixture("export.jsonl"))]).await;
    assert!(said.contains("imported 70 notifications and 21 idempotency keys"), "{said}");
    let said = done(&home, &["check"]).await;
    assert!(said.ends_with("sound\n") && !said.contains("no checksum"), "{said}");
    let export = done(&home, &["export"]).await;
    let got = payloads(export.split("exported ").next().expect("the lines"));
    // It left out the white space around a payload.
    let around = |seq: u64| seq % 12 == 7;
    let bare = |seq: u64| sha(format!("{{\n \"n\": {}\n}}", seq - 1).as_bytes());
    let sent = sent().into_iter().filter(|(seq, _)| (15..=84).contains(seq));
    let sent = sent.map(|(seq, sha)| if around(seq) { (seq, bare(seq)) } else { (seq, sha) });
    assert_eq!(got, sent.collect::<Vec<_>>());
}
