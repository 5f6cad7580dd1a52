//! A secret is a text that no log and no answer shows.

use std::{convert::Infallible, fmt, str::FromStr};

use subtle::ConstantTimeEq;

/// A text that does not print and is compared in constant time.
///
/// Files and shells hand secrets over with what does not belong to them: a line break at the end, blanks behind a comma, quotation
/// marks that some readers of env files take off and others leave. Which is meant cannot be known, so all are believed: the text as
/// it came, without the blanks around it, and [bare](Self::bare).
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// The token that everybody knows.
    pub const KNOWN: &'static str = "dev";

    /// Whether `presented` is the secret. How long this takes tells nothing but the lengths of the texts.
    pub fn is(&self, presented: &str) -> bool {
        let is = |own: &str| !own.is_empty() && bool::from(own.as_bytes().ct_eq(presented.as_bytes()));
        is(&self.0) | is(self.0.trim()) | is(self.bare())
    }

    /// The secret without what it was wrapped in.
    pub fn bare(&self) -> &str {
        let text = self.0.trim();
        let quoted = ['"', '\''].into_iter().find_map(|mark| text.strip_prefix(mark)?.strip_suffix(mark));
        quoted.unwrap_or(text).trim()
    }

    /// Whether it came wrapped in something.
    pub fn is_wrapped(&self) -> bool {
        self.bare() != &*self.0
    }

    /// All that it may be, to compute with, as it came first.
    pub(super) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        let mut forms = vec![&*self.0, self.0.trim(), self.bare()];
        forms.dedup();
        forms.into_iter().filter(|form| !form.is_empty()).map(str::as_bytes)
    }

    /// Whether it is too weak for production: empty, or the token that everybody knows.
    pub fn is_weak(&self) -> bool {
        matches!(self.bare(), "" | Self::KNOWN)
    }

    /// How many characters somebody must guess.
    pub fn len(&self) -> usize {
        self.bare().chars().count()
    }

    /// Whether there is nothing to guess.
    pub fn is_empty(&self) -> bool {
        self.bare().is_empty()
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        text.parse().expect("any text is a secret")
    }

    #[test]
    fn a_secret_is_itself_and_does_not_print() {
        assert!(secret("abc").is("abc"));
        assert!(!secret("abc").is("abd"));
        assert!(!secret("abc").is("ab"));
        assert_eq!(format!("{:?}", secret("abc")), "[secret]");
    }

    #[test]
    fn a_secret_is_known_with_and_without_what_it_came_wrapped_in() {
        for text in ["s3cret\n", " s3cret", "\"s3cret\"", "'s3cret'", "\"s3cret\"\r\n"] {
            assert!(
                secret(text).is("s3cret")
                    && secret(text).is(text)
                    && secret(text).is(text.trim())
                    && secret(text).is_wrapped(),
                "{text:?}"
            );
        }
        assert!(!secret("s3cret").is_wrapped() && !secret("\"s3cret").is_wrapped());
        assert!(!secret("\"\"").is("") && secret("\"\"").is_weak() && secret("'dev'\n").is_weak());
        assert_eq!(secret("\"ñ1\"\n").forms().collect::<Vec<_>>(), ["\"ñ1\"\n", "\"ñ1\"", "ñ1"].map(str::as_bytes));
    }

    #[test]
    fn an_empty_secret_lets_nobody_in() {
        assert!(!secret("").is(""));
        assert!(secret("").is_weak() && secret(" ").is_weak() && secret("dev").is_weak());
        assert!(!secret("s3cr3t").is_weak());
    }
}
