//! The content of an event: the text of a JSON object, kept as its publisher wrote it.

use std::{borrow::Cow, fmt, str};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::domain::number_name;

/// The text of a valid JSON object in UTF-8. Key order, digits and spelling are the publisher's.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

/// Why a text is not a payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It is not JSON, or has in it what JSON cannot hold: a lone surrogate, a number out of range.
    #[error("not valid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("must be a JSON object")]
    NotAnObject,
}

impl Payload {
    /// Checks and keeps `text`.
    pub fn parse(text: Bytes) -> Result<Self, PayloadError> {
        Self::check_json(&text)?;
        Self::from_checked(text)
    }

    /// Keeps a text that is known to be valid JSON, for it is part of a document that [`check_json`](Self::check_json) passed.
    pub fn from_checked(text: Bytes) -> Result<Self, PayloadError> {
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Ok(Self(text)),
            _ => Err(PayloadError::NotAnObject),
        }
    }

    /// Whether `document` is JSON that can be passed on to anyone: every escape a character, every number within
    /// range, at most 128 levels deep. Gives its text.
    pub fn check_json(document: &[u8]) -> Result<&str, serde_json::Error> {
        match str::from_utf8(document) {
            // In a text that was looked through at once, the strings need not be, one by one.
            Ok(text) => serde_json::from_str(text).map(|Strict| text),
            // It cannot pass, and here it says where.
            Err(_) => serde_json::from_slice(document).map(|Strict| ""),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The top-level fields that `names` lists, as texts that can identify something: the characters of a string,
    /// the [name](number_name) of a number. Fields that are absent, null, or of another type are `None`; so is an empty string.
    pub fn identifiers(&self, names: &[impl AsRef<str>]) -> Vec<Option<Cow<'_, str>>> {
        let mut found = vec![None; names.len()];
        // The text was checked when the payload was made, so reading it again cannot fail.
        if let Ok(text) = str::from_utf8(&self.0) {
            let mut reader = serde_json::Deserializer::from_str(text);
            let _ = Fields { names, found: &mut found }.deserialize(&mut reader);
        }
        found
    }
}

impl fmt::Debug for Payload {
    /// Shows the size only: payloads stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// Any JSON value, looked at in full and thrown away: `IgnoredAny` would skip over strings and numbers unread.
struct Strict;

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
        Ok(Strict)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        while items.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
        while entries.next_entry::<Strict, Strict>()?.is_some() {}
        Ok(Strict)
    }
}

/// Reads the identifiers in `names` off an object; of a key that comes twice the last one counts.
struct Fields<'n, 'f, 'de, N> {
    names: &'n [N],
    found: &'f mut Vec<Option<Cow<'de, str>>>,
}

impl<'de, N: AsRef<str>> DeserializeSeed<'de> for Fields<'_, '_, 'de, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, N: AsRef<str>> Visitor<'de> for Fields<'_, '_, 'de, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = entries.next_key()? {
            match self.names.iter().position(|name| name.as_ref() == key) {
                Some(place) => self.found[place] = identifier(entries.next_value::<&RawValue>()?.get()),
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn identifier(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'"' => serde_json::from_str(value).ok().map(|Text(text)| text).filter(|text| !text.is_empty()),
        b'-' | b'0'..=b'9' => Some(number_name(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Payload, PayloadError> {
        Payload::parse(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        for text in [
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":-Infinity}"#,
            r#"{"a":1e400}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\udc00":1}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            "",
            "{",
        ] {
            assert!(matches!(parse(text), Err(PayloadError::Syntax(_))), "{text}");
        }
        assert!(parse("[".repeat(200).leak()).is_err());
        assert!(matches!(Payload::parse(Bytes::from_static(b"{\"a\":\"\xff\"}")), Err(PayloadError::Syntax(_))));
    }

    #[test]
    fn only_objects_are_payloads() {
        for text in ["[]", "1", "null", "\"a\"", "true"] {
            assert!(matches!(parse(text), Err(PayloadError::NotAnObject)), "{text}");
        }
        assert!(parse("{}").is_ok());
        assert!(parse(" \n{ }").is_ok());
    }

    #[test]
    fn text_is_kept_as_it_was_written() {
        let text = r#"{ "z":123456789012345678901234567890, "a":1.50, "n":null, "ñ":"\u00e1 😀" }"#;
        assert_eq!(parse(text).expect("valid").as_bytes(), text.as_bytes());
    }

    #[test]
    fn identifiers_are_strings_and_numbers_as_text() {
        let payload =
            parse(r#"{"a":456,"b":"x\u0041","c":null,"d":true,"e":12345678901234567890123,"f":"","g":[1],"h":4.56e2}"#)
                .expect("valid");
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "absent"];
        let found: Vec<_> = payload.identifiers(&names).into_iter().map(|id| id.map(Cow::into_owned)).collect();
        let expected =
            [Some("456"), Some("xA"), None, None, Some("12345678901234567890123"), None, None, Some("456"), None];
        assert_eq!(found, expected.map(|id| id.map(str::to_owned)));
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts_however_it_is_spelt() {
        let payload = parse(r#"{"usuarioId":1,"usuario\u0049d":2}"#).expect("valid");
        assert_eq!(payload.identifiers(&["usuarioId"]), [Some("2".into())]);
    }
}
