//! By what of a payload an event may be routed.

use std::sync::Arc;

/// The names of the payload's fields that somebody asks for.
pub type FieldNames = Arc<[Box<str>]>;

/// The top-level fields of a payload that were asked for, as texts that can identify something: the characters of a string, the
/// [name](crate::domain::number_name) of a number. Fields that are absent, null, or of another type have none; nor has an empty
/// string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifiers {
    names: FieldNames,
    /// In the order of the names; empty while none was found.
    texts: Vec<Option<Box<str>>>,
}

impl Identifiers {
    /// None of `names` was found.
    pub(super) fn none(names: &FieldNames) -> Self {
        Self { names: Arc::clone(names), texts: Vec::new() }
    }

    /// Whether these `names` were asked for.
    pub(in crate::domain) fn are_of(&self, names: &FieldNames) -> bool {
        Arc::ptr_eq(&self.names, names) || self.names == *names
    }

    /// The text of the field `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(self.index(name)?)?.as_deref()
    }

    /// About how much memory the texts take, in bytes.
    pub(in crate::domain) fn size(&self) -> usize {
        self.texts.iter().map(|text| size_of::<Option<Box<str>>>() + text.as_deref().map_or(0, str::len)).sum()
    }

    /// Which of the names it is, if it was asked for.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|asked| **asked == *name)
    }

    /// Notes the text of the name that has this `index`.
    pub(super) fn set(&mut self, index: usize, text: Option<Box<str>>) {
        if self.texts.is_empty() {
            if text.is_none() {
                return;
            }
            self.texts.resize(self.names.len(), None);
        }
        self.texts[index] = text;
    }
}
