//! What is saved of a damaged journal, and what is said of it before and after.

use std::fs;

use super::{Home, done, marker, payloads, publish_some, refused, sha, text};

/// What the service may be sent: a payload, and the rest of the body.
fn bodies() -> Vec<(String, String)> {
    let many = |kind: char| (0..100).map(|n| format!("\"{kind}{n:0>127}\"")).collect::<Vec<_>>().join(",");
    let target = format!("\"target\":{{\"users\":[{}],\"rooms\":[{}],\"everyone\":true}}", many('u'), many('r'));
    let texts = format!("\"source\":\"{0}\",\"timestamp\":\"{0}\"", "\\u0000ñ".repeat(128));
    let bodies = [
        ("{}".to_owned(), target),
        ("{\n  \"a\": [\n    1\n  ]\n}".to_owned(), texts),
        ("{\r\n\t\"a\": 1.50,\r\n\"a\": 2 }".to_owned(), "\"source\":\"\"".to_owned()),
        ("{\"\u{2028}\":\"\u{2029}\u{feff}\\u2028\\ud83d\\ude00\"}".to_owned(), "\"ttl\":3600".to_owned()),
        (
            "{\"big\":123456789012345678901234567890,\"e\":1e-300}".to_owned(),
            "\"target\":{\"users\":[\"ñ\"]}".to_owned(),
        ),
        (format!("{}{}", "{\"a\":".repeat(125), "{}") + &"}".repeat(125), "\"target\":{\"rooms\":[\"r\"]}".to_owned()),
    ];
    let sizes = [1_000, 16_384, 100_000, 1_048_400];
    let large = sizes.map(|size| {
        (format!("{{\"p\":\"{}\"}}", "\\\"".repeat((size - 8) / 2)), "\"durability\":\"process\"".to_owned())
    });
    bodies.into_iter().chain(large).collect()
}

// Whatever the service takes, an export has byte for byte, and an import takes in again
#[tokio::test]
async fn everything_that_the_service_takes_is_moved_byte_for_byte() {
    let (folder, home) = Home::scratch(&[]);
    let lines = folder.path().join("journal.jsonl");
    let service = home.start().await;
    let mut sent = Vec::new();
    for (seq, (payload, rest)) in (1..).zip(bodies()) {
        let body = format!("{{\"event\":\"e\",{rest},\"payload\":{payload}}}");
        let (status, answer) = service.send(body, None).await;
        assert_eq!(status, 200, "{seq}: {answer}");
        sent.push((seq, sha(payload.as_bytes())));
    }
    let (before, _) = service.history().await;
    service.stop().await;
    done(&home, &["export", "--out", text(&lines)]).await;
    assert_eq!(payloads(&fs::read_to_string(&lines).expect("an export")), sent);
    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    done(&elsewhere, &["import", "--keep-epoch", text(&lines)]).await;
    done(&elsewhere, &["check"]).await;
    let service = elsewhere.start().await;
    let (after, _) = service.history().await;
    assert!(before == after, "they differ");
    assert_eq!(after.len(), sent.len());
    service.stop().await;
}

/// A stretch of the disk around an event gives back zeros; gives what is left of three hundred.
fn lose(home: &Home, marker: &str, bytes: usize) -> Vec<String> {
    let marker = format!("\"{marker}\"");
    let mut file = fs::read(home.file()).expect("the file");
    let found = file.windows(marker.len()).rposition(|bytes| bytes == marker.as_bytes()).expect("it is there");
    let stretch = found / bytes * bytes;
    file[stretch..stretch + bytes].fill(0);
    fs::write(home.file(), &file).expect("writes");
    let is_there = |marker: &String| file.windows(marker.len()).any(|bytes| bytes == marker.as_bytes());
    (1..=300).map(|n| format!("\"e-{n}\"")).filter(is_there).map(|marker| marker.trim_matches('"').to_owned()).collect()
}

// Where even the last row cannot be read, the rest is saved
#[tokio::test]
async fn a_journal_whose_end_is_damaged_is_saved_up_to_there() {
    let (folder, home) = Home::scratch(&[]);
    let lines = folder.path().join("journal.jsonl");
    let service = home.start().await;
    publish_some(&service, "e", 1..=300).await;
    service.stop().await;
    let left = lose(&home, "e-300", 4_096);
    assert!((200..300).contains(&left.len()), "{}", left.len());
    let said = refused(&home, &["check"]).await;
    assert!(said.contains("damaged: where the journal ends cannot be read"), "{said}");
    let said = refused(&home, &["export", "--out", text(&lines)]).await;
    assert!(said.contains(&format!("exported {} notifications", left.len())), "{said}");
    let export = fs::read_to_string(&lines).expect("an export");
    assert!(left.iter().all(|marker| export.contains(marker)), "something that can be read was left out");
    fs::remove_dir_all(&home.data).expect("removes");
    done(&home, &["import", text(&lines)]).await;
    done(&home, &["check"]).await;
}

// Damage is said as ranges, left out of an export and declared there, and known once it was imported
#[tokio::test]
async fn what_can_be_read_is_saved_and_the_rest_is_known() {
    let (folder, home) = Home::scratch(&[]);
    let lines = folder.path().join("journal.jsonl");
    let service = home.start().await;
    publish_some(&service, "e", 1..=300).await;
    service.stop().await;
    let left = lose(&home, "e-150", 8_192);

    let said = refused(&home, &["check"]).await;
    let range = said.lines().find_map(|line| line.strip_prefix("damaged: notifications ")).expect("a range");
    let (first, rest) = range.split_once(" to ").expect("two ends");
    let (last, what) = rest.split_once(' ').expect("two ends");
    let (first, last): (u64, u64) = (first.parse().expect("a place"), last.parse().expect("a place"));
    assert!((first..=last).contains(&150) && what == "cannot be read", "{said}");
    let missing = last + 1 - first;
    let said = refused(&home, &["export", "--out", text(&lines)]).await;
    assert!(said.contains(&format!("{missing} notifications are damaged and were left out")), "{said}");

    let export = fs::read_to_string(&lines).expect("an export");
    assert!(left.iter().all(|marker| export.contains(marker)), "something that can be read was left out");

    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    let said = refused(&elsewhere, &["import", "--keep-epoch", text(&lines)]).await;
    assert!(said.contains(&format!("lacks {missing} notifications, the first at place {first}")), "{said}");
    let said = done(&elsewhere, &["import", text(&lines)]).await;
    assert!(said.contains(&format!("{missing} notifications are missing")), "{said}");
    let said = done(&elsewhere, &["check"]).await;
    assert!(said.contains(&format!("{missing} places between them are known")) && said.ends_with("sound\n"), "{said}");
    let again = folder.path().join("again.jsonl");
    let said = done(&elsewhere, &["export", "--out", text(&again)]).await;
    assert!(said.contains(&format!("{missing} notifications are known to be missing")), "{said}");
    let service = elsewhere.start().await;
    assert_eq!(service.publish("e-301").await, 301);
    service.stop().await;
    let export = done(&elsewhere, &["export"]).await;
    assert_eq!(export.lines().filter(|line| line.starts_with("{\"notification\"")).count() as u64, 301 - missing);
}

// However far apart the places are on both sides of what is damaged, what is behind it is found
#[tokio::test]
async fn damage_beside_a_hole_without_end_is_passed_by() {
    const HOLE: u64 = 1 << 50;
    let folder = tempfile::tempdir().expect("a folder");
    let [lines, saved] = ["journal.jsonl", "saved.jsonl"].map(|name| folder.path().join(name));
    let mut export =
        format!("{{\"journal\":{{\"format\":2,\"epoch\":\"e\",\"oldest\":1,\"newest\":{}}}}}\n", HOLE + 300);
    for n in 1..=300 {
        let seq = if n <= 150 { n } else { HOLE + n };
        export += &format!(
            "{{\"notification\":{{\"seq\":{seq},\"appended_at\":{n},\"audiences\":[\"*\"],\"event\":\"e\",\"source\":\"s\",\
             \"timestamp\":\"t\",\"payload\":\"{{\\\"marker\\\":\\\"e-{n}\\\"}}\"}}}}\n"
        );
        if n == 150 {
            export += &format!("{{\"hole\":{{\"from\":151,\"to\":{}}}}}\n", HOLE + 150);
        }
    }
    export += &format!("{{\"end\":{{\"notifications\":300,\"missing\":{HOLE},\"keys\":0}}}}\n");
    fs::write(&lines, export).expect("writes");
    let home = Home::new(&folder.path().join("data"), &[]);
    done(&home, &["import", text(&lines)]).await;
    let left = lose(&home, "e-150", 4_096);
    assert!((200..300).contains(&left.len()), "{}", left.len());
    let said = refused(&home, &["check"]).await;
    assert!(said.contains("150 cannot be read"), "{said}");
    let said = refused(&home, &["export", "--out", text(&saved)]).await;
    assert!(said.contains(&format!("{HOLE} notifications are known to be missing")), "{said}");
    let export = fs::read_to_string(&saved).expect("an export");
    assert!(left.iter().all(|marker| export.contains(marker)), "something that can be read was left out");
}

// A list that is cut says how many more there are, and `--all` lists them
#[tokio::test]
async fn a_check_lists_all_or_says_how_many_more() {
    let (_folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    publish_some(&service, "e", 1..=40).await;
    service.stop().await;
    let file = rusqlite::Connection::open(home.file()).expect("opens");
    // Still a time, but not the one that was written.
    let altered = file.execute("UPDATE blocks SET appended_at = appended_at + 1 WHERE first % 2 = 0", []);
    assert_eq!(altered.expect("writes"), 20);
    drop(file);
    let said = refused(&home, &["check"]).await;
    assert_eq!(said.matches("cannot be read").count(), 10, "{said}");
    assert!(said.contains("10 more findings about the notifications; `journal check --all`"), "{said}");
    let said = refused(&home, &["check", "--all"]).await;
    assert_eq!(said.matches("cannot be read").count(), 20, "{said}");
    assert!(!said.contains("more findings"), "{said}");
}

// `journal import` takes in nothing that the service could not read again
#[tokio::test]
async fn an_import_refuses_a_line_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("journal.jsonl");
    let header = r#"{"journal":{"format":1,"epoch":"e","oldest":1,"newest":1}}"#;
    let notification = r#"{"notification":{"seq":1,"appended_at":1,"audiences":["x:y"],"event":"e","source":"s","timestamp":"t","payload":{}}}"#;
    fs::write(&lines, format!("{header}\n{notification}\n")).expect("writes");
    let home = Home::new(&folder.path().join("data"), &[]);
    let said = refused(&home, &["import", text(&lines)]).await;
    assert!(said.contains("line 2: audiences"), "{said}");
    let said = refused(&home, &["import", text(&folder.path().join("nothing"))]).await;
    assert!(said.contains("nothing: No such file"), "{said}");
    // Nothing was taken in, so that another one can be.
    fs::write(&lines, format!("{header}\n{}\n", notification.replace("x:y", "*"))).expect("writes");
    done(&home, &["import", text(&lines)]).await;
    let service = home.start().await;
    service.publish("after").await;
    let (history, _) = service.history().await;
    assert_eq!(history.last().map(marker).as_deref(), Some("after"));
    service.stop().await;
}
