//! Journals and exports of the first layout, as the released version wrote them (tests/fixtures), are carried forward.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::{Home, done, payloads, refused, sha, text};

/// What was written in 2025 is not let go of for its age.
const KEEP_ALL: &[(&str, &str)] = &[("JOURNAL_MAX_AGE", "36500d"), ("IDEMPOTENCY_WINDOW", "36500d")];

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/layout-1", name].iter().collect()
}

/// The incarnation of both journals.
pub(in crate::journal) const EPOCH: &str = "9020528230f03c8a";

/// A journal of the first layout, and the places that it has.
#[derive(Debug)]
pub(in crate::journal) struct Fixture {
    pub(in crate::journal) name: &'static str,
    pub(in crate::journal) oldest: u64,
    pub(in crate::journal) newest: u64,
}

/// One that was ended well.
pub(in crate::journal) const STOPPED: Fixture = Fixture { name: "stopped", oldest: 15, newest: 84 };
/// One that was killed, with a log that was not carried over.
pub(in crate::journal) const KILLED: Fixture = Fixture { name: "killed", oldest: 19, newest: 88 };

/// A key that was used before the migration.
#[derive(Debug, Clone)]
pub(in crate::journal) struct Used {
    pub(in crate::journal) key: String,
    pub(in crate::journal) event: &'static str,
    pub(in crate::journal) payload: String,
    /// The place that was given for it.
    pub(in crate::journal) seq: u64,
}

impl Fixture {
    /// A home with a copy of the data directory.
    pub(in crate::journal) fn home(&self) -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a directory");
        for file in fs::read_dir(fixture(self.name)).expect("a directory") {
            let file = file.expect("a file");
            fs::copy(file.path(), data.join(file.file_name())).expect("copies");
        }
        let home = Home::new(&data, KEEP_ALL);
        (folder, home)
    }

    /// The place and the SHA-256 of the payload of all it has, as the publishers sent them.
    pub(in crate::journal) fn sent(&self) -> Vec<(u64, String)> {
        let sent: Vec<_> = sent().into_iter().filter(|(seq, _)| (self.oldest..=self.newest).contains(seq)).collect();
        assert_eq!(sent.len() as u64, self.newest + 1 - self.oldest);
        sent
    }

    /// All keys that were used, the first of them for places that are not kept any more.
    pub(in crate::journal) fn keys(&self) -> Vec<Used> {
        let key = |n| {
            let (key, event, payload) = match n % 12 {
                1 => (format!("ana-{n}"), "user.login", format!(r#"{{"usuarioId": "ana", "n": {n}}}"#)),
                10 => (format!("clave unica {n}"), "user.77.saludo", r#"{"a":"\ud83d\ude00 \/ \u00e9"}"#.to_owned()),
                11 => (format!("c{n}"), "calificacion.creada", format!(r#"{{ "nota" : 9.50 , "n" : {n} }}"#)),
                _ => return None,
            };
            Some(Used { key, event, payload, seq: n + 1 })
        };
        (0..self.newest).filter_map(key).collect()
    }

    /// A journal has what was sent, and nothing else.
    pub(in crate::journal) async fn is_all_of(&self, home: &Home) {
        assert_eq!(exported(home).await, self.sent());
    }

    /// A journal has what was sent, and then what came later.
    pub(in crate::journal) async fn begins(&self, home: &Home) {
        let (export, sent) = (exported(home).await, self.sent());
        assert_eq!(export.get(..sent.len()), Some(&sent[..]));
    }
}

/// Whether what is at a place had had its time long before the migration.
pub(in crate::journal) fn has_ended(seq: u64) -> bool {
    seq % 12 == 6
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

async fn exported(home: &Home) -> Vec<(u64, String)> {
    let export = done(home, &["export"]).await;
    payloads(export.split("exported ").next().expect("the lines"))
}

async fn is_carried_forward(fixture: &Fixture) {
    let (_folder, home) = fixture.home();
    let said = done(&home, &["check"]).await;
    assert!(said.contains("have no checksum") && said.ends_with("sound\n"), "as it is: {said}");
    fixture.is_all_of(&home).await;

    let service = home.start().await;
    let (history, epoch) = service.history().await;
    assert_eq!(epoch, EPOCH);
    let alive = fixture.sent().into_iter().filter(|(seq, _)| !has_ended(*seq));
    let got: Vec<_> =
        history.iter().map(|notification| (notification.sequence, sha(&notification.payload_json))).collect();
    assert_eq!(got, alive.collect::<Vec<_>>());
    // The last event under a key, sent again.
    let body = r#"{"event":"calificacion.creada","payload":{ "nota" : 9.50 , "n" : 83 }}"#;
    let (_, answer) = service.send(body.to_owned(), Some("c83")).await;
    assert_eq!((&answer["sequence"], &answer["duplicate"]), (&json!(84), &json!(true)), "{answer}");
    assert_eq!(service.publish("after").await, fixture.newest + 1);
    service.stop().await;
    let said = done(&home, &["check"]).await;
    assert!(said.ends_with("sound\n"), "{said}");
    fixture.begins(&home).await;
    assert_eq!(exported(&home).await.len(), fixture.sent().len() + 1);
}

#[tokio::test]
async fn a_journal_that_was_ended_well_is_carried_forward() {
    is_carried_forward(&STOPPED).await;
}

#[tokio::test]
async fn a_journal_that_was_killed_is_carried_forward() {
    is_carried_forward(&KILLED).await;
}

// What needs no other layout works on the older one, and leaves it
#[tokio::test]
async fn an_older_layout_gets_a_new_epoch_and_is_not_backed_up() {
    let (folder, home) = STOPPED.home();
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
    assert_ne!(service.history().await.1, EPOCH);
    assert_eq!(service.publish("after").await, 85);
    service.stop().await;
}

// The first format had payloads as they are, over several lines where their publishers wrote them so
#[tokio::test]
async fn an_export_of_the_first_format_is_imported() {
    let (_folder, home) = Home::scratch(KEEP_ALL);
    let said = done(&home, &["import", "--keep-epoch", text(&fixture("export.jsonl"))]).await;
    assert!(said.contains("imported 70 notifications and 21 idempotency keys"), "{said}");
    let said = done(&home, &["check"]).await;
    assert!(said.ends_with("sound\n") && !said.contains("no checksum"), "{said}");
    let got = exported(&home).await;
    // It left out the white space around a payload.
    let around = |seq: u64| seq % 12 == 7;
    let bare = |seq: u64| sha(format!("{{\n \"n\": {}\n}}", seq - 1).as_bytes());
    let sent = STOPPED.sent().into_iter().map(|(seq, sha)| if around(seq) { (seq, bare(seq)) } else { (seq, sha) });
    assert_eq!(got, sent.collect::<Vec<_>>());
}
