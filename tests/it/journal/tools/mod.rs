//! The journal looked after from the command line.

mod backup;
mod disks;
mod epoch;
pub(super) mod layout_1;
mod rescue;

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use super::{
    service::{Home, Service, event, marker},
    subscriber::Subscriber,
};

/// Runs `journal …` and gives what it said, with its exit code.
pub(super) async fn journal(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let output = home.run(&[&["journal"], arguments].concat()).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

/// Runs `journal …`, which must end well, and gives what it said.
pub(super) async fn done(home: &Home, arguments: &[&str]) -> String {
    let (code, said) = journal(home, arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    said
}

/// Runs `journal …`, which must fail, and gives what it said.
pub(super) async fn refused(home: &Home, arguments: &[&str]) -> String {
    let (code, said) = journal(home, arguments).await;
    assert_eq!(code, Some(1), "{arguments:?}: {said}");
    said
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The place and the SHA-256 of every payload of an export in the second format.
fn payloads(export: &str) -> Vec<(u64, String)> {
    let lines =
        export.split_terminator('\n').map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let lines = lines.filter(|line| line.get("notification").is_some());
    let payload = |line: serde_json::Value| {
        let payload = line["notification"]["payload"].as_str().expect("a string").to_owned();
        (line["notification"]["seq"].as_u64().expect("a place"), sha(payload.as_bytes()))
    };
    lines.map(payload).collect()
}

pub(super) fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn publish_some(service: &Service, name: &str, places: std::ops::RangeInclusive<u64>) {
    for n in places {
        assert_eq!(service.publish(&format!("{name}-{n}")).await, n);
    }
}

// `journal export` and `import --keep-epoch` move a journal, places and epoch and keys with it, so that clients resume
#[tokio::test]
async fn an_exported_journal_goes_on_elsewhere() {
    let (folder, home) = Home::scratch(&[]);
    let lines = folder.path().join("journal.jsonl");
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    publish_some(&service, "before", 1..=3).await;
    service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    let said = done(&home, &["check"]).await;
    assert!(said.contains("4 notifications"), "beside the service: {said}");
    let said = refused(&home, &["prune", "--keep-entries", "1"]).await;
    assert!(said.contains("another process uses"), "not beside the service: {said}");
    service.stop().await;
    done(&home, &["export", "--out", text(&lines)]).await;
    let said = refused(&home, &["import", text(&lines)]).await;
    assert!(said.contains("not empty"), "{said}");

    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    done(&elsewhere, &["import", "--keep-epoch", text(&lines)]).await;
    let service = elsewhere.start().await;
    let (_, again) = service.notify(&event("keyed"), Some("key")).await.expect("an answer");
    assert_eq!((&again["sequence"], &again["duplicate"]), (&4.into(), &true.into()));
    assert_eq!(service.publish("after").await, 5);
    subscriber.resume(&elsewhere).await;
    subscriber.listen(5).await;
    assert_eq!(subscriber.got, [1, 2, 3, 4, 5]);
    service.stop().await;
}

// Others may have seen more of the old epoch than the export has, so an import begins a new one
#[tokio::test]
async fn clients_of_an_imported_journal_start_anew() {
    let (folder, home) = Home::scratch(&[]);
    let lines = folder.path().join("journal.jsonl");
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    publish_some(&service, "before", 1..=3).await;
    done(&home, &["export", "--out", text(&lines)]).await;
    publish_some(&service, "not exported", 4..=8).await;
    subscriber.listen(8).await;
    service.stop().await;
    fs::remove_dir_all(&home.data).expect("removes");
    let said = done(&home, &["import", text(&lines)]).await;
    assert!(said.contains("the epoch is a new one"), "{said}");
    let service = home.start().await;
    publish_some(&service, "after", 4..=5).await;
    subscriber.start_anew(&home).await;
    publish_some(&service, "after", 6..=9).await;
    subscriber.listen(4).await;
    assert_eq!(subscriber.got, [6, 7, 8, 9]);
    service.stop().await;
}

// `journal export | journal import -`
#[tokio::test]
async fn an_export_goes_through_a_pipe() {
    let (folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    publish_some(&service, "e", 1..=5).await;
    service.stop().await;
    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    let mut export = home.command(&["journal", "export"]);
    let mut export = export.stdout(std::process::Stdio::piped()).spawn().expect("the binary runs");
    let mut import = elsewhere.command(&["journal", "import", "-", "--keep-epoch"]);
    let import = import.stdin(export.stdout.take().expect("a pipe")).stdout(std::process::Stdio::null());
    assert!(import.status().expect("the binary runs").success());
    assert!(export.wait().expect("ends").success());
    let out = |home: &Home| home.command(&["journal", "export"]).output().expect("the binary runs").stdout;
    assert_eq!(out(&home), out(&elsewhere));
}

// `journal prune` lets the oldest go, and the rest is sound
#[tokio::test]
async fn a_pruned_journal_is_sound_and_goes_on() {
    let (_folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    publish_some(&service, "e", 1..=5).await;
    service.stop().await;
    done(&home, &["prune", "--keep-entries", "2"]).await;
    let said = done(&home, &["check"]).await;
    assert!(said.contains("2 notifications, places 4 to 5"), "{said}");
    let service = home.start().await;
    assert_eq!(service.publish("e-6").await, 6);
    let (history, _) = service.history().await;
    assert_eq!(history.iter().map(marker).collect::<Vec<_>>(), ["e-4", "e-5", "e-6"]);
    service.stop().await;
}

// Each tool says when to use it, whether beside the service, and how it ends
#[tokio::test]
async fn the_help_of_each_tool_is_a_manual() {
    let (_folder, home) = Home::scratch(&[]);
    let said = done(&home, &["--help"]).await;
    let tools = said.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let tools: Vec<_> =
        tools.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|tool| !tool.is_empty()).collect();
    assert_eq!(tools, ["check", "backup", "export", "import", "prune", "new-epoch", "settle-clock", "help"]);
    for tool in &tools[..7] {
        let said = done(&home, &[tool, "--help"]).await;
        for part in ["When: ", "eside the service: ", "Exit code: 0 ", "Example:\n", &format!("journal {tool}")] {
            assert!(said.contains(part), "{tool} lacks `{part}`:\n{said}");
        }
    }
}

// What the page tells people to type is there
#[tokio::test]
async fn the_commands_of_the_page_are_commands() {
    let (_folder, home) = Home::scratch(&[]);
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the page");
    let mut told = 0;
    for said in page.split("exposia-notifications journal ").skip(1) {
        let command = said.split(['\n', '`', '#', '|', '>']).next().expect("at least one").trim();
        let words: Vec<_> = command.split_whitespace().collect();
        let output = home.run(&[&["journal"], &words[..], &["--help"]].concat()).await;
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{command}");
        }
        told += 1;
    }
    assert!(told >= 7, "{told}");
}
