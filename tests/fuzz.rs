//! What the fuzz targets found worth keeping, replayed.

use std::{fs, path::Path};

#[path = "../fuzz/checks.rs"]
mod checks;

/// Calls `check` on each file of a corpus.
fn replay(corpus: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let replayed = files.map(|file| check(&fs::read(file).expect("readable"))).count();
    assert!(replayed > 0, "an empty corpus shows nothing");
}

#[test]
fn client_messages() {
    replay("client_message", checks::client_message);
}

#[test]
fn payloads() {
    replay("payload", checks::payload);
}

#[test]
fn routes() {
    replay("routes", checks::routes);
}

#[test]
fn tokens() {
    replay("token", checks::token);
}
