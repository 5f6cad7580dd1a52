//! Patterns over names: what they are made of, and how a name is held against one.
//!
//! They are written in two ways, which both stay as they were released. Rules of routing go by the segments of a name
//! ([`Pattern::by_segments`]); what a credential allows goes by characters ([`Pattern::by_characters`]). They differ in what a star in
//! the middle is, and in whether `?` and braces are special.

#[cfg(test)]
mod tests;

use std::{fmt, mem};

/// What is wrong with a pattern by segments, or with a template.
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

/// A set of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<[Element]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    /// These characters.
    Text(Box<str>),
    /// One character, whichever.
    Character,
    /// Any text, also none.
    Anything,
    /// What comes before the next dot or the end, also nothing.
    Segment,
    /// Any text but an empty one; it is captured under this name.
    Capture(Box<str>),
}

impl Pattern {
    /// Every name.
    pub fn all() -> Self {
        Self([Element::Anything].into())
    }

    /// A pattern such as `user.{id}.*`. Between dots stands a text, a `*` for any segment, or a placeholder that captures a
    /// segment; a `*` at the end stands for whatever follows the dot before it, and alone for every name.
    pub fn by_segments(text: &str) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let mut elements = Elements::default();
        let mut segments = text.split('.').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            match segment_of(segment)? {
                Element::Text(text) => elements.text.push_str(&text),
                Element::Segment if is_last => elements.push(Element::Anything),
                element => elements.push(element),
            }
            if !is_last {
                elements.text.push('.');
            }
        }
        Ok(elements.end())
    }

    /// A pattern in which `*` stands for any text and `?` for any character, wherever they are.
    pub fn by_characters(text: &str) -> Self {
        let mut elements = Elements::default();
        for character in text.chars() {
            match character {
                '*' => elements.push(Element::Anything),
                '?' => elements.push(Element::Character),
                other => elements.text.push(other),
            }
        }
        elements.end()
    }

    /// Whether every name matches.
    pub fn matches_all(&self) -> bool {
        *self.0 == [Element::Anything]
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.captures(name).is_some()
    }

    /// What `name` gives for the placeholders, if it matches.
    pub fn captures<'e>(&self, name: &'e str) -> Option<Captures<'_, 'e>> {
        let mut captures = Captures::default();
        let (mut at, mut rest) = (0, name);
        // Where to go on after the last `Anything`, which takes in one more character each time: those before it need not be tried
        // anew, for what stands between two of them is best found as early as can be.
        let mut again = None;
        loop {
            let step = match self.0.get(at) {
                None if rest.is_empty() => return Some(captures),
                None => None,
                Some(Element::Anything) if at + 1 == self.0.len() => return Some(captures),
                Some(Element::Anything) => {
                    again = Some((at + 1, rest, captures.0.len()));
                    Some(rest)
                }
                Some(element) => element.step(rest, &mut captures),
            };
            if let Some(left) = step {
                (at, rest) = (at + 1, left);
            } else {
                let (from, tried, captured) = again?;
                let mut left = tried.chars();
                left.next()?;
                (at, rest) = (from, left.as_str());
                again = Some((from, rest, captured));
                captures.0.truncate(captured);
            }
        }
    }
}

impl fmt::Display for Pattern {
    /// As it was written, but for stars that followed one another.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| match element {
            Element::Text(text) => f.write_str(text),
            Element::Character => f.write_str("?"),
            Element::Anything | Element::Segment => f.write_str("*"),
            Element::Capture(name) => write!(f, "{{{name}}}"),
        })
    }
}

impl Element {
    /// What is left of `rest` behind this element, if it begins with it.
    fn step<'p, 'e>(&'p self, rest: &'e str, captures: &mut Captures<'p, 'e>) -> Option<&'e str> {
        match self {
            Self::Text(text) => rest.strip_prefix(&**text),
            Self::Character => {
                let mut left = rest.chars();
                left.next().map(|_| left.as_str())
            }
            Self::Anything => Some(rest),
            Self::Segment => Some(split_segment(rest).1),
            Self::Capture(name) => {
                let (segment, left) = split_segment(rest);
                captures.0.push((name, segment));
                (!segment.is_empty()).then_some(left)
            }
        }
    }
}

/// The text before the next dot or the end, and the rest.
fn split_segment(text: &str) -> (&str, &str) {
    text.split_at(text.find('.').unwrap_or(text.len()))
}

/// The one element of a segment.
fn segment_of(text: &str) -> Result<Element, SyntaxError> {
    if text == "*" {
        return Ok(Element::Segment);
    }
    match placeholders(text)?.as_slice() {
        [] => Ok(Element::Text("".into())),
        [TemplatePart::Text(text)] if !text.contains('*') => Ok(Element::Text((*text).into())),
        [TemplatePart::Placeholder(name)] => Ok(Element::Capture((*name).into())),
        _ => Err(SyntaxError::Mixed),
    }
}

/// Elements that come one by one.
#[derive(Default)]
struct Elements {
    done: Vec<Element>,
    /// What was not yet made an element.
    text: String,
}

impl Elements {
    fn push(&mut self, element: Element) {
        self.flush();
        if element != Element::Anything || self.done.last() != Some(&element) {
            self.done.push(element);
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.done.push(Element::Text(mem::take(&mut self.text).into()));
        }
    }

    fn end(mut self) -> Pattern {
        self.flush();
        Pattern(self.done.into())
    }
}

/// The segments that a pattern captured, with their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Captures<'p, 'e>(Vec<(&'p str, &'e str)>);

impl<'e> Captures<'_, 'e> {
    /// What was captured under `name`; of a name that comes twice the last one counts.
    pub fn get(&self, name: &str) -> Option<&'e str> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }
}

/// A part of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplatePart<'t> {
    /// It stands for itself.
    Text(&'t str),
    /// It stands for what has this name.
    Placeholder(&'t str),
}

/// Takes a text apart in which `{name}` is a placeholder.
pub fn placeholders(text: &str) -> Result<Vec<TemplatePart<'_>>, SyntaxError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(at);
        if !before.is_empty() {
            parts.push(TemplatePart::Text(before));
        }
        let inside = from_brace.strip_prefix('{').ok_or(SyntaxError::Brace)?;
        let (name, after) = inside.split_once('}').ok_or(SyntaxError::Brace)?;
        if name.contains('{') {
            return Err(SyntaxError::Brace);
        }
        if name.is_empty() {
            return Err(SyntaxError::Unnamed);
        }
        parts.push(TemplatePart::Placeholder(name));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Text(rest));
    }
    Ok(parts)
}
