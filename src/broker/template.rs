//! Names with placeholders, as rules write the users and rooms that events go to.

use crate::domain::{SyntaxError, TemplatePart, placeholders};

/// A name with placeholders, such as `tema_{temaId}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let pieces = placeholders(text)?.into_iter().map(|part| match part {
            TemplatePart::Text(text) => Piece::Text(text.to_owned()),
            TemplatePart::Placeholder(name) => Piece::Field(name.to_owned()),
        });
        Ok(Self(pieces.collect()))
    }

    /// The names of the placeholders.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with every placeholder filled in by `value`; `None` when one has no value.
    pub(super) fn render<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Field(name) => text.push_str(value(name)?),
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_template_says_why() {
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
