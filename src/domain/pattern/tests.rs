//! What patterns match, by tables and beside the plainest way to say it.

use proptest::prelude::*;

use super::*;

fn captures(pattern: &str, name: &str) -> Option<Vec<(String, String)>> {
    let pattern = Pattern::by_segments(pattern).expect("a pattern");
    let captures = pattern.captures(name)?;
    Some(captures.0.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
}

#[test]
fn patterns_match_segment_by_segment() {
    let none = Some(vec![]);
    assert_eq!(captures("a.b", "a.b"), none);
    assert_eq!(captures("a.b", "a.b.c"), None);
    assert_eq!(captures("a.b", "a"), None);
    assert_eq!(captures("a.*", "a.b.c"), none);
    assert_eq!(captures("a.*", "a."), none);
    assert_eq!(captures("a.*", "a"), None);
    assert_eq!(captures("a.*", "ab"), None);
    assert_eq!(captures("a.*.c", "a.b.c"), none);
    assert_eq!(captures("a.*.c", "a.b.b.c"), None);
    assert_eq!(captures("a?", "ab"), None, "a question mark is none here");
    assert_eq!(captures("*", "anything.at.all"), none);
    assert_eq!(captures("user.{id}.*", "user.7.x.y"), Some(vec![("id".into(), "7".into())]));
    assert_eq!(captures("user.{id}.*", "user.7"), None);
    assert_eq!(captures("user.{id}.*", "user..x"), None);
}

#[test]
fn patterns_match_character_by_character() {
    let matches = |pattern: &str, name| Pattern::by_characters(pattern).matches(name);
    assert!(matches("presentacion.*", "presentacion.a.b") && !matches("presentacion.*", "presentacion"));
    assert!(matches("a.*.c", "a.b.b.c"), "a star goes over dots here");
    assert!(matches("user.?.x", "user.ñ.x") && !matches("user.?.x", "user.12.x"));
    assert!(matches("{a}", "{a}") && !matches("{a}", "b"), "braces are none here");
    assert!(matches("", "") && !matches("", "a") && matches("**", ""));
}

#[test]
fn what_is_no_pattern_says_why() {
    assert_eq!(Pattern::by_segments(""), Err(SyntaxError::Empty));
    assert_eq!(Pattern::by_segments("a.x{id}"), Err(SyntaxError::Mixed));
    assert_eq!(Pattern::by_segments("a.b*"), Err(SyntaxError::Mixed));
    assert_eq!(Pattern::by_segments("a.{}"), Err(SyntaxError::Unnamed));
    assert_eq!(Pattern::by_segments("a.{b.c}"), Err(SyntaxError::Brace));
}

#[test]
fn only_a_star_alone_is_every_name() {
    assert!(Pattern::all().matches_all() && Pattern::by_characters("***").matches_all());
    assert_eq!(Pattern::by_segments("*"), Ok(Pattern::all()));
    assert!(!Pattern::by_characters("*?").matches_all() && !Pattern::by_characters("").matches_all());
    assert!(!Pattern::by_segments("*.*").expect("a pattern").matches_all());
}

/// Whether `name` matches by characters: what the first character of the pattern takes in, and the rest.
fn plainly(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|taken| plainly(rest, &name[taken..])),
        [first, rest @ ..] => name
            .split_first()
            .is_some_and(|(character, left)| (*first == '?' || first == character) && plainly(rest, left)),
    }
}

/// What is captured by segments, in their order; `None` if `name` does not match.
fn by_lists<'n>(pattern: &str, name: &'n str) -> Option<Vec<&'n str>> {
    let (mut wanted, given): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), name.split('.').collect());
    let is_open = wanted.last() == Some(&"*");
    if is_open {
        wanted.pop();
    }
    if pattern != "*" && if is_open { given.len() <= wanted.len() } else { given.len() != wanted.len() } {
        return None;
    }
    let mut captured = Vec::new();
    for (wanted, given) in wanted.iter().zip(given) {
        match wanted.strip_prefix('{') {
            Some(_) if given.is_empty() => return None,
            Some(_) => captured.push(given),
            None if *wanted == "*" || *wanted == given => {}
            None => return None,
        }
    }
    Some(captured)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn by_characters_is_as_plain_as_it_seems(pattern in "[ab.ñ*?]{0,7}", name in "[ab.ñ?]{0,9}") {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = plainly(&characters(&pattern), &characters(&name));
        prop_assert_eq!(Pattern::by_characters(&pattern).matches(&name), expected, "{} of {}", pattern, name);
    }

    #[test]
    fn by_segments_is_as_plain_as_it_seems(
        pattern in proptest::collection::vec(prop_oneof![
            Just("a"), Just("*"), Just("{x}"), Just("{y}"), Just(""), Just("b?"), Just("ñ"),
        ], 1..5),
        name in proptest::collection::vec(prop_oneof![Just("a"), Just(""), Just("b?"), Just("ñ"), Just("*")], 1..6),
    ) {
        let (pattern, name) = (pattern.join("."), name.join("."));
        prop_assume!(!pattern.is_empty());
        let captured = captures(&pattern, &name);
        let texts = captured.map(|captured| captured.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        let expected = by_lists(&pattern, &name).map(|texts| texts.into_iter().map(str::to_owned).collect());
        prop_assert_eq!(texts, expected, "{} of {}", pattern, name);
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_written(by_characters in "[ab.?{}]{0,7}", segments in "(a|[*]|[{]x[}])([.](a|[*]|[{]x[}])){0,3}") {
        prop_assert_eq!(Pattern::by_characters(&by_characters).to_string(), by_characters);
        prop_assert_eq!(Pattern::by_segments(&segments).expect("a pattern").to_string(), segments);
    }
}
