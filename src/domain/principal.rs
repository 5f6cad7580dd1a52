//! Who is asking.

/// What a request may do, as the gate established it. Handlers see this and never a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// It may publish, and ask where an event would go.
    pub may_publish: bool,
    /// It may read what was published and who is connected.
    pub may_read: bool,
}
