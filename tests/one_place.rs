//! Holds what stands in one place. Only `wire/status.rs` says what a failure is over gRPC and HTTP, and with what a WebSocket is
//! closed; only `wire/messages.rs` has the texts that people read.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the table of failures is.
const TABLE: &str = "wire/status.rs";

/// Where the texts are that people read.
const MESSAGES: &str = "wire/messages.rs";

/// Words by which a Spanish text is known that has no accent.
const SPANISH: &[&str] =
    &["como", "el", "esta", "la", "los", "mensaje", "mensajes", "no", "para", "permite", "por", "que", "sala", "token"];

/// What HTTP says of what succeeds, or of what another service answers.
const SUCCESSES: &[&str] = &["OK", "NO_CONTENT", "SWITCHING_PROTOCOLS"];

#[test]
fn failures_have_their_codes_from_one_table() {
    let faults = found_elsewhere(TABLE, by_hand);
    assert!(faults.is_empty(), "made by hand, and not by {TABLE}:\n{}", faults.join("\n"));
}

#[test]
fn what_people_read_stands_in_one_place() {
    let faults = found_elsewhere(MESSAGES, spanish);
    assert!(faults.is_empty(), "people read it, so it belongs to {MESSAGES}:\n{}", faults.join("\n"));
}

/// What `find` finds in the files other than `place`, but for tests.
fn found_elsewhere(place: &str, find: fn(&str) -> Vec<String>) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for file in rust_files(&root) {
        let below = file.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        if below == place || below.ends_with("tests.rs") || below.contains("/tests/") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable");
        faults.extend(find(&text).into_iter().map(|found| format!("{below}: {found}")));
    }
    faults
}

#[test]
fn a_spanish_text_is_found() {
    for text in
        ["error(\"Token inválido\")", "format!(\"No tienes permiso para la {room}\")", "x(\"El token no permite\")"]
    {
        assert_eq!(spanish(text).len(), 1, "{text}");
    }
    assert_eq!(spanish("let la = \"there is no token\"; // válido\nf(\"no\", '\"', \"para\")"), Vec::<String>::new());
}

/// The lines of `text` with a text in Spanish.
fn spanish(text: &str) -> Vec<String> {
    let is_spanish = |text: &str| {
        let known = words(text).filter(|word| SPANISH.contains(&word.to_lowercase().as_str())).count();
        known > 2 || text.contains(['á', 'é', 'í', 'ó', 'ú', 'ñ', '¿', '¡'])
    };
    let code = code(text);
    let lines = code.lines().filter(|line| line.split('"').skip(1).step_by(2).any(is_spanish));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_is_made_by_hand_is_found_however_it_is_written() {
    for text in [
        "Problem::http(StatusCode::NOT_FOUND)",
        "Err(Status::data_loss(\"too slow\"))",
        "tonic::Status::new(code, text)",
        "use tonic::{Code, Request};",
        "use tonic::{\n    Request, Code as Grpc,\n};",
        "status.code() == tonic::Code::Internal",
        "StatusCode::from_u16(404)",
        "*response.status_mut() = 503;",
        "const TOO_MANY: &[u8] = b\"HTTP/1.1 503 Service Unavailable\";",
        "frame::close(4001, \"replaced\")",
        "const GOING_AWAY: u16 = 1001;",
    ] {
        assert!(!by_hand(text).is_empty(), "{text}");
    }
    let fine = "use http::StatusCode;\nuse tonic::{Request, Status};\n/// Closed with 4008.\nfn f() -> Status { grpc_plain(Code::Timeout, \
        \"over\") }\nfn g() { (StatusCode::OK, Close::Replaced.frame(), [0; 4096], 10_011) }\n#[cfg(test)]\nmod tests { Status::internal(\"\") }";
    assert_eq!(by_hand(fine), Vec::<String>::new());
}

/// The lines of `text` in which a failure is made by hand. Its comments and its tests may do so.
fn by_hand(text: &str) -> Vec<String> {
    let code = code(text);
    let mut found: Vec<_> = code.lines().filter(|line| is_by_hand(line)).map(|line| line.trim().to_owned()).collect();
    found.extend(imports_of_tonic(&code).filter(|import| words(import).any(|word| word == "Code")));
    found
}

/// What of `text` is neither a comment nor a test.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    lines.join("\n").split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

fn is_by_hand(line: &str) -> bool {
    let names_status = behind(line, "StatusCode::").any(|name| !SUCCESSES.contains(&name));
    let makes_status = behind(line, "Status::").any(|name| {
        name == "new" || name.starts_with(|first: char| first.is_ascii_lowercase()) && !READERS.contains(&name)
    });
    let is_close_code = |word: &str| matches!(word.parse(), Ok(1000..=1015_u32 | 4000..=4095 | 4097..=4199));
    names_status
        || makes_status
        || line.contains("tonic::Code")
        || line.contains("\"HTTP/1.1 ") && !line.contains("{status}")
        || line.contains("status_mut() = ") && !line.contains("http_status(")
        || !line.contains("env = ") && line.split('"').step_by(2).flat_map(words).any(is_close_code)
}

/// What reads a status of gRPC, and makes none of a failure.
const READERS: &[&str] = &["from_header_map", "from", "is_success"];

/// The words that stand behind each `prefix`, which is a word of its own.
fn behind<'l>(line: &'l str, prefix: &'l str) -> impl Iterator<Item = &'l str> {
    line.match_indices(prefix).filter_map(move |(at, _)| {
        let is_whole = !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        words(&line[at + prefix.len()..]).next().filter(|_| is_whole)
    })
}

/// Names and numbers.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// What is imported of tonic itself.
fn imports_of_tonic(code: &str) -> impl Iterator<Item = String> {
    let imports = code.match_indices("use tonic::{").map(|(at, _)| &code[at..]);
    imports.map(|import| import.split(';').next().unwrap_or_default().to_owned())
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut files: Vec<_> = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    files.extend(folders.iter().flat_map(|folder| rust_files(folder)));
    files
}
