//! Positions in the journal: a `seq`, the epoch that gave it, and both together.

use std::{fmt, sync::Arc};

/// A notification's position in the journal: 1 for the first one; 0 stands before all of them.
pub type Seq = u64;

/// The id of a journal's incarnation. A [`Seq`] means something only together with the epoch that gave it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// A new epoch from 64 random bits.
    pub fn from_random(bits: u64) -> Self {
        Self(format!("{bits:016x}").into())
    }

    /// An epoch that was written down before.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The last notification that a subscriber saw, and the epoch it was of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The sequence of the last notification that was seen.
    pub seq: Seq,
    /// The epoch that gave the sequence.
    pub epoch: Epoch,
}
