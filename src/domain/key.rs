//! Idempotency keys: the names under which publishers may send the same event again, each publisher its own.

use std::fmt;

use sha2::{Digest, Sha256};

/// Whose an idempotency key is. What two publishers send under the same name is not the same event; what one publisher sends
/// with another credential of its own is. It is a digest and does not print: it tells nothing of who it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyOwner([u8; 32]);

impl KeyOwner {
    /// Whoever comes without a credential, where that is open, and keys that were written down before they had an owner.
    pub const NOBODY: Self = Self([0; 32]);

    /// The owner that these texts name: how it is known, and by what name.
    pub fn named(kind: &str, names: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for text in [kind].iter().chain(names) {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        Self(digest.finalize().into())
    }

    /// The digest itself, to compute with.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[owner]")
    }
}

/// The name under which a publisher may send the same event again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Whose it is.
    pub owner: KeyOwner,
    /// What its owner calls it.
    pub name: Box<str>,
}

impl IdempotencyKey {
    /// A key of `owner`; none where the name is empty.
    pub fn new(owner: KeyOwner, name: impl Into<Box<str>>) -> Option<Self> {
        let name = name.into();
        (!name.is_empty()).then_some(Self { owner, name })
    }
}

/// A digest of what a draft says, to tell a retry from another event under the same key.
pub type Fingerprint = [u8; 32];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart_and_do_not_print() {
        let owners = [
            KeyOwner::NOBODY,
            KeyOwner::named("a", &[]),
            KeyOwner::named("a", &[""]),
            KeyOwner::named("a", &["b", "c"]),
            KeyOwner::named("a", &["bc"]),
            KeyOwner::named("ab", &["c"]),
        ];
        for (place, owner) in owners.iter().enumerate() {
            assert!(!owners[..place].contains(owner), "{place}");
        }
        assert_eq!(KeyOwner::named("a", &["b", "c"]), owners[3]);
        assert_eq!(
            format!("{:?}", IdempotencyKey::new(owners[3], "k")),
            r#"Some(IdempotencyKey { owner: [owner], name: "k" })"#
        );
        assert_eq!(IdempotencyKey::new(owners[3], ""), None);
    }
}
