//! Holds the import table of `ARCHITECTURE.md`: no module knows more of the others than it says there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each module may import; of `journal`, `listen` and `rooms` also which of their items, where that is less than all.
const TABLE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("domain", &[]),
    ("heap", &[]),
    ("pem", &[]),
    ("reload", &[]),
    ("shutdown", &[]),
    ("telemetry", &["worker"]),
    ("worker", &[]),
    ("listen", &["clock", "domain", "pem", "reload"]),
    ("wire", &["domain"]),
    ("rooms", &["domain"]),
    ("journal", &["clock", "domain", "heap", "worker"]),
    ("gate", &["clock", "domain", "pem", "reload", "wire"]),
    (
        "broker",
        &[
            "clock",
            "domain",
            "journal",
            "journal::Append",
            "journal::Entry",
            "journal::Error",
            "journal::Outcome",
            "journal::Relay",
            "journal::Stored",
            "rooms::Writer",
            "worker",
        ],
    ),
    (
        "delivery",
        &[
            "clock",
            "domain",
            "journal::Bounds",
            "journal::Error",
            "journal::Follow",
            "journal::Page",
            "journal::Query",
            "journal::Read",
            "journal::Tail",
            "rooms::Interest",
            "rooms::Member",
            "rooms::Reader",
            "rooms::Shard",
            "rooms::Subscription",
            "rooms::Writer",
            "worker",
        ],
    ),
    ("ingress", &["clock", "domain", "wire", "gate", "broker"]),
    (
        "egress",
        &[
            "clock",
            "delivery",
            "domain",
            "wire",
            "gate",
            "journal",
            "journal::Error",
            "journal::Query",
            "journal::Read",
            "journal::Relay",
            "listen::Socket",
            "rooms::Interest",
            "rooms::Member",
            "rooms::Membership",
            "rooms::Reader",
            "rooms::Subscription",
        ],
    ),
    (
        "ops",
        &["clock", "domain", "wire", "gate", "egress", "rooms", "rooms::Reader", "journal::Condition", "journal::Read"],
    ),
];

/// Those of whose items a table row lists the ones that may be used.
const BY_ITEM: &[&str] = &["journal", "listen", "rooms"];

#[test]
fn no_module_imports_more_than_the_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    // The tests of a module may look further.
    for file in rust_files(&root).into_iter().filter(|file| !file.ends_with("tests.rs")) {
        let below = file.strip_prefix(&root).expect("below the root");
        let module = below.components().next().expect("a name").as_os_str().to_string_lossy().replace(".rs", "");
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == module) else {
            assert!(["app", "config", "lib", "main"].contains(&module.as_str()), "{module} is not in the table");
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable");
        faults.extend(
            forbidden(&module, allowed, &text).into_iter().map(|import| format!("{}: {import}", below.display())),
        );
    }
    assert!(faults.is_empty(), "imports that are not in the table:\n{}", faults.join("\n"));
}

/// Modules that sessions are carried by, and what those carry them with: `egress/session` is the same for all of them.
const TRANSPORTS: &[&str] = &["egress::ws", "egress::grpc", "egress::follower", "listen::", "tonic::", "tungstenite::"];

#[test]
fn a_session_knows_no_transport() {
    let sessions = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/egress/session");
    let mut faults = Vec::new();
    for file in rust_files(&sessions) {
        let text = fs::read_to_string(&file).expect("readable");
        faults.extend(transports(&text).into_iter().map(|path| format!("{}: {path}", file.display())));
    }
    assert!(faults.is_empty(), "names of transports where there should be none:\n{}", faults.join("\n"));
}

#[test]
fn a_transport_is_found_however_it_is_named() {
    for text in [
        "use crate::egress::ws::Connection;",
        "use crate::{\n    egress::{\n        Options,\n        ws::{Connection, Server},\n    },\n};",
        "use crate::{domain::Seq, listen::Socket};",
        "use tonic::Status;",
    ] {
        assert!(!transports(text).is_empty(), "{text}");
    }
    assert!(
        transports("use crate::{\n    egress::{\n        Options,\n        session::Clients,\n    },\n};").is_empty()
    );
}

/// The transports that `text` names.
fn transports(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in text.match_indices("egress::{") {
        paths.extend(branches(&text[at + "egress::{".len()..]).iter().map(|branch| format!("egress::{branch}")));
    }
    paths.push(text.to_owned());
    let named = |transport: &&&str| paths.iter().any(|path| path.contains(**transport));
    TRANSPORTS.iter().filter(named).map(ToString::to_string).collect()
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    let allowed = &["domain", "journal::Read"];
    for text in [
        "use crate::broker;",
        "use crate::{domain::Seq, journal::{Append, Read}};",
        "use crate::{\n    domain::Seq,\n    app::App,\n};",
        "fn f() { crate::config::Cli::load(); }",
        "use crate::journal::{self, Read};",
    ] {
        assert!(!forbidden("egress", allowed, text).is_empty(), "{text}");
    }
    let fine =
        "use crate::{domain::{Seq, Epoch}, egress::ws::Connection, journal::Read};\n/// See [`crate::app`].\nfn f() {}";
    assert_eq!(forbidden("egress", allowed, fine), BTreeSet::new());
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut files: Vec<_> = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    files.extend(folders.iter().flat_map(|folder| rust_files(folder)));
    files
}

/// The imports of `text`, a part of `module`, that are not among the `allowed` ones.
fn forbidden(module: &str, allowed: &[&str], text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        paths.extend(expand(&code[at + "crate::".len()..]));
    }
    paths.retain(|path| {
        let top = path.split("::").next().unwrap_or_default();
        let wanted = if BY_ITEM.contains(&top) { path.as_str() } else { top };
        top != module && !allowed.contains(&wanted)
    });
    paths
}

/// The paths, of at most two segments, that a `use` tree (or a path in an expression) begins with.
fn expand(tree: &str) -> Vec<String> {
    let segment = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if let Some(group) = tree.strip_prefix('{') {
        return branches(group).iter().flat_map(|branch| expand(branch)).collect();
    }
    let first = segment(tree);
    let Some(rest) = tree[first.len()..].strip_prefix("::") else { return vec![first] };
    let items = match rest.strip_prefix('{') {
        Some(group) => branches(group).iter().map(|branch| segment(branch)).collect(),
        None => vec![segment(rest)],
    };
    items.iter().map(|item| if item == "self" { first.clone() } else { format!("{first}::{item}") }).collect()
}

/// The branches of a group, up to its closing brace.
fn branches(group: &str) -> Vec<String> {
    let (mut branches, mut branch, mut depth) = (Vec::new(), String::new(), 0);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => branches.push(std::mem::take(&mut branch)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                branch.push(c);
            }
        }
    }
    branches.push(branch);
    branches.iter().map(|branch| branch.trim().to_owned()).filter(|branch| !branch.is_empty()).collect()
}
