//! Says how a subscriber begins: at the present, where it was, or behind a loss.

/// How a subscriber begins that may say where it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It did not say, and begins with what is published from now on.
    Fresh,
    /// It begins in the same way: the journal no longer has what came after the position where it was, or never had it.
    Unrecoverable,
    /// It begins with what it missed, all of which the journal still has.
    Resumed,
}
