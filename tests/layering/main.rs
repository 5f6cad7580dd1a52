//! Holds what `ARCHITECTURE.md` says of the modules: none knows more of the others, or of outside crates, than its table has, and its
//! map of files is true.

mod files;
mod paths;
mod sessions;
mod table;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use paths::{climbing, imports, outside};
use table::{Row, dependencies, rows};

/// The code of one file.
struct Source {
    /// Where it is, below `src`.
    below: PathBuf,
    /// The module of the crate's root that it is a part of.
    top: String,
    /// How many modules it is in, itself counted.
    depth: usize,
    code: String,
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let below = file.strip_prefix(root).expect("below the root").to_owned();
        let mut names: Vec<_> =
            below.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
        names.pop_if(|name| name == "mod");
        let code = code(&fs::read_to_string(file).expect("readable"));
        Self { top: names[0].clone(), depth: names.len(), below, code }
    }

    /// What it imports that `row` does not allow.
    fn faults(&self, row: &Row, crates: &BTreeSet<String>) -> Vec<String> {
        let arrows = imports(&self.code).into_iter().filter(|path| !row.allows(&self.top, path));
        let arrows = arrows.map(|path| format!("crate::{path} is not in the table"));
        let strange = outside(&self.code, crates).into_iter().filter(|name| !row.crates.contains(*name));
        let strange = strange.map(|name| format!("the crate {name} is not in the table"));
        let climbs = climbing(&self.code, self.depth).into_iter().map(|path| format!("{path} leaves the module"));
        arrows.chain(strange).chain(climbs).map(|fault| format!("{}: {fault}", self.below.display())).collect()
    }
}

/// `text` without its comments and without the module of its tests, which may look further.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join("\n");
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

#[test]
fn no_module_imports_more_than_the_table_says() {
    let (root, rows, crates) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), rows(), dependencies());
    let mut faults = Vec::new();
    for file in rust_files(&root) {
        let source = Source::read(&root, &file);
        match rows.get(&source.top) {
            Some(Some(row)) => faults.extend(source.faults(row, &crates)),
            // It composes the others.
            Some(None) => {}
            None => assert!(["lib", "main"].contains(&&*source.top), "{} is not in the table", source.top),
        }
    }
    assert!(faults.is_empty(), "more than the table of ARCHITECTURE.md says:\n{}", faults.join("\n"));
}

/// The files below `folder` but for those of tests.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let entries = entries.filter(|path| path.file_stem().is_none_or(|name| name != "tests" && name != "conformance"));
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut files: Vec<_> = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    files.extend(folders.iter().flat_map(|folder| rust_files(folder)));
    files
}

/// A file of `egress` with `text` in it, at this depth.
fn faults_of(text: &str, depth: usize) -> Vec<String> {
    let row = Row::parse("domain, journal (itself, `Read`)", "tokio");
    let crates = ["tokio", "http", "tonic_types"].map(str::to_owned).into();
    Source { below: "egress".into(), top: "egress".to_owned(), depth, code: code(text) }.faults(&row, &crates)
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    for text in [
        "use crate::broker;",
        "use crate::{domain::Seq, journal::{Append, Read}};",
        "use crate::{\n    domain::Seq,\n    app::App,\n};",
        "fn f() { crate::config::Cli::load(); }",
        "use crate::journal::{self, Follow};",
        "use crate::*;",
        "use crate as root;",
        "#[cfg(test)]\nmod tests;\nuse crate::app::App;",
    ] {
        assert!(!faults_of(text, 2).is_empty(), "{text}");
    }
    let fine = "use crate::{domain::{Seq, Epoch}, egress::ws::Connection, journal::{self, Read}};\n\
                /// See [`crate::app`].\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::app::App;\n}";
    assert_eq!(faults_of(fine, 2), Vec::<String>::new());
}

#[test]
fn a_path_that_climbs_out_of_its_module_is_found() {
    for (text, depth) in [
        ("use super::broker;", 1),
        ("use super::super::broker;", 2),
        ("fn f() { super::super::super::config::load(); }", 3),
        ("use super as up;", 1),
    ] {
        assert!(!faults_of(text, depth).is_empty(), "{text}, in {depth}");
        assert_eq!(faults_of(text, depth + 1), Vec::<String>::new(), "{text}, in {}", depth + 1);
    }
}

#[test]
fn an_outside_crate_is_found_however_it_is_named() {
    for text in [
        "use http::Uri;",
        "use {tokio::time, http::Uri};",
        "use http;",
        "use http as h;",
        "fn f() -> http::Uri { todo() }",
        "fn f() -> ::http::Uri { todo() }",
        "#[derive(http::Args)]\nstruct S;",
        "use tonic_types::StatusExt;",
    ] {
        assert!(!faults_of(text, 2).is_empty(), "{text}");
    }
    for text in ["use tokio::http::Uri;", "mod http;\nuse http::Uri;", "let http = 1;", "// http::Uri"] {
        assert_eq!(faults_of(text, 2), Vec::<String>::new(), "{text}");
    }
}
