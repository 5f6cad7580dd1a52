//! A draft is an event as its publisher hands it in.

use std::{borrow::Cow, time::Duration};

use sha2::{Digest, Sha256};

use crate::domain::{Audiences, Durability, Event, FieldNames, Fingerprint, IdempotencyKey, Identifiers, Payload};

/// The longest event name, source, timestamp and idempotency key, in characters.
pub const MAX_EVENT_CHARS: usize = 256;

/// The longest time to live: ten years.
pub const MAX_TTL: Duration = Duration::from_secs(3_650 * 86_400);

/// What a publisher says of an event, before anybody has looked at it.
#[derive(Debug, Clone)]
pub struct DraftFields {
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
    /// By what of the payload it may be routed, if that was found when the payload was read.
    pub identifiers: Option<Identifiers>,
}

/// An event as a publisher hands it in, before it is stamped and routed. One that exists is valid.
#[derive(Debug, Clone)]
pub struct Draft(DraftFields);

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

impl DraftFields {
    /// An event of which no more is said.
    pub fn new(name: impl Into<Box<str>>, payload: Payload) -> Self {
        Self {
            name: name.into(),
            payload,
            source: None,
            timestamp: None,
            idempotency_key: None,
            target: None,
            durability: None,
            ttl: None,
            identifiers: None,
        }
    }

    fn check(&self) -> Result<(), EventError> {
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
        if self.durability == Some(Durability::Ephemeral) && self.idempotency_key.is_some() {
            return Err(EventError::EphemeralKey);
        }
        Ok(())
    }
}

impl Draft {
    /// Checks what is said of an event: it has a name, nothing longer than [`MAX_EVENT_CHARS`], and nothing that contradicts
    /// something else.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn new(fields: DraftFields) -> Result<Self, EventError> {
        fields.check()?;
        Ok(Self(fields))
    }

    /// Whether it is to be delivered to whoever is connected, and kept nowhere.
    pub fn is_passing(&self) -> bool {
        self.0.durability == Some(Durability::Ephemeral)
    }

    /// The name of what happened, never empty.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The content.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// Who shall receive it, if its publisher says so.
    pub fn target(&self) -> Option<&Audiences> {
        self.0.target.as_ref()
    }

    /// What it must survive, if its publisher says so.
    pub fn durability(&self) -> Option<Durability> {
        self.0.durability
    }

    /// Says for how long the event is of use, if its publisher set that.
    pub fn ttl(&self) -> Option<Duration> {
        self.0.ttl
    }

    /// What makes a retry safe.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.0.idempotency_key.as_ref()
    }

    /// The fields of the payload with these `names`; it is read for them only if it was not when it came.
    pub fn identifiers(&self, names: &FieldNames) -> Cow<'_, Identifiers> {
        match self.0.identifiers.as_ref().filter(|identifiers| identifiers.are_of(names)) {
            Some(identifiers) => Cow::Borrowed(identifiers),
            None => Cow::Owned(self.0.payload.identifiers(names)),
        }
    }

    /// The digest of the event as its publisher sent it, but not of what the server adds nor of how long it is kept.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        let DraftFields { name, payload, source, timestamp, target, .. } = &self.0;
        add(name.as_bytes());
        add(payload.as_bytes());
        for text in [source, timestamp] {
            add(&[u8::from(text.is_some())]);
            add(text.as_deref().unwrap_or_default().as_bytes());
        }
        if let Some(target) = target {
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
        let DraftFields { name, payload, source, timestamp, target, identifiers, .. } = &self.0;
        let target = target.as_ref().map_or(0, Audiences::size);
        let found = identifiers.as_ref().map_or(0, Identifiers::size);
        let texts = name.len() + text(source) + text(timestamp) + found;
        payload.as_bytes().len() + texts + target + size_of::<Self>()
    }

    /// The event, with `now` (RFC 3339 in UTC) where the publisher gave no time. An empty text is as good as none here; the
    /// [fingerprint](Self::fingerprint) still tells them apart, so that keys are known that are as old as the difference.
    pub fn into_event(self, now: &str) -> Event {
        let given = |text: Option<Box<str>>, otherwise: &str| {
            text.filter(|text| !text.is_empty()).unwrap_or_else(|| otherwise.into())
        };
        let DraftFields { name, payload, source, timestamp, .. } = self.0;
        Event { name, payload, source: given(source, "unknown"), timestamp: given(timestamp, now) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::KeyOwner;

    fn fields(name: &str) -> DraftFields {
        DraftFields::new(name, Payload::parse(Bytes::from_static(b"{}")).expect("an object"))
    }

    fn refused(fields: DraftFields) -> Option<EventError> {
        Draft::new(fields).err()
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let with = |change: fn(&mut DraftFields)| {
            let mut fields = fields("e");
            change(&mut fields);
            refused(fields)
        };
        assert_eq!(with(|draft| draft.ttl = Some(Duration::ZERO)), Some(EventError::Ttl));
        assert_eq!(with(|draft| draft.ttl = Some(MAX_TTL + Duration::from_secs(1))), Some(EventError::Ttl));
        assert_eq!(with(|draft| draft.ttl = Some(Duration::from_millis(1))), None);
        let ephemeral = |draft: &mut DraftFields| draft.durability = Some(Durability::Ephemeral);
        assert_eq!(with(ephemeral), None);
        let keyed = with(|draft| {
            draft.durability = Some(Durability::Ephemeral);
            draft.idempotency_key = IdempotencyKey::new(KeyOwner::NOBODY, "k");
        });
        assert_eq!(keyed, Some(EventError::EphemeralKey));
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(refused(fields("")), Some(EventError::Empty));
        assert_eq!(refused(fields(&"e".repeat(257))), Some(EventError::TooLong { field: "event" }));
        assert_eq!(refused(fields(&"é".repeat(256))), None);
        let long_source = DraftFields { source: Some("s".repeat(257).into()), ..fields("e") };
        assert_eq!(refused(long_source), Some(EventError::TooLong { field: "source" }));
    }

    #[test]
    fn a_fingerprint_tells_contents_apart_and_nothing_else() {
        let fingerprint = |fields| Draft::new(fields).expect("a draft").fingerprint();
        let plain = fingerprint(fields("e"));
        let key = IdempotencyKey::new(KeyOwner::NOBODY, "k");
        assert_eq!(plain, fingerprint(DraftFields { idempotency_key: key, ..fields("e") }));
        assert_ne!(plain, fingerprint(DraftFields { source: Some("unknown".into()), ..fields("e") }));
        let target = |users: &[&str], rooms: &[&str]| {
            let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            let target = Audiences::from_target(false, &texts(users), &texts(rooms)).expect("a target");
            fingerprint(DraftFields { target: Some(target), ..fields("e") })
        };
        assert_ne!(target(&["a"], &[]), target(&[], &["a"]));
        assert_ne!(target(&["a"], &["b"]), target(&["b"], &["a"]));
    }
}
