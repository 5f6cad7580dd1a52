//! The content of an event: the text of a JSON object, kept as its publisher wrote it.

mod identifiers;
mod look;

use std::{fmt, str};

use bytes::Bytes;
use serde::de::Error;

pub use identifiers::{FieldNames, Identifiers};
use look::{MAX_DEPTH, Strict, look_through, look_up};

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

    /// Checks and copies `text`, and finds the fields with these `names` in it, in one look. It stood in so many arrays and objects
    /// in the document that it is part of, which may not be too deep with it.
    pub fn read(text: &[u8], names: &FieldNames, enclosing: u8) -> Result<(Self, Identifiers), PayloadError> {
        let mut found = Identifiers::none(names);
        let looked = str::from_utf8(text).map_err(serde_json::Error::custom);
        match looked.and_then(|text| look_through(text, &mut found)) {
            Ok(depth) if depth <= MAX_DEPTH.saturating_sub(enclosing) => {
                Ok((Self::from_checked(Bytes::copy_from_slice(text))?, found))
            }
            // A second look says where.
            refused => {
                Self::check_json(text)?;
                Err(PayloadError::Syntax(refused.map_or_else(|error| error, |_| too_deep())))
            }
        }
    }

    /// Keeps a text that is known to be valid JSON, for it was written by us, or checked before.
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
            Ok(text) => serde_json::from_str(text).map(|Strict(_)| text),
            // It cannot pass, and here it says where.
            Err(_) => serde_json::from_slice(document).map(|Strict(_)| ""),
        }
    }

    /// The same for a part of a document that is read piece by piece, which stands in so many arrays and objects.
    pub fn check_part(text: &str, enclosing: u8) -> Result<(), serde_json::Error> {
        let Strict(depth) = serde_json::from_str(text)?;
        if depth <= MAX_DEPTH.saturating_sub(enclosing) { Ok(()) } else { Err(too_deep()) }
    }

    /// The text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Its top-level fields with these `names`.
    pub fn identifiers(&self, names: &FieldNames) -> Identifiers {
        let mut found = Identifiers::none(names);
        // The text was checked when the payload was made, so reading it again cannot fail.
        if let Ok(text) = str::from_utf8(&self.0) {
            let _ = look_up(text, &mut found);
        }
        found
    }
}

fn too_deep() -> serde_json::Error {
    serde_json::Error::custom("recursion limit exceeded")
}

impl fmt::Debug for Payload {
    /// Shows the size only: payloads stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
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
        let expected = [("a", "456"), ("b", "xA"), ("e", "12345678901234567890123"), ("h", "456")];
        let names: FieldNames = ["a", "b", "c", "d", "e", "f", "g", "h", "absent"].map(Into::into).into();
        let (_, read) = Payload::read(payload.as_bytes(), &names, 0).expect("valid");
        for identifiers in [payload.identifiers(&names), read] {
            for name in &*names {
                let expected = expected.iter().find(|(known, _)| **known == **name).map(|(_, text)| *text);
                assert_eq!(identifiers.get(name), expected, "{name}");
            }
            assert_eq!(identifiers.get("i"), None, "nobody asked for it");
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts_however_it_is_spelt() {
        let payload = parse(r#"{"usuarioId":1,"usuario\u0049d":2,"temaId":3,"temaId":null}"#).expect("valid");
        let identifiers = payload.identifiers(&["usuarioId", "temaId"].map(Into::into).into());
        assert_eq!((identifiers.get("usuarioId"), identifiers.get("temaId")), (Some("2"), None));
    }

    /// `depth` arrays and objects in one another, the outermost an object whose field is `a`.
    fn nested(depth: usize) -> String {
        format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    // whatever is asked for, and wherever it stood
    #[test]
    fn what_is_too_deep_is_refused_the_same_way() {
        for names in [&[][..], &["a"], &["b"]] {
            let names: FieldNames = names.iter().map(|name| Box::from(*name)).collect();
            for depth in [1, 2, 125, 126, 127, 128, 129, 300] {
                let text = nested(depth);
                let expected = Payload::check_json(text.as_bytes()).map_err(|error| error.to_string()).err();
                let refused = Payload::read(text.as_bytes(), &names, 0).err().map(|error| error.to_string());
                assert_eq!(refused, expected.as_ref().map(|error| format!("not valid JSON: {error}")), "{depth}");
                let body = format!("[{text}]");
                let within = Payload::read(text.as_bytes(), &names, 1);
                assert_eq!(within.is_ok(), Payload::check_json(body.as_bytes()).is_ok(), "{depth} in an array");
            }
        }
    }

    #[test]
    fn what_is_refused_is_refused_in_the_same_words_whoever_asks_for_what() {
        let names: FieldNames = ["a"].map(Into::into).into();
        for text in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e400}"#,
            r#"{"a":[01]}"#,
            r#"{"b":1e400}"#,
            r#"{"a":1}x"#,
            "",
            "[",
            "\"\u{1}\"",
        ] {
            let expected = parse(text).expect_err(text).to_string();
            let refused = Payload::read(text.as_bytes(), &names, 0).expect_err(text);
            assert_eq!(refused.to_string(), expected, "{text}");
        }
        assert!(matches!(Payload::read(b"{\"a\":\"\xff\"}", &names, 0), Err(PayloadError::Syntax(_))));
        assert!(matches!(Payload::read(b"[1]", &names, 0), Err(PayloadError::NotAnObject)));
    }
}
