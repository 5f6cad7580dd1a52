//! A grant says what a credential allows its publisher.

use std::fmt;

use crate::{domain::Pattern, gate::Rate};

/// How many patterns one claim may have: they are tried one by one.
const MAX_PATTERNS: usize = 64;

/// A set of names, by patterns in which `*` stands for any text and `?` for any character.
#[derive(Debug, Clone)]
pub struct Patterns(Box<[Pattern]>);

impl Patterns {
    /// Every name.
    pub fn all() -> Self {
        Self([Pattern::all()].into())
    }

    /// The rooms that are open to everybody who has a token.
    pub fn open_rooms() -> Self {
        Self(["general", "tema_*"].map(Pattern::by_characters).into())
    }

    /// The names of a claim; `None` when it has more patterns than are tried.
    pub fn new(patterns: &[String]) -> Option<Self> {
        let few = patterns.len() <= MAX_PATTERNS;
        few.then(|| Self(patterns.iter().map(|pattern| Pattern::by_characters(pattern)).collect()))
    }

    /// Whether `name` is in the set.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether every name is.
    pub fn is_all(&self) -> bool {
        self.0.iter().any(|pattern| pattern.matches_all())
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(Pattern::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// What a publisher may do.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The events that it may publish; none without the claim.
    pub publish: Option<Patterns>,
    /// Whom they may be for, by the names of audiences; anybody without the claim.
    pub audiences: Option<Patterns>,
    /// How fast; as fast as the settings say without the claim.
    pub rate: Option<Rate>,
    /// It may revoke users and disconnect clients.
    pub admin: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        Patterns::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("few patterns")
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        let allowed = patterns(&["presentacion.*", "user.?.x"]);
        assert!(allowed.matches("presentacion.creada") && allowed.matches("presentacion.a.b"));
        assert!(allowed.matches("user.1.x") && !allowed.matches("user.12.x"));
        assert!(!allowed.matches("presentacion") && !allowed.matches("xpresentacion.a") && !allowed.matches(""));
        assert!(!allowed.is_all() && patterns(&["a", "*"]).is_all() && !patterns(&[]).matches(""));
    }

    #[test]
    fn there_are_not_more_patterns_than_are_tried() {
        assert!(Patterns::new(&vec![String::new(); MAX_PATTERNS]).is_some());
        assert!(Patterns::new(&vec![String::new(); MAX_PATTERNS + 1]).is_none());
    }
}
