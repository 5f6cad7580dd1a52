//! Events as publishers send them, and notifications as the journal keeps them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::domain::{Audiences, Epoch, Fingerprint, Forms, IdempotencyKey, Payload, Seq};

/// The longest event name, source, timestamp and idempotency key, in characters.
pub const MAX_EVENT_CHARS: usize = 256;

/// The longest time to live: ten years.
pub const MAX_TTL: Duration = Duration::from_secs(3_650 * 86_400);

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

/// An event as a publisher hands it in, before it is stamped and routed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What happened.
    pub name: Box<str>,
    /// The content.
    pub payload: Payload,
    /// Who published it, if it says so.
    pub source: Option<Box<str>>,
    /// When it happened, if it says so.
    pub timestamp: Option<Box<str>>,
    /// Makes a retry safe.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Who shall receive it; without, the routing rules decide.
    pub target: Option<Audiences>,
    /// What it must survive, if that is less than what the service is set to.
    pub durability: Option<Durability>,
    /// For how long it is of use.
    pub ttl: Option<Duration>,
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The event has no name.
    #[error("event must not be empty")]
    Empty,
    /// A text is too long.
    #[error("{field} must have at most {MAX_EVENT_CHARS} characters")]
    TooLong {
        /// Which one.
        field: &'static str,
    },
    /// The time to live is nothing, or longer than [`MAX_TTL`].
    #[error("ttl must be more than nothing and at most {} days", MAX_TTL.as_secs() / 86_400)]
    Ttl,
    /// An event that is kept nowhere has a key that would have to be kept.
    #[error("idempotency_key: an ephemeral event is kept nowhere, so it cannot have one")]
    EphemeralKey,
}

impl EventError {
    /// The field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty => "event",
            Self::TooLong { field } => field,
            Self::Ttl => "ttl",
            Self::EphemeralKey => "idempotency_key",
        }
    }
}

impl Draft {
    /// Whether it is to be delivered to whoever is connected, and kept nowhere.
    pub fn is_passing(&self) -> bool {
        self.durability == Some(Durability::Ephemeral)
    }

    /// Checks what the draft says: a name, nothing longer than [`MAX_EVENT_CHARS`], and nothing that contradicts itself.
    pub fn check(&self) -> Result<(), EventError> {
        if self.name.is_empty() {
            return Err(EventError::Empty);
        }
        let key = self.idempotency_key.as_ref().map(|key| &key.name);
        let texts = [
            ("event", Some(&self.name)),
            ("source", self.source.as_ref()),
            ("timestamp", self.timestamp.as_ref()),
            ("idempotency_key", key),
        ];
        for (field, text) in texts {
            if text.is_some_and(|text| text.len() > MAX_EVENT_CHARS && text.chars().count() > MAX_EVENT_CHARS) {
                return Err(EventError::TooLong { field });
            }
        }
        if self.ttl.is_some_and(|ttl| ttl.is_zero() || ttl > MAX_TTL) {
            return Err(EventError::Ttl);
        }
        if self.is_passing() && self.idempotency_key.is_some() {
            return Err(EventError::EphemeralKey);
        }
        Ok(())
    }

    /// The digest of the event as its publisher sent it, but not of what the server adds nor of how long it is kept.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        add(self.name.as_bytes());
        add(self.payload.as_bytes());
        for text in [&self.source, &self.timestamp] {
            add(&[u8::from(text.is_some())]);
            add(text.as_deref().unwrap_or_default().as_bytes());
        }
        if let Some(target) = &self.target {
            add(&[u8::from(target.everyone())]);
            target.users().for_each(|user| add(user.as_str().as_bytes()));
            add(&[]);
            target.rooms().for_each(|room| add(room.as_str().as_bytes()));
        }
        digest.finalize().into()
    }

    /// About how much memory the draft takes, in bytes.
    pub fn size(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        let target = self.target.as_ref().map_or(0, Audiences::size);
        let texts = self.name.len() + text(&self.source) + text(&self.timestamp);
        self.payload.as_bytes().len() + texts + target + size_of::<Self>()
    }

    /// The event, with `now` (RFC 3339 in UTC) where the publisher gave no time. An empty text is as good as none here; the
    /// [fingerprint](Self::fingerprint) still tells them apart, so that keys are known that are as old as the difference.
    pub fn into_event(self, now: &str) -> Event {
        let given = |text: Option<Box<str>>, otherwise: &str| {
            text.filter(|text| !text.is_empty()).unwrap_or_else(|| otherwise.into())
        };
        Event {
            name: self.name,
            payload: self.payload,
            source: given(self.source, "unknown"),
            timestamp: given(self.timestamp, now),
        }
    }
}

/// An event that is in the journal.
#[derive(Debug)]
pub struct Notification {
    /// Its place in the journal.
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
    /// An event that the journal gave a place.
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

/// The id of the notification that `epoch` gave the place `seq`.
pub fn notification_id(epoch: &Epoch, seq: Seq) -> String {
    let mut id = String::with_capacity(epoch.as_str().len() + 21);
    id.push_str(epoch.as_str());
    id.push('-');
    id.push_str(itoa::Buffer::new().format(seq));
    id
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::KeyOwner;

    fn draft(name: &str) -> Draft {
        Draft {
            name: name.into(),
            payload: Payload::parse(Bytes::from_static(b"{}")).expect("an object"),
            source: None,
            timestamp: None,
            idempotency_key: None,
            target: None,
            durability: None,
            ttl: None,
        }
    }

    // The journal keeps them in memory, as many as fit.
    #[test]
    fn a_notification_does_not_grow_unseen() {
        assert!(size_of::<Notification>() <= 176, "{} bytes", size_of::<Notification>());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let with = |change: fn(&mut Draft)| {
            let mut draft = draft("e");
            change(&mut draft);
            draft.check()
        };
        assert_eq!(with(|draft| draft.ttl = Some(Duration::ZERO)), Err(EventError::Ttl));
        assert_eq!(with(|draft| draft.ttl = Some(MAX_TTL + Duration::from_secs(1))), Err(EventError::Ttl));
        assert_eq!(with(|draft| draft.ttl = Some(Duration::from_millis(1))), Ok(()));
        let ephemeral = |draft: &mut Draft| draft.durability = Some(Durability::Ephemeral);
        assert_eq!(with(ephemeral), Ok(()));
        let keyed = with(|draft| {
            draft.durability = Some(Durability::Ephemeral);
            draft.idempotency_key = IdempotencyKey::new(KeyOwner::NOBODY, "k");
        });
        assert_eq!(keyed, Err(EventError::EphemeralKey));
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(draft("").check(), Err(EventError::Empty));
        assert_eq!(draft(&"e".repeat(257)).check(), Err(EventError::TooLong { field: "event" }));
        assert_eq!(draft(&"é".repeat(256)).check(), Ok(()));
        let mut long_source = draft("e");
        long_source.source = Some("s".repeat(257).into());
        assert_eq!(long_source.check(), Err(EventError::TooLong { field: "source" }));
    }

    #[test]
    fn a_fingerprint_tells_contents_apart_and_nothing_else() {
        let plain = draft("e");
        let mut keyed = draft("e");
        keyed.idempotency_key = IdempotencyKey::new(KeyOwner::NOBODY, "k");
        assert_eq!(plain.fingerprint(), keyed.fingerprint());
        let mut unknown = draft("e");
        unknown.source = Some("unknown".into());
        assert_ne!(plain.fingerprint(), unknown.fingerprint());
        let target = |users: &[&str], rooms: &[&str]| {
            let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            let mut draft = draft("e");
            draft.target = Some(Audiences::from_target(false, &texts(users), &texts(rooms)).expect("a target"));
            draft.fingerprint()
        };
        assert_ne!(target(&["a"], &[]), target(&[], &["a"]));
        assert_ne!(target(&["a"], &["b"]), target(&["b"], &["a"]));
    }
}
