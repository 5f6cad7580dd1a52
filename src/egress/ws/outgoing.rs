//! What waits in a WebSocket's outbox.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    delivery::outbox::Frame,
    domain::{Committed, Content, Ephemeral, Notification},
    wire::frame,
};

/// A frame on its way.
#[derive(Debug)]
pub(in crate::egress) struct Outgoing {
    pub(super) bytes: Bytes,
    /// When it stops being of use.
    expires_at: Option<DateTime<Utc>>,
}

impl Outgoing {
    /// A notification that was just committed; compressed, if the client takes it so.
    pub(super) fn live(committed: &Committed, deflates: bool) -> Self {
        let notification = &committed.notification;
        if !deflates {
            return notification.into();
        }
        Self { bytes: frame::deflated(committed).clone(), expires_at: notification.expires_at }
    }

    /// What nobody keeps; an event is compressed, if the client takes it so.
    pub(super) fn ephemeral(ephemeral: &Ephemeral, deflates: bool) -> Self {
        match &ephemeral.content {
            Content::Frame(frame) => frame.clone().into(),
            Content::Event(passing) => {
                let frame = if deflates { frame::deflated_passing(passing) } else { frame::passing(passing) };
                Self { bytes: frame.clone(), expires_at: passing.expires_at }
            }
        }
    }

    /// Whether it is of no use any more at `now`.
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

impl Frame for Outgoing {
    fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, expires_at: None }
    }
}

/// One that is read from the journal, for a single client: compressing it would be for that one alone.
impl From<&Arc<Notification>> for Outgoing {
    fn from(notification: &Arc<Notification>) -> Self {
        Self { bytes: frame::notification(notification).clone(), expires_at: notification.expires_at }
    }
}
