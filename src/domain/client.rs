//! Who is connected.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{ClientId, RoomId, UserId};

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name.
    pub client_id: ClientId,
    /// Its user, if it named one.
    pub user_id: Option<UserId>,
    /// The rooms it listens to, its own first.
    pub rooms: Arc<[RoomId]>,
    /// When it connected.
    pub connected_at: DateTime<Utc>,
}
