//! One look through a text in JSON: whether it can be passed on to anyone, how deep it is, and what its fields identify.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::domain::{Identifiers, number_name};

/// How many arrays and objects lie in one another.
pub(super) type Depth = u8;

/// How deep a document may be: the reader goes no deeper.
pub(super) const MAX_DEPTH: Depth = 127;

/// Looks through `text` and notes what it finds of the fields that are asked for. Of one that comes twice the last counts.
pub(super) fn look_through(text: &str, found: &mut Identifiers) -> Result<Depth, serde_json::Error> {
    look(text, found, true)
}

/// The same in a text that is known to be fine: the rest of it is passed over.
pub(super) fn look_up(text: &str, found: &mut Identifiers) -> Result<Depth, serde_json::Error> {
    look(text, found, false)
}

fn look(text: &str, found: &mut Identifiers, is_strict: bool) -> Result<Depth, serde_json::Error> {
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return serde_json::from_str(text).map(|Strict(depth)| depth);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let depth = Fields { found, is_strict }.deserialize(&mut reader)?;
    reader.end().map(|()| depth)
}

/// Any JSON value, looked at in full and thrown away: `IgnoredAny` would skip over strings and numbers unread.
pub(super) struct Strict(pub(super) Depth);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(0))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict(0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict(0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict(0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut deepest = 0;
        while let Some(Strict(depth)) = items.next_element()? {
            deepest = deepest.max(depth);
        }
        Ok(Strict(deepest + 1))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        let mut deepest = 0;
        while let Some((Strict(_), Strict(depth))) = entries.next_entry()? {
            deepest = deepest.max(depth);
        }
        Ok(Strict(deepest + 1))
    }
}

/// Notes the identifiers in an object; how deep it is.
struct Fields<'f> {
    found: &'f mut Identifiers,
    is_strict: bool,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Depth;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Depth, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Depth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Depth, A::Error> {
        let mut deepest = 0;
        while let Some(Text(key)) = entries.next_key()? {
            let depth = match self.found.index(&key) {
                Some(index) => {
                    let value = entries.next_value::<&RawValue>()?.get();
                    let (text, depth) = identifier(value, self.is_strict).map_err(A::Error::custom)?;
                    self.found.set(index, text);
                    depth
                }
                None if self.is_strict => entries.next_value::<Strict>()?.0,
                None => entries.next_value::<IgnoredAny>().map(|_| 0)?,
            };
            deepest = deepest.max(depth);
        }
        Ok(deepest + 1)
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a value identifies, and how deep it is.
fn identifier(value: &str, is_strict: bool) -> Result<(Option<Box<str>>, Depth), serde_json::Error> {
    if value.starts_with('"') {
        let Text(text) = serde_json::from_str(value)?;
        return Ok((Some(text).filter(|text| !text.is_empty()).map(Into::into), 0));
    }
    let depth = if is_strict { serde_json::from_str::<Strict>(value)?.0 } else { 0 };
    let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    Ok((is_number.then(|| number_name(value).into()), depth))
}
