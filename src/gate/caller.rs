//! Who is asking, and what it may do: the one model for gRPC, REST and WebSocket.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use crate::{
    domain::{Audience, Audiences, Certificate, KeyOwner, UserId},
    gate::{
        Charge, ConnectionPermit, Error, Gate, Grant, Patterns, PublishQuota, Refusal, Revocations,
        presented::Presented, standing::Granted,
    },
    wire::quota::Quota,
};

/// Which credential it was, in a form that may be shown and logged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The static token with this number, counted from 1.
    Token(usize),
    /// A JWT, by its subject.
    Jwt(Option<UserId>),
    /// A client certificate, by the name that it is known by.
    Certificate(Box<str>),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(number) => write!(f, "token-{number}"),
            Self::Jwt(Some(subject)) => write!(f, "jwt:{subject}"),
            Self::Jwt(None) => f.write_str("jwt"),
            Self::Certificate(name) => write!(f, "cert:{name}"),
        }
    }
}

/// A credential that was checked, with what it allows.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Which one it was.
    pub credential: Credential,
    /// Whose the idempotency keys are that come with it.
    pub key_owner: KeyOwner,
    /// What it allows a publisher; `None` for a mere subscriber.
    pub grant: Option<Box<Grant>>,
    /// The rooms that may be joined besides its own.
    pub rooms: Patterns,
    /// When its token expires, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// The certificate that it is, if it is none of the tokens.
    pub certificate: Option<Arc<Certificate>>,
    /// When its token was issued.
    pub issued_at: Option<i64>,
    /// The id of its token, `jti`.
    pub token_id: Option<Box<str>>,
}

/// What a room's name begins with that belongs to one user.
const USER_ROOM: &str = "user_";

impl Identity {
    /// Makes the identity of the static token with this number, which may do everything.
    pub(super) fn of_token(number: usize) -> Self {
        let grant = Grant { publish: Some(Patterns::all()), audiences: None, rate: None, admin: true };
        Self {
            credential: Credential::Token(number),
            // One for all of them: whoever changes its token in the middle of a retry is still the same publisher.
            key_owner: KeyOwner::named("token", &[]),
            grant: Some(Box::new(grant)),
            rooms: Patterns::all(),
            expires_at: None,
            certificate: None,
            issued_at: None,
            token_id: None,
        }
    }

    /// The user that it is; static tokens are nobody in particular.
    pub fn user(&self) -> Option<&UserId> {
        match &self.credential {
            Credential::Jwt(subject) => subject.as_ref(),
            Credential::Token(_) | Credential::Certificate(_) => None,
        }
    }

    /// Whether it is a certificate that is believed no longer.
    pub(super) fn is_disbelieved(&self) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| !certificate.is_believed())
    }

    fn publishes(&self) -> Option<&Patterns> {
        self.grant.as_ref()?.publish.as_ref()
    }

    /// The room of its own.
    pub(super) fn own_room(&self) -> Option<String> {
        self.user().map(|user| format!("{USER_ROOM}{user}"))
    }

    fn may_hear_room(&self, room: &str) -> bool {
        self.rooms.matches(room) || self.own_room().is_some_and(|own| own == room)
    }
}

/// What may be done without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnonymousAccess {
    /// Reading the history and the statistics.
    pub reading: bool,
    /// Subscribing, as whoever one says one is, to whatever room.
    pub subscribing: bool,
}

/// Whoever sends a request. Its credential is judged once, when it is first asked for: who is not asked is not guessing.
#[derive(Debug, Clone)]
pub struct Caller {
    asked: Arc<Asked>,
    address: IpAddr,
    gate: Gate,
}

/// A credential that may be asked for.
#[derive(Debug)]
struct Asked {
    presented: Presented,
    known: OnceLock<Result<Known, Error>>,
}

/// Somebody who was judged.
#[derive(Debug, Clone)]
pub(super) struct Known {
    identity: Arc<Identity>,
    /// Where its identity comes from, if that is a certificate.
    granted: Option<Granted>,
}

impl Known {
    pub(super) fn by_token(identity: Arc<Identity>) -> Self {
        Self { identity, granted: None }
    }

    pub(super) fn by_certificate(identity: Arc<Identity>, granted: Granted) -> Self {
        Self { identity, granted: Some(granted) }
    }
}

impl Caller {
    pub(super) fn new(presented: Presented, address: IpAddr, gate: Gate) -> Self {
        Self { asked: Arc::new(Asked { presented, known: OnceLock::new() }), address, gate }
    }

    /// Whoever is at `address` and has `identity`, or none.
    pub(super) fn known_as(identity: Option<Arc<Identity>>, address: IpAddr, gate: Gate) -> Self {
        let known = identity.map(Known::by_token).ok_or(Error::Unauthenticated(None));
        Self { asked: Arc::new(Asked { presented: Presented::nothing(), known: known.into() }), address, gate }
    }

    /// The same with what its certificate allows now.
    pub(super) fn renewed(&self, identity: Arc<Identity>) -> Self {
        let known = OnceLock::from(Ok(Known { identity, granted: self.granted().cloned() }));
        Self { asked: Arc::new(Asked { presented: Presented::nothing(), known }), ..self.clone() }
    }

    fn known(&self) -> Result<&Known, &Error> {
        let Asked { presented, known } = &*self.asked;
        known.get_or_init(|| self.gate.judge(presented, self.address)).as_ref()
    }

    pub(super) fn granted(&self) -> Option<&Granted> {
        self.known().ok()?.granted.as_ref()
    }

    pub(super) fn revocations(&self) -> &Revocations {
        self.gate.revocations()
    }

    /// Where it is.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether a token came with its request, right or wrong.
    pub(super) fn presents_token(&self) -> bool {
        self.asked.presented.has_tokens()
    }

    /// Whether it is somebody, as far as that can be told without judging it: who need not say who it is is not asked.
    pub fn is_recognised(&self) -> bool {
        match self.asked.known.get() {
            Some(known) => known.is_ok(),
            None => self.gate.recognises(&self.asked.presented),
        }
    }

    /// Notes what it gets, if that is a refusal: whatever anybody is refused is counted and logged through here.
    pub fn refused(&self, answer: &impl Refusal) {
        let Some(denied) = answer.denied() else { return };
        let known = self.asked.known.get().and_then(|known| known.as_ref().ok());
        self.gate.rejections().note(&denied, self.address, known.map(|known| &known.identity.credential));
    }

    /// Notes what it is denied, and gives what it is told.
    pub fn refuse<T: From<Error>>(&self, denied: Error) -> T {
        self.refused(&denied);
        denied.into()
    }

    /// The checked credential.
    pub fn identity(&self) -> Result<&Arc<Identity>, Error> {
        self.known().map(|known| &known.identity).map_err(Error::clone)
    }

    /// The user that it is, if it was asked.
    fn user(&self) -> Option<&UserId> {
        self.asked.known.get()?.as_ref().ok()?.identity.user()
    }

    /// Whether it publishes at all.
    pub fn check_publisher(&self) -> Result<(), Error> {
        let identity = self.identity()?;
        let publishes = identity.publishes().is_some();
        if publishes { Ok(()) } else { Err(Error::Claim(identity.credential.clone(), "publish")) }
    }

    /// Whether it may publish `event`.
    pub fn check_publish(&self, event: &str) -> Result<(), Error> {
        self.check_publisher()?;
        let identity = self.identity()?;
        let fits = identity.publishes().is_some_and(|patterns| patterns.matches(event));
        if fits { Ok(()) } else { Err(Error::Event(identity.credential.clone(), event.into())) }
    }

    /// Whether its events may be for some audiences only, so that it matters whom one is for.
    pub fn has_limited_reach(&self) -> bool {
        self.reach().is_some()
    }

    /// Whether what it publishes may be for each of `audiences`.
    pub fn check_reach(&self, audiences: &Audiences) -> Result<(), Error> {
        let Some(reach) = self.reach() else { return Ok(()) };
        let name = audiences.as_slice().iter().map(Audience::to_string).find(|name| !reach.matches(name));
        let Some(name) = name else { return Ok(()) };
        Err(Error::Reach(self.identity()?.credential.clone(), name.into()))
    }

    fn reach(&self) -> Option<&Patterns> {
        self.known().ok()?.identity.grant.as_ref()?.audiences.as_ref()
    }

    /// How much it may publish, if that is limited.
    pub fn publish_quota(&self) -> Option<PublishQuota> {
        self.gate.publish_quota(&self.known().ok()?.identity)
    }

    /// Counts a publish, whatever will come of it, and says what is left if that is limited.
    pub fn count_publish(&self) -> Result<Option<Quota>, Error> {
        self.publish_quota().map(|quota| quota.take()).transpose()
    }

    /// Whose the idempotency keys are that come with its requests.
    pub fn key_owner(&self) -> KeyOwner {
        self.known().map_or(KeyOwner::NOBODY, |known| known.identity.key_owner)
    }

    /// Takes the permit for one more subscription of this caller, until it is dropped.
    pub fn connection_permit(&self) -> Result<ConnectionPermit, Error> {
        self.gate.connection_permit(self.address, self.user())
    }

    /// What it holds of the bytes that are unfinished or unread, which is nothing yet.
    pub fn charge(&self) -> Charge {
        self.gate.charge(self.address, self.user())
    }

    /// Whether it may revoke and disconnect others.
    pub fn check_admin(&self) -> Result<(), Error> {
        let identity = self.identity()?;
        let admin = identity.grant.as_ref().is_some_and(|grant| grant.admin);
        if admin { Ok(()) } else { Err(Error::Claim(identity.credential.clone(), "admin")) }
    }

    /// Whether it may see what there is to ask for: whoever is known, and anybody where reading is open.
    pub fn check_known(&self) -> Result<(), Error> {
        if self.gate.open().reading { Ok(()) } else { self.identity().map(drop) }
    }

    /// Whether it may see who is connected: publishers may, and anybody where reading is open.
    pub fn check_observer(&self) -> Result<(), Error> {
        if self.gate.open().reading { Ok(()) } else { self.check_publisher() }
    }

    /// Whether it may publish `event` to try things out: whoever may publish it, and anybody where reading is open.
    pub fn check_trial(&self, event: &str) -> Result<(), Error> {
        if self.gate.open().reading { Ok(()) } else { self.check_publish(event) }
    }

    /// What it may read of the history.
    pub fn reader(&self) -> Result<SubscribeScope, Error> {
        self.permit(self.gate.open().reading)
    }

    /// What it may subscribe to.
    pub fn subscriber(&self) -> Result<SubscribeScope, Error> {
        self.permit(self.gate.open().subscribing)
    }

    fn permit(&self, open: bool) -> Result<SubscribeScope, Error> {
        match self.identity() {
            Ok(identity) => Ok(SubscribeScope::of(Arc::clone(identity))),
            Err(_) if open => Ok(SubscribeScope(None)),
            Err(denied) => Err(denied),
        }
    }
}

/// What somebody may hear.
#[derive(Debug, Clone)]
pub struct SubscribeScope(Option<Arc<Identity>>);

impl SubscribeScope {
    /// The permit to hear everything, as whoever one says one is.
    pub const OPEN: Self = Self(None);

    /// The permit of a credential.
    pub fn of(identity: Arc<Identity>) -> Self {
        Self(Some(identity))
    }

    pub(super) fn known(&self) -> Option<Arc<Identity>> {
        self.0.clone()
    }

    /// The credential behind it; none where subscribing is open.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.as_deref()
    }

    /// Whether its token has expired at `time`, in seconds since 1970. One that does not end never has.
    pub fn is_over(&self, time: i64) -> bool {
        self.identity().and_then(|identity| identity.expires_at).is_some_and(|expires_at| expires_at <= time)
    }

    /// Whether it may hear what is for `audience`; `None` stands for everything, whoever it is for.
    pub fn check(&self, audience: Option<&Audience>) -> Result<(), Error> {
        let Some(identity) = &self.0 else { return Ok(()) };
        let room = match audience {
            Some(Audience::Everyone) => return Ok(()),
            Some(Audience::Room(room)) => room.to_string(),
            // What is for a user is guarded as that user's own room is.
            Some(Audience::User(user)) => format!("{USER_ROOM}{user}"),
            None if identity.rooms.is_all() => return Ok(()),
            None => "everything".to_owned(),
        };
        if audience.is_some() && identity.may_hear_room(&room) {
            return Ok(());
        }
        Err(Error::Audience(identity.credential.clone(), room.into()))
    }

    /// Whether it may hear what is for each of `audiences`; `None` stands for everything.
    pub fn check_all(&self, audiences: Option<&[Audience]>) -> Result<(), Error> {
        match audiences {
            None => self.check(None),
            Some(audiences) => audiences.iter().try_for_each(|audience| self.check(Some(audience))),
        }
    }

    /// The user of a subscriber that says it is `claimed`.
    pub fn user(&self, claimed: Option<UserId>) -> Result<Option<UserId>, Error> {
        let Some(identity) = &self.0 else { return Ok(claimed) };
        match (identity.user(), claimed) {
            (Some(own), Some(claimed)) if *own != claimed => Err(Error::User(identity.credential.clone(), claimed)),
            (Some(own), _) => Ok(Some(own.clone())),
            (None, Some(claimed)) => {
                self.check(Some(&Audience::User(claimed.clone())))?;
                Ok(Some(claimed))
            }
            (None, None) => Ok(None),
        }
    }
}
