//! Texts that must not be seen.

use std::{convert::Infallible, fmt, str::FromStr};

use subtle::ConstantTimeEq;

/// A text that does not print and is compared in constant time.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Whether `presented` is the secret. How long this takes tells nothing but the length of the two.
    pub fn is(&self, presented: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(presented.as_bytes()))
    }

    /// The secret itself, to compute with.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it is too weak for production: empty, or the token that everybody knows.
    pub fn is_weak(&self) -> bool {
        self.0.trim().is_empty() || &*self.0 == "dev"
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
    fn an_empty_secret_lets_nobody_in() {
        assert!(!secret("").is(""));
        assert!(secret("").is_weak() && secret(" ").is_weak() && secret("dev").is_weak());
        assert!(!secret("s3cr3t").is_weak());
    }
}
