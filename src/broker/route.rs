//! Who an event is for: a pure function of its name, its payload and the rule table.

use std::{cell::LazyCell, collections::BTreeSet};

use crate::{
    broker::template::Template,
    domain::{Audience, Audiences, Captures, Draft, FieldNames, NameError, Pattern, RoomId, UserId},
};

/// A checked rule table: the first rule that matches decides, and the last one matches everything.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Every payload field that any rule looks at, so that a payload is read once at the most.
    fields: FieldNames,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: String,
    /// `None` for every event.
    pub(super) events: Option<Vec<Pattern>>,
    /// A payload field that must be there besides those of the template.
    pub(super) field: Option<String>,
    pub(super) destination: Destination,
}

#[derive(Debug, Clone)]
pub(super) enum Destination {
    Everyone,
    User(Template),
    Room(Template),
}

/// Where an event goes, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route<'r> {
    /// The rule's name.
    pub rule: &'r str,
    /// The rule's place in the table, counted from 0.
    pub index: usize,
    /// Who the event is for.
    pub audiences: Audiences,
}

/// A rule matches, but what it makes of the event is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} that rule `{rule}` makes of this event {source}")]
pub struct RouteError {
    /// `user` or `room`.
    pub kind: &'static str,
    /// The rule's name.
    pub rule: String,
    /// What is wrong with the name.
    pub source: NameError,
}

impl Rules {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let fields: BTreeSet<_> = rules.iter().flat_map(Rule::fields).map(Into::into).collect();
        Self { rules, fields: fields.into_iter().collect() }
    }

    /// Every payload field that any rule looks at.
    pub fn fields(&self) -> &FieldNames {
        &self.fields
    }

    /// Who a draft is for: its target, or whom the rules make of it.
    pub fn audiences(&self, draft: &Draft) -> Result<Audiences, RouteError> {
        match draft.target() {
            Some(target) => Ok(target.clone()),
            None => self.route(draft).map(|route| route.audiences),
        }
    }

    /// Finds the rule for a draft, whatever its target.
    pub fn route(&self, draft: &Draft) -> Result<Route<'_>, RouteError> {
        let identifiers = LazyCell::new(|| draft.identifiers(&self.fields));
        for (index, rule) in self.rules.iter().enumerate() {
            let Some(captures) = rule.captures(draft.name()) else { continue };
            let audience = rule.audience(|name| captures.get(name).or_else(|| identifiers.get(name)));
            if let Some(audience) = audience {
                return Ok(Route { rule: &rule.name, index, audiences: audience?.into() });
            }
        }
        unreachable!("the last rule of a checked table matches every event")
    }
}

impl Rule {
    pub(super) fn matches_all(&self) -> bool {
        let all_events = self.events.as_ref().is_none_or(|patterns| patterns.iter().any(Pattern::matches_all));
        all_events && self.fields().next().is_none()
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        let template = match &self.destination {
            Destination::Everyone => None,
            Destination::User(template) | Destination::Room(template) => Some(template),
        };
        self.field.as_deref().into_iter().chain(template.into_iter().flat_map(Template::fields))
    }

    fn captures<'e>(&self, event: &'e str) -> Option<Captures<'_, 'e>> {
        match &self.events {
            None => Some(Captures::default()),
            Some(patterns) => patterns.iter().find_map(|pattern| pattern.captures(event)),
        }
    }

    /// Who the event is for, given what the placeholders stand for; `None` when one stands for nothing.
    fn audience<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<Result<Audience, RouteError>> {
        if let Some(field) = &self.field {
            value(field)?;
        }
        let wrong = |kind, source| RouteError { kind, rule: self.name.clone(), source };
        Some(match &self.destination {
            Destination::Everyone => Ok(Audience::Everyone),
            Destination::User(template) => {
                UserId::parse(&template.render(value)?).map(Audience::User).map_err(|error| wrong("user", error))
            }
            Destination::Room(template) => {
                RoomId::parse(&template.render(value)?).map(Audience::Room).map_err(|error| wrong("room", error))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{DraftFields, Payload};

    /// A draft, and the same with what `rules` look at found already, as it comes from a publisher.
    fn drafts(rules: &Rules, event: &str, payload: &str) -> [Draft; 2] {
        let (read, found) = Payload::read(payload.as_bytes(), rules.fields(), 0).expect("an object");
        let unread = Payload::parse(Bytes::copy_from_slice(payload.as_bytes())).expect("an object");
        let fields = DraftFields { identifiers: Some(found), ..DraftFields::new(event, read) };
        [fields, DraftFields::new(event, unread)].map(|fields| Draft::new(fields).expect("a draft"))
    }

    fn route(event: &str, payload: &str) -> Result<String, RouteError> {
        let rules = Rules::default();
        let [read, unread] = drafts(&rules, event, payload);
        assert_eq!(rules.route(&read), rules.route(&unread));
        let route = rules.route(&read)?;
        Ok(match &route.audiences.as_slice() {
            [Audience::Everyone] => "everyone".to_owned(),
            [Audience::User(user)] => format!("user {user}"),
            [Audience::Room(room)] => format!("room {room}"),
            several => panic!("{several:?}"),
        })
    }

    fn goes_to(event: &str, payload: &str, expected: &str) {
        assert_eq!(route(event, payload).as_deref(), Ok(expected), "{event} {payload}");
    }

    // wire-contract, Routing 1
    #[test]
    fn user_events_go_to_the_user_of_the_payload_or_else_of_the_second_segment() {
        goes_to("user.logro", r#"{"usuarioId":456}"#, "user 456");
        goes_to("user.logro", r#"{"usuarioId":"456"}"#, "user 456");
        goes_to("user.123.logro", r#"{"usuarioId":456}"#, "user 456");
        goes_to("user.123.logro", "{}", "user 123");
        goes_to("user.123.logro", r#"{"usuarioId":null}"#, "user 123");
        goes_to("user.123.logro", r#"{"usuarioId":true}"#, "user 123");
        goes_to("user.123.logro", r#"{"usuarioId":[1],"temaId":9}"#, "user 123");
        goes_to("user.logro", r#"{"usuarioId":9007199254740993}"#, "user 9007199254740993");
        goes_to("user.", r#"{"usuarioId":1}"#, "user 1");
    }

    #[test]
    fn a_user_event_without_a_user_goes_on_to_the_next_rules() {
        goes_to("user.logro", "{}", "room general");
        goes_to("user.logro", r#"{"temaId":7}"#, "room tema_7");
        goes_to("user", r#"{"usuarioId":1}"#, "room general");
        goes_to("usuario.x", r#"{"usuarioId":1}"#, "room general");
    }

    // wire-contract, Routing 2
    #[test]
    fn four_events_go_to_everyone_whatever_their_payload() {
        for event in ["presentacion.creada", "grabacion.creada", "calificacion.creada", "feedback.creado"] {
            goes_to(event, r#"{"temaId":1,"usuarioId":2}"#, "everyone");
        }
        goes_to("presentacion.creada.x", "{}", "room general");
    }

    // wire-contract, Routing 3 and 4
    #[test]
    fn the_rest_goes_to_the_room_of_the_tema_or_to_general() {
        goes_to("presentacion.eliminada", r#"{"temaId":"redes"}"#, "room tema_redes");
        goes_to("presentacion.eliminada", r#"{"temaId":1.5}"#, "room tema_1.5");
        goes_to("presentacion.eliminada", r#"{"temaId":null}"#, "room general");
        goes_to("presentacion.eliminada", r#"{"datos":{"temaId":3}}"#, "room general");
    }

    #[test]
    fn a_name_that_cannot_be_one_is_an_error_and_not_another_audience() {
        let long = format!(r#"{{"temaId":"{}"}}"#, "x".repeat(200));
        let error = route("metrica.creada", &long).expect_err("too long");
        assert_eq!((error.kind, error.rule.as_str(), error.source), ("room", "tema", NameError::TooLong));
    }

    #[test]
    fn a_rule_may_ask_for_a_field() {
        let text = "[[rules]]\nname = \"urgent\"\nfield = \"urgent\"\nroom = \"admin\"\n[[rules]]\nname = \"rest\"\neveryone = true";
        let rules = Rules::parse(text).expect("a table");
        for (payload, index) in [(r#"{"urgent":1}"#, 0), ("{}", 1)] {
            for draft in drafts(&rules, "e", payload) {
                assert_eq!(rules.route(&draft).expect("a route").index, index);
            }
        }
    }

    /// The contract's four rules, written down a second time as plainly as can be.
    fn contract(event: &str, usuario: Option<u32>, tema: Option<u32>) -> String {
        if event.starts_with("user.") {
            let segments: Vec<&str> = event.split('.').collect();
            if let Some(usuario) = usuario {
                return format!("user {usuario}");
            }
            if segments.len() > 2 && !segments[1].is_empty() {
                return format!("user {}", segments[1]);
            }
        }
        if ["presentacion.creada", "grabacion.creada", "calificacion.creada", "feedback.creado"].contains(&event) {
            return "everyone".to_owned();
        }
        tema.map_or("room general".to_owned(), |tema| format!("room tema_{tema}"))
    }

    proptest! {
        #[test]
        fn every_event_goes_where_the_contract_says(
            segments in proptest::collection::vec(prop_oneof![
                Just("user"), Just("presentacion"), Just("grabacion"), Just("creada"), Just("feedback"),
                Just("creado"), Just("7"), Just(""), Just("x"),
            ], 1..5),
            usuario in proptest::option::of(0..9u32),
            tema in proptest::option::of(0..9u32),
        ) {
            let event = segments.join(".");
            prop_assume!(!event.is_empty());
            let json = |value: Option<u32>| value.map_or("null".to_owned(), |value| value.to_string());
            let payload = format!(r#"{{"usuarioId":{},"temaId":{}}}"#, json(usuario), json(tema));
            goes_to(&event, &payload, &contract(&event, usuario, tema));
        }
    }
}
