//! The rule table as people write it: a TOML file, checked in full before it is used.

use serde::Deserialize;

use crate::{
    broker::{
        route::{Destination, Rule, Rules},
        template::Template,
    },
    domain::{NameError, Pattern, RoomId, SyntaxError, UserId},
};

const DEFAULT: &str = include_str!("default_routes.toml");

/// Why a text is not a rule table. It names the rule and what to change.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The text is not TOML, or not of the form of a rule table.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// One rule is wrong.
    #[error("rule {} ({name}): {fault}", index + 1)]
    Rule {
        /// Which rule, counted from 0.
        index: usize,
        /// What it calls itself.
        name: String,
        /// What is wrong with it.
        fault: RuleFault,
    },
    /// There is an event that no rule would take.
    #[error("the last rule must match every event: leave out its `events` and `field`, and use no placeholder")]
    NotTotal,
}

/// What can be wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleFault {
    /// A pattern is not one.
    #[error("events: `{0}` {1}")]
    Pattern(String, SyntaxError),
    /// The list of patterns is empty.
    #[error("events: the list is empty; leave it out to match every event")]
    NoEvents,
    /// A template is not one.
    #[error("{0}: the template {1}")]
    Template(&'static str, SyntaxError),
    /// A template without placeholders is not a name.
    #[error("{0}: the name {1}")]
    Name(&'static str, NameError),
    /// The rule has no destination, or several.
    #[error("give exactly one of `user`, `room` and `everyone = true`")]
    Destination,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: String,
    events: Option<OneOrMany>,
    field: Option<String>,
    user: Option<String>,
    room: Option<String>,
    everyone: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pattern or a list of patterns")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Rules {
    /// Reads a rule table.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text)?;
        let mut rules = Vec::with_capacity(file.rules.len());
        for (index, raw) in file.rules.into_iter().enumerate() {
            let name = raw.name.clone();
            rules.push(raw.check().map_err(|fault| RulesError::Rule { index, name, fault })?);
        }
        if !rules.last().is_some_and(Rule::matches_all) {
            return Err(RulesError::NotTotal);
        }
        Ok(Self::new(rules))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::parse(DEFAULT).expect("the built-in rules are checked by a test")
    }
}

impl RawRule {
    fn check(self) -> Result<Rule, RuleFault> {
        let events = match self.events {
            None => None,
            Some(OneOrMany::One(pattern)) => Some(patterns(vec![pattern])?),
            Some(OneOrMany::Many(patterns)) if patterns.is_empty() => return Err(RuleFault::NoEvents),
            Some(OneOrMany::Many(list)) => Some(patterns(list)?),
        };
        let destination = match (self.user, self.room, self.everyone) {
            (Some(user), None, None) => {
                Destination::User(template("user", &user, |text| UserId::parse(text).map(drop))?)
            }
            (None, Some(room), None) => {
                Destination::Room(template("room", &room, |text| RoomId::parse(text).map(drop))?)
            }
            (None, None, Some(true)) => Destination::Everyone,
            _ => return Err(RuleFault::Destination),
        };
        Ok(Rule { name: self.name, events, field: self.field, destination })
    }
}

fn patterns(texts: Vec<String>) -> Result<Vec<Pattern>, RuleFault> {
    texts.into_iter().map(|text| Pattern::by_segments(&text).map_err(|error| RuleFault::Pattern(text, error))).collect()
}

fn template(
    key: &'static str,
    text: &str,
    check_name: impl Fn(&str) -> Result<(), NameError>,
) -> Result<Template, RuleFault> {
    let template = Template::parse(text).map_err(|error| RuleFault::Template(key, error))?;
    if template.fields().next().is_none() {
        check_name(text).map_err(|error| RuleFault::Name(key, error))?;
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_are_a_table() {
        assert!(Rules::parse(DEFAULT).is_ok());
    }

    #[test]
    fn a_bad_table_says_which_rule_and_why() {
        let last = "\n[[rules]]\nname = \"last\"\nroom = \"general\"\n";
        let cases = [
            ("rulez = 1", "unknown field `rulez`"),
            ("[[rules]]\nname = \"a\"\nroom = \"x\"\nrom = 1", "unknown field `rom`"),
            ("[[rules]]\nname = \"a\"\nevents = []\nroom = \"x\"", "rule 1 (a): events: the list is empty"),
            ("[[rules]]\nname = \"a\"\nevents = \"x{\"\nroom = \"x\"", "rule 1 (a): events: `x{` has a brace"),
            ("[[rules]]\nname = \"a\"\nroom = \"{}\"", "rule 1 (a): room: the template has a placeholder without"),
            ("[[rules]]\nname = \"a\"\nuser = \"a\\nb\"", "rule 1 (a): user: the name must not contain control"),
            ("[[rules]]\nname = \"a\"\nuser = \"x\"\nroom = \"y\"", "rule 1 (a): give exactly one of"),
            ("[[rules]]\nname = \"a\"\neveryone = false", "rule 1 (a): give exactly one of"),
            ("[[rules]]\nname = \"a\"\nevents = 7\nroom = \"x\"", "expected a pattern or a list of patterns"),
        ];
        for (text, expected) in cases {
            let error = Rules::parse(&format!("{text}{last}")).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let second = format!("[[rules]]\nname = \"a\"\nroom = \"x\"\n[[rules]]\nname = \"b\"{last}");
        assert!(Rules::parse(&second).expect_err("no destination").to_string().starts_with("rule 2 (b): "));
    }

    #[test]
    fn a_table_that_could_leave_an_event_without_a_rule_is_refused() {
        for rule in ["events = \"a.*\"\nroom = \"x\"", "room = \"{temaId}\"", "field = \"f\"\nroom = \"x\""] {
            let error = Rules::parse(&format!("[[rules]]\nname = \"a\"\n{rule}")).expect_err(rule);
            assert!(matches!(error, RulesError::NotTotal), "{rule}: {error}");
        }
        assert!(matches!(Rules::parse("rules = []"), Err(RulesError::NotTotal)));
        assert!(Rules::parse("[[rules]]\nname = \"a\"\nevents = \"*\"\neveryone = true").is_ok());
    }
}
