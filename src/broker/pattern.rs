//! The two small languages of the rule table: patterns over event names, and templates for names.

/// What is wrong with a pattern or a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// There is nothing in it.
    #[error("must not be empty")]
    Empty,
    /// A brace has no partner, or stands inside another pair.
    #[error("has a brace without its partner; a placeholder is written {{name}}")]
    Brace,
    /// A placeholder has no name.
    #[error("has a placeholder without a name; write {{name}}")]
    Unnamed,
    /// A segment mixes a placeholder or a star with text.
    #[error("has a segment that mixes text with `*` or a placeholder; a segment is one of the three")]
    Mixed,
}

/// A pattern over the segments of an event name, such as `user.{id}.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    /// The pattern ends in `*`: whatever follows the segments before it matches.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Any,
    Capture(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let mut segments = text.split('.').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        let open = segments.last() == Some(&Segment::Any);
        if open {
            segments.pop();
        }
        Ok(Self { segments, open })
    }

    /// Whether every event matches.
    pub(super) fn matches_all(&self) -> bool {
        self.open && self.segments.is_empty()
    }

    /// What `event` gives for the captures, if it matches.
    pub(super) fn captures<'e>(&self, event: &'e str) -> Option<Captures<'_, 'e>> {
        let mut captures = Captures::default();
        let mut rest = event.split('.');
        for segment in &self.segments {
            let text = rest.next()?;
            match segment {
                Segment::Text(expected) if expected != text => return None,
                Segment::Capture(_) if text.is_empty() => return None,
                Segment::Capture(name) => captures.0.push((name, text)),
                Segment::Text(_) | Segment::Any => {}
            }
        }
        // An open pattern wants the dot before its star, and does not care what comes behind it.
        let matches = rest.next().is_some() == self.open || self.matches_all();
        matches.then_some(captures)
    }
}

/// The segments that a pattern captured, with their names.
#[derive(Debug, Default)]
pub(super) struct Captures<'p, 'e>(Vec<(&'p str, &'e str)>);

impl<'e> Captures<'_, 'e> {
    /// What was captured under `name`; of a name that comes twice the last one counts.
    pub(super) fn get(&self, name: &str) -> Option<&'e str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match Template::parse_parts(text)?.as_slice() {
            [] => Ok(Self::Text(String::new())),
            [Part::Text(text)] if !text.contains('*') => Ok(Self::Text(text.clone())),
            [Part::Field(name)] => Ok(Self::Capture(name.clone())),
            _ => Err(SyntaxError::Mixed),
        }
    }
}

/// A name with placeholders, such as `tema_{temaId}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::Empty);
        }
        Self::parse_parts(text).map(Self)
    }

    fn parse_parts(text: &str) -> Result<Vec<Part>, SyntaxError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let inside = from_brace.strip_prefix('{').ok_or(SyntaxError::Brace)?;
            let (name, after) = inside.split_once('}').ok_or(SyntaxError::Brace)?;
            if name.contains('{') {
                return Err(SyntaxError::Brace);
            }
            if name.is_empty() {
                return Err(SyntaxError::Unnamed);
            }
            parts.push(Part::Field(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(parts)
    }

    /// The names of the placeholders.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every placeholder filled in by `value`; `None` when one has no value.
    pub(super) fn render<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Field(name) => text.push_str(value(name)?),
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(pattern: &str, event: &str) -> Option<Vec<(String, String)>> {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        let captures = pattern.captures(event)?;
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
        assert_eq!(captures("*", "anything.at.all"), none);
        assert_eq!(captures("user.{id}.*", "user.7.x.y"), Some(vec![("id".into(), "7".into())]));
        assert_eq!(captures("user.{id}.*", "user.7"), None);
        assert_eq!(captures("user.{id}.*", "user..x"), None);
    }

    #[test]
    fn what_is_no_pattern_or_template_says_why() {
        assert_eq!(Pattern::parse(""), Err(SyntaxError::Empty));
        assert_eq!(Pattern::parse("a.x{id}"), Err(SyntaxError::Mixed));
        assert_eq!(Pattern::parse("a.b*"), Err(SyntaxError::Mixed));
        assert_eq!(Pattern::parse("a.{}"), Err(SyntaxError::Unnamed));
        assert_eq!(Template::parse(""), Err(SyntaxError::Empty));
        assert_eq!(Template::parse("a}"), Err(SyntaxError::Brace));
        assert_eq!(Template::parse("{a"), Err(SyntaxError::Brace));
        assert_eq!(Template::parse("{a{b}}"), Err(SyntaxError::Brace));
    }

    #[test]
    fn templates_need_a_value_for_each_placeholder() {
        let template = Template::parse("tema_{a}-{b}").expect("a template");
        assert_eq!(template.fields().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(template.render(|_| Some("1")).as_deref(), Some("tema_1-1"));
        assert_eq!(template.render(|name| (name == "a").then_some("1")), None);
    }
}
