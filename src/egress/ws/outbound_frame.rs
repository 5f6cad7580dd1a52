//! What waits in a WebSocket's outbox.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    delivery::outbox::Frame,
    domain::{Ephemeral, Notification, Publication},
    wire::encoded,
};

/// A frame on its way.
#[derive(Debug)]
pub(in crate::egress) struct OutboundFrame {
    pub(super) bytes: Bytes,
    /// When it stops being of use.
    expires_at: Option<DateTime<Utc>>,
}

impl OutboundFrame {
    /// A notification that was just committed; compressed, if the client takes it so.
    pub(super) fn live(publication: &Publication, deflates: bool) -> Self {
        let notification = &publication.notification;
        if !deflates {
            return notification.into();
        }
        Self { bytes: encoded::compressed_publication_frame(publication).clone(), expires_at: notification.expires_at }
    }

    /// What nobody keeps; an event is compressed, if the client takes it so.
    pub(super) fn ephemeral(ephemeral: &Ephemeral, deflates: bool) -> Self {
        let frame = match deflates {
            true => encoded::compressed_ephemeral_frame(ephemeral),
            false => encoded::ephemeral_frame(ephemeral),
        };
        Self { bytes: frame.clone(), expires_at: ephemeral.expires_at() }
    }

    /// Whether it is of no use any more at `now`.
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

impl Frame for OutboundFrame {
    fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl From<Bytes> for OutboundFrame {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, expires_at: None }
    }
}

/// One that is read from the journal, for a single client: compressing it would be for that one alone.
impl From<&Arc<Notification>> for OutboundFrame {
    fn from(notification: &Arc<Notification>) -> Self {
        Self { bytes: encoded::notification_frame(notification).clone(), expires_at: notification.expires_at }
    }
}
