//! The paths in a file's code that lead out of it. It reads text, and knows only as much of the language as that takes.

use std::collections::BTreeSet;

/// Where `word` stands by itself in `code`: what is before it, and what is behind it.
fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let places = code.match_indices(word).map(move |(at, _)| (&code[..at], &code[at + word.len()..]));
    places.filter(move |(before, behind)| !before.ends_with(is_name) && !behind.starts_with(is_name))
}

/// Whether a word between these is taken under another name.
fn is_renamed((before, behind): &(&str, &str)) -> bool {
    before.ends_with("use ") && behind.starts_with(" as ")
}

/// The paths below `crate` that `code` has, of at most two segments.
pub(crate) fn imports(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for place in places(code, "crate") {
        if let Some(tree) = place.1.strip_prefix("::") {
            paths.extend(expand(tree));
        } else if is_renamed(&place) {
            paths.insert("(all of it)".to_owned());
        }
    }
    paths
}

/// The paths of `code` by which a file that is in so many modules, itself counted, leaves the outermost.
pub(crate) fn climbing(code: &str, depth: usize) -> Vec<String> {
    let steps = |place: &(&str, &str)| {
        let mut steps = 1;
        let mut rest = place.1;
        while let Some(higher) = rest.strip_prefix("::super") {
            (steps, rest) = (steps + 1, higher);
        }
        (rest.starts_with("::") || is_renamed(place)).then_some(steps)
    };
    let begins = places(code, "super").filter(|(before, _)| !before.ends_with("super::"));
    begins
        .filter_map(|place| steps(&place))
        .filter(|steps| *steps >= depth)
        .map(|steps| vec!["super"; steps].join("::"))
        .collect()
}

/// Which of `crates` `code` names. A module that it declares hides a crate of that name.
pub(crate) fn outside<'a>(code: &str, crates: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let is_named =
        |name: &&str| !code.contains(&format!("mod {name};")) && places(code, name).any(|place| is_crate(&place));
    crates.iter().map(String::as_str).filter(is_named).collect()
}

/// Whether a word between these is a crate, and no segment of a path or something else.
fn is_crate(place: &(&str, &str)) -> bool {
    let (before, behind) = *place;
    let begins = match before.strip_suffix("::") {
        Some(path) => !path.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>'),
        None => !before.ends_with(['.', '$']),
    };
    begins && (behind.starts_with("::") || is_renamed(place) || (before.ends_with("use ") && behind.starts_with(';')))
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
