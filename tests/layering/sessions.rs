//! Holds the wall between sessions and what carries them.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{code, paths, rust_files, table::dependencies};

/// Modules that carry sessions, and what they carry them with.
const TRANSPORTS: &[&str] = &["egress::ws", "egress::grpc", "listen"];

/// Outside crates that a transport speaks with.
const PROTOCOLS: &[&str] = &["hyper", "tonic", "tungstenite"];

/// What `code` names of transports.
fn transports(code: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let is_one = |path: &String| TRANSPORTS.iter().any(|transport| path.starts_with(transport));
    let modules = paths::imports(code).into_iter().filter(is_one);
    let outside = paths::outside(code, crates).into_iter().filter(|name| PROTOCOLS.contains(name));
    modules.chain(outside.map(str::to_owned)).collect()
}

// `egress/session` is the same for everything that carries a session
#[test]
fn a_session_knows_no_transport() {
    let (sessions, crates) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src/egress/session"), dependencies());
    let mut faults = Vec::new();
    for file in rust_files(&sessions) {
        let code = code(&fs::read_to_string(&file).expect("readable"));
        faults.extend(transports(&code, &crates).into_iter().map(|path| format!("{}: {path}", file.display())));
    }
    assert!(faults.is_empty(), "names of transports where there should be none:\n{}", faults.join("\n"));
}

#[test]
fn a_transport_is_found_however_it_is_named() {
    let crates = dependencies();
    for text in [
        "use crate::egress::ws::Connection;",
        "use crate::{\n    egress::{\n        Options,\n        ws::{Connection, Server},\n    },\n};",
        "use crate::{domain::Seq, listen::Socket};",
        "use tonic::Status;",
    ] {
        assert!(!transports(text, &crates).is_empty(), "{text}");
    }
    let fine = "use crate::{\n    egress::{\n        Options,\n        session::Clients,\n    },\n};";
    assert_eq!(transports(fine, &crates), Vec::<String>::new());
}
