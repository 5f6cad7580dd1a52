//! What a listener wants to hear.

use crate::domain::Audience;

/// What a listener wants to hear.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Interest {
    /// What is for this audience.
    In(Audience),
    /// Everything, whoever it is for. Who hears everything joins no audience besides.
    Everything,
}
