//! Holds what `ARCHITECTURE.md` and `CONTRIBUTING.md` say of files: the map has all of `src` and nothing else, and what the pages
//! name is there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

/// All folders (with a slash at the end) and files below `folder`, itself included, as they are called below the root; but for unit
/// tests, which the map leaves out.
fn tree(folder: &Path) -> BTreeSet<String> {
    let below = |path: &Path| path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let entries = entries.filter(|path| path.file_stem().is_none_or(|name| name != "tests"));
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let own = format!("{}/", below(folder));
    let files = files.iter().map(|file| below(file));
    files.chain([own]).chain(folders.iter().flat_map(|folder| tree(folder))).collect()
}

/// The section of `page` under this heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the page has the section");
    section.split("\n## ").next().unwrap_or_default()
}

/// What a map has (lines of folders, and below each those of its files), and what is wrong with its lines.
fn mapped(map: &str) -> (BTreeSet<String>, Vec<String>) {
    let (mut folder, mut paths, mut faults) = (String::new(), BTreeSet::new(), Vec::new());
    for line in map.lines().filter(|line| line.trim_start().starts_with("- `")) {
        let (_, entry) = line.split_once("- `").expect("it begins so");
        let Some((name, says)) = entry.split_once("`: ") else {
            faults.push(format!("it says nothing: {line}"));
            continue;
        };
        if says.trim().is_empty() {
            faults.push(format!("it says nothing: {line}"));
        }
        let is_folder = !line.starts_with(' ');
        if is_folder {
            name.clone_into(&mut folder);
        }
        let path = if is_folder { name.to_owned() } else { format!("{folder}{name}") };
        if !paths.insert(path) {
            faults.push(format!("it is there twice: {line}"));
        }
    }
    (paths, faults)
}

/// What is wrong with a map of `tree`.
fn faults(map: &str, tree: &BTreeSet<String>) -> Vec<String> {
    let (paths, mut faults) = mapped(map);
    faults.extend(tree.difference(&paths).map(|path| format!("it lacks {path}")));
    faults.extend(paths.difference(tree).map(|path| format!("it has {path}, which is not there")));
    faults
}

#[test]
fn the_map_has_each_file_and_no_other() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let faults = faults(section(&page, "Files"), &tree(&root().join("src")));
    assert!(faults.is_empty(), "the map in ARCHITECTURE.md:\n{}", faults.join("\n"));
}

#[test]
fn a_map_that_is_not_true_is_found() {
    let tree = ["src/", "src/a.rs", "src/b/", "src/b/c.rs"].map(str::to_owned).into();
    let whole = "- `src/`: all.\n  - `a.rs`: one thing.\n- `src/b/`: two.\n  - `c.rs`: another, as `d`: says.\n";
    assert_eq!(faults(whole, &tree), Vec::<String>::new());
    for (line, instead, fault) in [
        ("  - `a.rs`: one thing.\n", "", "it lacks src/a.rs"),
        ("- `src/b/`: two.\n", "", "it lacks src/b/"),
        ("`a.rs`", "`x.rs`", "it has src/x.rs, which is not there"),
        ("`a.rs`: one thing.", "`a.rs`", "it says nothing:   - `a.rs`"),
        ("`a.rs`: one thing.", "`a.rs`: ", "it says nothing:   - `a.rs`: "),
        ("`c.rs`", "`c.rs`: once.\n  - `c.rs`", "it is there twice:   - `c.rs`: another, as `d`: says."),
    ] {
        let faults = faults(&whole.replace(line, instead), &tree);
        assert!(faults.contains(&fault.to_owned()), "{fault}: {faults:?}");
    }
}

/// The paths that a page names: whatever has a slash and only what names of files have, in marks of code or with the ending of a file.
fn named(page: &str) -> BTreeSet<&str> {
    let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./".contains(c);
    let is_path = |word: &&str| word.contains('/') && !word.starts_with('/') && word.chars().all(of_a_name);
    let in_marks = page.split('`').skip(1).step_by(2);
    let words = page.split(|c: char| !of_a_name(c)).filter(|word| word.ends_with(".rs"));
    in_marks.chain(words).filter(is_path).filter(|path| !path.starts_with("target/")).collect()
}

/// The functions that the pictures of a page name.
fn functions(page: &str) -> BTreeSet<&str> {
    let pictures = page.split("```mermaid\n").skip(1).filter_map(|rest| rest.split("```").next());
    let names = pictures.flat_map(|picture| {
        picture
            .split("()")
            .map(|before| before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default())
    });
    names.filter(|name| !name.is_empty() && name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn the_paths_that_the_pages_name_are_there() {
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(&root().join(page));
        let paths = named(&text);
        assert!(paths.len() > 20, "{page} names paths: {paths:?}");
        let is_there = |path: &str| {
            let places = ["", "src/"].map(|above| root().join(format!("{above}{path}")));
            places.iter().any(|place| place.exists() || place.with_extension("rs").exists())
        };
        let missing: Vec<_> = paths.into_iter().filter(|path| !is_there(path)).collect();
        assert!(missing.is_empty(), "{page} names what is not there: {missing:?}");
    }
}

#[test]
fn the_functions_in_the_pictures_are_in_the_source() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let sources: String = tree(&root().join("src"))
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .map(|path| read(&root().join(path)))
        .collect();
    let names = functions(&page);
    assert!(names.len() > 10, "the page has pictures: {names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !sources.contains(&format!("fn {name}"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md draws functions that are not there: {missing:?}");
}
