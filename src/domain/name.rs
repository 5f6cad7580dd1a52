//! The names that clients give: of themselves, of users and of rooms.

use std::{fmt, sync::Arc};

/// The longest name, in characters.
pub const MAX_NAME_CHARS: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no character at all.
    #[error("must not be empty")]
    Empty,
    /// It is longer than [`MAX_NAME_CHARS`].
    #[error("must have at most {MAX_NAME_CHARS} characters")]
    TooLong,
    /// It has a character in it that is not seen and changes what is.
    #[error("must not contain control characters, line separators or marks of direction")]
    Control,
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    // A character takes one to four bytes, so most names are decided by their length in bytes.
    if text.len() > MAX_NAME_CHARS && text.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    if text.chars().any(is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// Whether a character is not seen and changes what is: besides control characters the separators of lines and paragraphs, and the
/// marks that embed, override and isolate the direction of text. Those that only say the direction of their neighbours belong to
/// names in some scripts.
fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text of 1 to [`MAX_NAME_CHARS`] characters, none of them one that is not seen and changes what is.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// The name under which a client connects; one connection holds it at a time.
    ClientId
);
name!(
    /// A user of the platform; any number of connections may be theirs.
    UserId
);
name!(
    /// A room; it exists while it has a member.
    RoomId
);

impl RoomId {
    /// The room of those who name none, and of events that no other rule claims.
    pub fn general() -> Self {
        Self("general".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_128_characters_and_no_control_characters() {
        assert_eq!(RoomId::parse(""), Err(NameError::Empty));
        assert!(RoomId::parse("a").is_ok());
        assert!(RoomId::parse(&"ñ".repeat(128)).is_ok());
        assert_eq!(RoomId::parse(&"ñ".repeat(129)), Err(NameError::TooLong));
        assert_eq!(RoomId::parse("a\u{7f}"), Err(NameError::Control));
        assert_eq!(RoomId::parse("a\nb"), Err(NameError::Control));
        for mark in ["a\u{202e}b", "a\u{2028}", "\u{2066}a"] {
            assert_eq!(RoomId::parse(mark), Err(NameError::Control), "{mark:?}");
        }
        assert!(RoomId::parse("sala de José ñ 😀").is_ok());
        assert!(RoomId::parse("علی\u{200c}رضا \u{200f}").is_ok(), "what a script needs");
    }
}
