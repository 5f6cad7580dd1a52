//! Events as subscribers are told of them, and notifications as the journal keeps them.

use chrono::{DateTime, Utc};

use crate::domain::{Audiences, Epoch, Forms, Payload, Seq};

/// What a notification survives, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: it is delivered to whoever is connected, and kept nowhere.
    Ephemeral,
    /// A subscriber's absence, but not the end of the process.
    Memory,
    /// The end of the process, but not that of the machine.
    Process,
    /// A power cut.
    Fsync,
}

/// What happened, as subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened, as `entity.action`; never empty.
    pub name: Box<str>,
    /// The content.
    pub payload: Payload,
    /// Who published it.
    pub source: Box<str>,
    /// When it happened: the publisher's own text, or RFC 3339 in UTC.
    pub timestamp: Box<str>,
}

impl Event {
    /// How long its texts are, in bytes.
    pub fn size(&self) -> usize {
        self.payload.as_bytes().len() + self.name.len() + self.source.len() + self.timestamp.len()
    }
}

/// An event that is in the journal.
#[derive(Debug)]
pub struct Notification {
    /// Its position in the journal.
    pub seq: Seq,
    /// The journal's incarnation.
    pub epoch: Epoch,
    /// What happened.
    pub event: Event,
    /// Who it is for.
    pub audiences: Audiences,
    /// When it stops being of use; it is not delivered afterwards.
    pub expires_at: Option<DateTime<Utc>>,
    /// No more than [`size`](Self::size) counts: the journal keeps them in memory.
    pub(crate) forms: Forms<1>,
}

impl Notification {
    /// An event that the journal gave a position.
    pub fn new(epoch: Epoch, seq: Seq, event: Event, audiences: Audiences, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { seq, epoch, event, audiences, expires_at, forms: Forms::default() }
    }

    /// Whether it is of no use any more at `now`.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The id: unique over all sequences and restarts.
    pub fn id(&self) -> String {
        notification_id(&self.epoch, self.seq)
    }

    /// About how much memory the notification takes, in bytes, its encoded form counted in.
    pub fn size(&self) -> usize {
        2 * self.event.size() + 2 * self.audiences.size() + size_of::<Self>()
    }
}

/// The id of the notification that `epoch` gave the position `seq`.
pub fn notification_id(epoch: &Epoch, seq: Seq) -> String {
    let mut id = String::with_capacity(epoch.as_str().len() + 21);
    id.push_str(epoch.as_str());
    id.push('-');
    id.push_str(itoa::Buffer::new().format(seq));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    // The journal keeps them in memory, as many as fit.
    #[test]
    fn a_notification_does_not_grow_unseen() {
        assert!(size_of::<Notification>() <= 176, "{} bytes", size_of::<Notification>());
    }
}
