//! What the table says, as `ARCHITECTURE.md` and `Cargo.toml` have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What a module may use.
#[derive(Debug)]
pub(crate) struct Row {
    /// Other modules, and of each which items, where that is less than all.
    modules: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Outside crates, as code names them.
    pub(crate) crates: BTreeSet<String>,
}

impl Row {
    /// Reads a row's last two cells: `domain, journal (itself, `Read`)`, and `tokio, tonic-types`.
    pub(crate) fn parse(modules: &str, crates: &str) -> Self {
        let names = |cell: &str| list(cell).into_iter().map(|name| name.replace('-', "_")).collect();
        Self { modules: list(modules).iter().map(|entry| module(entry)).collect(), crates: names(crates) }
    }

    /// Whether a part of the module `own` may import `path`, of one or two segments below the crate.
    pub(crate) fn allows(&self, own: &str, path: &str) -> bool {
        let (module, item) = path.split_once("::").unwrap_or((path, "itself"));
        module == own
            || self.modules.get(module).is_some_and(|items| items.as_ref().is_none_or(|items| items.contains(item)))
    }
}

/// A module and its items: `journal (itself, `Read`)`.
fn module(entry: &str) -> (String, Option<BTreeSet<String>>) {
    match entry.split_once(" (") {
        Some((name, items)) => (name.to_owned(), Some(list(items.trim_end_matches(')')).into_iter().collect())),
        None => (entry.to_owned(), None),
    }
}

/// What stands between the commas of a cell that are in no parentheses, without marks of code. `nothing` is nothing.
fn list(cell: &str) -> Vec<String> {
    let mut inside = false;
    let entries = cell.split(|c| {
        inside = (inside || c == '(') && c != ')';
        c == ',' && !inside
    });
    let entries = entries.map(|entry| entry.replace('`', "").trim().to_owned());
    entries.filter(|entry| !entry.is_empty() && entry != "nothing").collect()
}

/// The rows of the table by module; `None` for those that may use everything.
pub(crate) fn rows() -> BTreeMap<String, Option<Row>> {
    let page = read("ARCHITECTURE.md");
    let (_, section) = page.split_once("\n## Modules\n").expect("the page has the section");
    let mut rows = BTreeMap::new();
    for line in section.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [names, _, modules, crates] = cells[..] else { panic!("four cells: {line}") };
        for name in list(names) {
            let row = (!modules.starts_with("everything")).then(|| Row::parse(modules, crates));
            assert!(rows.insert(name, row).is_none(), "one row a module: {line}");
        }
    }
    assert!(rows.len() > 10, "the page has the table");
    rows
}

/// The crates that the service is built with, as code names them.
pub(crate) fn dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let targets = manifest["target"].as_table().expect("a table").values();
    let tables = targets.chain([&manifest["dependencies"]]);
    let tables = tables.map(|table| table.get("dependencies").unwrap_or(table).as_table().expect("a table"));
    tables.flat_map(toml::Table::keys).map(|name| name.replace('-', "_")).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("readable")
}
