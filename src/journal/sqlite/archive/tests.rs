use std::{fmt::Write as _, io::Cursor};

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::{Manner, export, import};
use crate::{
    domain::Seq,
    journal::sqlite::{check, files::Files, opening, tools::JournalToolError},
};

const KEEP: Manner = Manner { keep_epoch: true, partial: false };
const PARTIAL: Manner = Manner { keep_epoch: false, partial: true };

fn empty() -> (TempDir, Connection) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::take(folder.path()).expect("nobody has it");
    let connection = opening::open_to_write(&files, false).expect("opens");
    (folder, connection)
}

/// What became of an import, with the journal that it was into.
fn imported(text: &str, manner: Manner) -> Result<(TempDir, Connection, u64), JournalToolError> {
    let (folder, connection) = empty();
    let imported = import(&connection, Cursor::new(text), manner)?;
    Ok((folder, connection, imported.missing))
}

fn refusal(text: &str, manner: Manner) -> String {
    imported(text, manner).err().map(|error| error.to_string()).unwrap_or_default()
}

fn exported(connection: &Connection) -> String {
    let mut text = Vec::new();
    export(connection, None, &mut text).expect("exports");
    String::from_utf8(text).expect("text")
}

fn findings(connection: &Connection) -> Vec<String> {
    let mut findings = Vec::new();
    check::findings(connection, None, |_, finding| findings.push(finding)).expect("reads");
    findings
}

fn header(oldest: Seq, newest: Seq) -> String {
    format!("{{\"journal\":{{\"format\":2,\"epoch\":\"e\",\"oldest\":{oldest},\"newest\":{newest}}}}}\n")
}

fn notification(seq: Seq, appended_at: i64, payload: &str) -> String {
    let line = json!({ "notification": {
        "seq": seq, "appended_at": appended_at, "audiences": ["*", "u:ana"], "event": "e", "source": "", "timestamp": "t", "payload": payload,
    }});
    format!("{line}\n")
}

fn hole(from: Seq, to: Seq) -> String {
    format!("{{\"hole\":{{\"from\":{from},\"to\":{to}}}}}\n")
}

fn key(key: &str, seq: Seq) -> String {
    format!("{{\"key\":{{\"key\":\"{key}\",\"used_at\":5,\"fingerprint\":\"{}\",\"seq\":{seq}}}}}\n", "AB".repeat(32))
}

fn end(notifications: u64, missing: u64, keys: u64) -> String {
    format!("{{\"end\":{{\"notifications\":{notifications},\"missing\":{missing},\"keys\":{keys}}}}}\n")
}

#[test]
fn what_is_imported_is_exported_byte_for_byte() {
    let pad = format!("{{\"pad\":\"{}\"}}", "é".repeat(512 * 1024));
    let payloads = [
        "{}",
        "{\n  \"a\": 1\n}",
        "{\r\n\t\"a\": 1.50 }\n\n",
        " {\"\\u2028\":\"\u{2028}\u{2029}\u{feff}\\u0000\\\"\"}",
        "{\"big\":123456789012345678901234567890,\"n\":1,\"n\":2}",
        &pad,
    ];
    let long = "ñ".repeat(256);
    let users: Vec<_> = (0..100).map(|n| format!("u:{n:0>128}")).collect();
    let rooms: Vec<_> = (0..100).map(|n| format!("r:{n:😀>128}")).collect();
    let audiences = [vec!["*".to_owned()], users, rooms].concat();
    let mut text = header(7, 12);
    for (seq, payload) in (7..).zip(payloads) {
        let line = json!({ "notification": {
            "seq": seq, "appended_at": 1_000, "expires_at": 2_000, "audiences": audiences, "event": long, "source": long,
            "timestamp": long, "payload": payload,
        }});
        writeln!(text, "{line}").expect("a string has room");
    }
    let known = json!({ "key": {
        "digest": "0123456789abcdef0123456789abcdef", "owner": "0123456789abcdef", "fingerprint": "fedcba9876543210",
        "seq": 7, "used_at": 5, "durability": "fsync",
    }});
    text += &format!("{known}\n{}", end(6, 0, 1));
    let (_folder, connection, _) = imported(&text, KEEP).expect("imports");
    assert_eq!(findings(&connection), [""; 0]);
    let again = exported(&connection);
    let values = |text: &str| -> Vec<serde_json::Value> {
        text.split_terminator('\n').map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let [given, got] = [values(&text), values(&again)].map(|mut lines| {
        for audiences in lines.iter_mut().filter_map(|line| line["notification"]["audiences"].as_array_mut()) {
            audiences.sort_by_key(|audience| audience.as_str().map(ToOwned::to_owned));
        }
        lines
    });
    assert!(given == got, "they differ");
}

// An export of the first format has payloads as they are, on as many lines as they take.
#[test]
fn payloads_over_several_lines_are_read() {
    let header = header(1, 2).replace("\"format\":2", "\"format\":1");
    let payload = "{\n  \"a\": \"}\\\"{\",\r\n\n  \"b\": [1,\n2]\n}";
    let line = |seq, payload| notification(seq, 1, "PAYLOAD").replace("\"PAYLOAD\"", payload);
    let text = header.clone() + &line(1, payload) + &line(2, "{}") + &key("k", 2);
    let (_folder, connection, _) = imported(&text, KEEP).expect("imports");
    assert!(exported(&connection).contains(&serde_json::to_string(payload).expect("a string")));
    let bad = header + &line(1, payload) + &line(2, "{\n\"a\":\n tru }");
    assert!(refusal(&bad, KEEP).starts_with("line 10: expected ident"), "{}", refusal(&bad, KEEP));
}

#[test]
fn an_export_that_was_cut_is_refused_unless_what_is_there_is_wanted() {
    let text = header(1, 3)
        + &notification(1, 1, "{\"a\":1}")
        + &hole(2, 2)
        + &notification(3, 1, "{}")
        + &key("k", 1)
        + &end(2, 1, 1);
    let whole = text.trim_end().len();
    let first_line = text.find('\n').expect("lines");
    for cut in 0..whole {
        assert!(imported(&text[..cut], Manner::default()).is_err(), "cut at {cut}");
        let partial = imported(&text[..cut], PARTIAL);
        assert_eq!(partial.is_ok(), cut >= first_line, "cut at {cut}: {:?}", partial.err());
        if let Ok((_folder, connection, _)) = partial {
            assert_eq!(findings(&connection), [""; 0], "cut at {cut}");
        }
    }
    assert!(refusal(&text[..whole - 1], Manner::default()).contains("it was cut"));
    assert!(imported(&text[..whole], Manner::default()).is_ok());
    let removed = text.replace(&notification(3, 1, "{}"), "");
    assert!(
        refusal(&removed, Manner::default()).contains("lines were lost or removed"),
        "{}",
        refusal(&removed, Manner::default())
    );
    assert!(imported(&removed, PARTIAL).is_ok());
}

#[test]
fn what_could_not_be_served_is_refused_with_its_line() {
    let most = (1 << 53) - 1;
    let with = |line: &str| header(1, most) + &notification(1, 1, "{}") + line;
    let entry = format!(
        "{{\"key\":{{\"digest\":\"{}\",\"owner\":\"{}\",\"fingerprint\":\"{}\",\"used_at\":5,\"seq\":1}}}}\n",
        "0123456789abcdef".repeat(2),
        "0123456789abcdef",
        "0123456789abcdef"
    );
    assert!(imported(&(with(&entry.replace(":5,", ":253402300799999,")) + &end(1, most - 1, 1)), PARTIAL).is_ok());
    let one = |from: &str, to: &str| notification(2, 1, "{}").replace(from, to);
    for (text, reason) in [
        (String::new(), "line 1: the file is empty"),
        ("{}\n".to_owned(), "line 1: expected value"),
        (notification(1, 1, "{}"), "line 1: this is no export"),
        (header(1, 1).replace("\"format\":2", "\"format\":3"), "line 1: the format is 3"),
        (header(0, 1), "line 1: there are no places from 0 to 1"),
        (header(3, 1), "line 1: there are no places from 3 to 1"),
        (header(1, 1 << 53), "line 1: there are no places"),
        (header(1, u64::MAX), "line 1: there are no places"),
        (header(1, 1).replace("\"e\"", "\"a b\""), "line 1: the epoch"),
        (with(&one("\"seq\":2", "\"seq\":9007199254740992")), "line 3: it has the place 9007199254740992"),
        (with(&one("\"seq\":2", "\"seq\":1")), "line 3: it has the place 1, and place 1 came before"),
        (with(&one("\"seq\":2", "\"seq\":3")), "line 3: places 2 to 2 are missing"),
        (with(&one("u:ana", "x:ana")), "line 3: audiences"),
        (with(&one("\"event\":\"e\"", "\"event\":\"\"")), "line 3: event"),
        (with(&one("\"payload\":\"{}\"", "\"payload\":\"[]\"")), "line 3: payload: must be a JSON object"),
        (with(&one("\"payload\":\"{}\"", "\"payload\":{}")), "line 3: payload: must be a string"),
        (
            with(&one("\"appended_at\":1", "\"appended_at\":9223372036854775807")),
            "line 3: 9223372036854775807 is no time",
        ),
        (with(&one("\"seq\":2", "\"seq\":-2")), "line 3: invalid value"),
        (with("garbage\n\n"), "line 3: expected value"),
        (with(&hole(1, 2)), "line 3: it has the place 1"),
        (with(&hole(2, 1)), "line 3: there are no places from 2 to 1"),
        (with(&key("k", 0)), "line 3: there is no place 0"),
        (with(&key("k", 1)) + &key("k", 1), "line 4: the key was there before"),
        (with(&key("k", 1).replace("ABAB", "ABA")), "line 3: the fingerprint"),
        (with(&key("k", 1).replace(":5,", ":-1,")), "line 3: the key was used at no time"),
        (with(&entry.replace(":5,", ":253402300800000,")), "line 3: the key was used at no time"),
        (with(&entry.replace(":5,", ":-9223372036854775808,")), "line 3: the key was used at no time"),
        (with(&entry.replace("abcdef\",\"owner", "abcde\",\"owner")), "line 3: the digest"),
        (with(&header(1, 1)), "line 3: another export begins here"),
        (header(1, 1) + &notification(1, 1, "{}") + &end(2, 0, 0), "line 3: it says 2 notifications"),
        (header(1, 1) + &notification(1, 1, "{}") + &end(1, 0, 0) + &key("k", 1), "line 4: there must be nothing"),
    ] {
        let said = refusal(&text, Manner::default());
        assert!(said.starts_with(reason), "{reason}: {said}");
    }
}

#[test]
fn nothing_is_taken_in_of_an_export_that_is_refused() {
    let (_folder, connection) = empty();
    let before = exported(&connection);
    let text = header(1, 2) + &notification(1, 1, "{}") + "garbage\n";
    assert!(import(&connection, Cursor::new(text), Manner::default()).is_err());
    assert_eq!(exported(&connection), before);
}

#[test]
fn stamps_may_fall_and_the_time_reached_does_not() {
    let text: String = (1..).zip([10, 30, 20, 20, 40]).map(|(seq, at)| notification(seq, at, "{}")).collect();
    let (_folder, connection, _) = imported(&(header(1, 5) + &text + &end(5, 0, 0)), KEEP).expect("imports");
    let mut rows =
        connection.prepare("SELECT coalesce(reached_at, appended_at) FROM blocks ORDER BY first").expect("SQL");
    let reached: Vec<i64> =
        rows.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(reached, [10, 30, 30, 40]);
    assert_eq!(findings(&connection), [""; 0]);
    for (first, wrong) in [(2, 15), (3, 29), (3, 35), (5, 41)] {
        let (_folder, connection, _) = imported(&(header(1, 5) + &text + &end(5, 0, 0)), KEEP).expect("imports");
        connection.execute("UPDATE blocks SET reached_at = ?2 WHERE first = ?1", (first, wrong)).expect("writes");
        let found = findings(&connection);
        assert!(
            found.iter().any(|finding| finding.contains("the time reached")) != (first == 2),
            "{first} {wrong}: {found:?}"
        );
    }
}

// However far apart positions are, a hole between them is one range and takes no time.
#[test]
fn what_is_missing_is_known_from_then_on() {
    let far = (1 << 53) - 10;
    let text = header(1, far + 5)
        + &hole(1, 2)
        + &notification(3, 1, "{}")
        + &hole(4, far - 1)
        + &notification(far, 1, "{}")
        + &hole(far + 1, far + 5)
        + &key("stays", 5)
        + &key("goes", far + 1)
        + &end(2, far + 3, 2);
    assert!(refusal(&text, KEEP).contains("the first at place 1"), "{}", refusal(&text, KEEP));
    let (_folder, connection, missing) = imported(&text, Manner::default()).expect("imports");
    assert_eq!(missing, far + 3);
    assert_eq!(findings(&connection), [""; 0]);
    let holes = connection.query_row("SELECT count(*), min(first), max(last), min(cause) FROM holes", [], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)? as Seq,
            row.get::<_, i64>(2)? as Seq,
            row.get::<_, String>(3)?,
        ))
    });
    assert_eq!(holes.expect("a row"), (1, 4, far - 1, "import".to_owned()));
    let again = exported(&connection);
    assert!(again.contains(&hole(4, far - 1)) && again.ends_with(&end(2, far - 4, 1)), "{again}");
    assert!(!again.contains("\"epoch\":\"e\""), "the epoch is a new one: {again}");
    let (_folder, connection, _) = imported(&again, Manner::default()).expect("imports again");
    assert_eq!(findings(&connection), [""; 0]);
}

#[test]
fn what_is_damaged_is_left_out_and_declared() {
    let text: String = (1..=9).map(|seq| notification(seq, seq as i64, "{}")).collect();
    let (_folder, connection, _) = imported(&(header(1, 9) + &text + &end(9, 0, 0)), KEEP).expect("imports");
    connection.execute("UPDATE blocks SET notifications = zeroblob(9) WHERE first IN (2, 3, 6)", []).expect("writes");
    connection.execute("DELETE FROM blocks WHERE first = 4", []).expect("writes");
    connection.execute("UPDATE blocks SET count = 1000000000000 WHERE first = 8", []).expect("writes");
    let found = findings(&connection);
    for finding in ["notifications 2 to 4 cannot", "notification 6 cannot", "notification 8 cannot"] {
        assert!(found.iter().any(|found| found.starts_with(finding)), "{found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
    let mut again = Vec::new();
    let exported = export(&connection, Some(11), &mut again).expect("exports");
    assert_eq!((exported.notifications, exported.damaged, exported.known_missing), (4, 7, 0));
    let again = String::from_utf8(again).expect("text");
    for line in [hole(2, 4), hole(6, 6), hole(8, 8), hole(10, 11)] {
        assert!(again.contains(&line), "{again}");
    }
    let (_folder, connection, missing) = imported(&again, Manner::default()).expect("imports");
    assert_eq!((missing, findings(&connection).len()), (7, 0));
}
