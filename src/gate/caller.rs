//! Who is asking, and what it may do: the one model for gRPC, REST and WebSocket.

use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    domain::{Audience, Code, UserId},
    gate::{Grant, Patterns, Reason, Refusals, TokenError},
};

/// Which credential it was, in a form that may be shown and logged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The static token with this number, counted from 1.
    Token(usize),
    /// A JWT, by its subject.
    Jwt(Option<UserId>),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(number) => write!(f, "token-{number}"),
            Self::Jwt(Some(subject)) => write!(f, "jwt:{subject}"),
            Self::Jwt(None) => f.write_str("jwt"),
        }
    }
}

/// A credential that was checked, with what it allows.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Which one it was.
    pub credential: Credential,
    /// What it allows a publisher; `None` for a mere subscriber.
    pub grant: Option<Box<Grant>>,
    /// The rooms that may be joined besides its own.
    pub rooms: Patterns,
    /// When its token expires, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// When its token was issued.
    pub issued_at: Option<i64>,
    /// The id of its token, `jti`.
    pub token_id: Option<Box<str>>,
}

/// What a room's name begins with that belongs to one user.
const USER_ROOM: &str = "user_";

impl Identity {
    /// One that may do everything: the static token with this number.
    pub(super) fn of_token(number: usize) -> Self {
        let grant = Grant { publish: Some(Patterns::all()), admin: true };
        Self {
            credential: Credential::Token(number),
            grant: Some(Box::new(grant)),
            rooms: Patterns::all(),
            expires_at: None,
            issued_at: None,
            token_id: None,
        }
    }

    /// The user that it is; static tokens are nobody in particular.
    pub fn user(&self) -> Option<&UserId> {
        match &self.credential {
            Credential::Jwt(subject) => subject.as_ref(),
            Credential::Token(_) => None,
        }
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

/// What a credential lacks. The texts name it, and never the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no valid credential.
    #[error("a valid token is needed: send the metadata `authorization: Bearer <token>`")]
    Unauthenticated(Option<TokenError>),
    /// The credential does not allow this kind of thing at all.
    #[error("{0} lacks the claim `{1}`")]
    Claim(Credential, &'static str),
    /// The event is none of those that the credential may publish.
    #[error("{0} may not publish {1:?}: no pattern of its claim `publish` fits")]
    Event(Credential, Box<str>),
    /// The room, or the user's notifications, are not for this credential.
    #[error("{0} may not hear {1}: no pattern of its claim `rooms` fits")]
    Audience(Credential, Box<str>),
    /// It says that it is another user than the one of its token.
    #[error("{0} may not be the user {1}")]
    User(Credential, UserId),
    /// A browser says that it asks for a page from elsewhere.
    #[error("the origin {0:?} is not allowed here")]
    Origin(Box<str>),
    /// So many tokens from this address were wrong that none is looked at for this time.
    #[error("too many wrong tokens came from this address; try again later")]
    AuthFailures(Duration),
}

impl Denied {
    /// The denial as callers see it.
    pub fn code(&self) -> Code {
        match self {
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Claim(..) | Self::Event(..) | Self::Audience(..) | Self::User(..) | Self::Origin(_) => {
                Code::Forbidden
            }
            Self::AuthFailures(_) => Code::TooMany,
        }
    }

    /// When it may be tried again, if that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::AuthFailures(wait) => Some(*wait),
            _ => None,
        }
    }

    /// What it is called in logs and statistics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unauthenticated(None) => Reason::NoToken,
            Self::Unauthenticated(Some(_)) => Reason::BadToken,
            Self::Claim(..) | Self::Event(..) | Self::Audience(..) | Self::User(..) => Reason::Forbidden,
            Self::Origin(_) => Reason::Origin,
            Self::AuthFailures(_) => Reason::AuthFailures,
        }
    }

    /// What a log says of it. Whoever asks is not told what is wrong with its token; who runs the service is.
    pub fn why(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthenticated(None) => "there is no token".into(),
            Self::Unauthenticated(Some(error)) => error.to_string().into(),
            denied => denied.to_string().into(),
        }
    }
}

/// What may be done without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Reading the history and the statistics.
    pub reading: bool,
    /// Subscribing, as whoever one says one is, to whatever room.
    pub subscribing: bool,
}

/// Whoever sends a request.
#[derive(Debug, Clone)]
pub struct Caller {
    identity: Result<Arc<Identity>, Denied>,
    address: IpAddr,
    open: Open,
    refusals: Refusals,
}

impl Caller {
    pub(super) fn new(
        identity: Result<Arc<Identity>, Denied>,
        address: IpAddr,
        open: Open,
        refusals: Refusals,
    ) -> Self {
        Self { identity, address, open, refusals }
    }

    /// Where it is.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Notes that it was refused something.
    pub fn refused(&self, denied: &Denied) {
        let credential = self.identity.as_ref().ok().map(|identity| &identity.credential);
        self.refusals.note(denied, self.address, credential);
    }

    /// The checked credential.
    pub fn identity(&self) -> Result<&Arc<Identity>, Denied> {
        self.identity.as_ref().map_err(Denied::clone)
    }

    /// Whether it publishes at all.
    pub fn check_publisher(&self) -> Result<(), Denied> {
        let identity = self.identity()?;
        let publishes = identity.publishes().is_some();
        if publishes { Ok(()) } else { Err(Denied::Claim(identity.credential.clone(), "publish")) }
    }

    /// Whether it may publish `event`.
    pub fn check_publish(&self, event: &str) -> Result<(), Denied> {
        self.check_publisher()?;
        let identity = self.identity()?;
        let fits = identity.publishes().is_some_and(|patterns| patterns.matches(event));
        if fits { Ok(()) } else { Err(Denied::Event(identity.credential.clone(), event.into())) }
    }

    /// Whether it may revoke and disconnect others.
    pub fn check_admin(&self) -> Result<(), Denied> {
        let identity = self.identity()?;
        let admin = identity.grant.as_ref().is_some_and(|grant| grant.admin);
        if admin { Ok(()) } else { Err(Denied::Claim(identity.credential.clone(), "admin")) }
    }

    /// Whether it may see who is connected: publishers may, and anybody where reading is open.
    pub fn check_observer(&self) -> Result<(), Denied> {
        if self.open.reading { Ok(()) } else { self.check_publisher() }
    }

    /// Whether it may publish `event` to try things out: whoever may publish it, and anybody where reading is open.
    pub fn check_trial(&self, event: &str) -> Result<(), Denied> {
        if self.open.reading { Ok(()) } else { self.check_publish(event) }
    }

    /// What it may read of the history.
    pub fn reader(&self) -> Result<Permit, Denied> {
        self.permit(self.open.reading)
    }

    /// What it may subscribe to.
    pub fn subscriber(&self) -> Result<Permit, Denied> {
        self.permit(self.open.subscribing)
    }

    fn permit(&self, open: bool) -> Result<Permit, Denied> {
        match self.identity() {
            Ok(identity) => Ok(Permit::of(Arc::clone(identity))),
            Err(_) if open => Ok(Permit(None)),
            Err(denied) => Err(denied),
        }
    }
}

/// What somebody may hear.
#[derive(Debug, Clone)]
pub struct Permit(Option<Arc<Identity>>);

impl Permit {
    /// The permit to hear everything, as whoever one says one is.
    pub const OPEN: Self = Self(None);

    /// The permit of a credential.
    pub fn of(identity: Arc<Identity>) -> Self {
        Self(Some(identity))
    }

    /// The credential behind it; none where subscribing is open.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.as_deref()
    }

    /// Whether it may hear what is for `audience`; `None` stands for everything, whoever it is for.
    pub fn check(&self, audience: Option<&Audience>) -> Result<(), Denied> {
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
        Err(Denied::Audience(identity.credential.clone(), room.into()))
    }

    /// Whether it may hear what is for each of `audiences`; `None` stands for everything.
    pub fn check_all(&self, audiences: Option<&[Audience]>) -> Result<(), Denied> {
        match audiences {
            None => self.check(None),
            Some(audiences) => audiences.iter().try_for_each(|audience| self.check(Some(audience))),
        }
    }

    /// The user of a subscriber that says it is `claimed`.
    pub fn user(&self, claimed: Option<UserId>) -> Result<Option<UserId>, Denied> {
        let Some(identity) = &self.0 else { return Ok(claimed) };
        match (identity.user(), claimed) {
            (Some(own), Some(claimed)) if *own != claimed => Err(Denied::User(identity.credential.clone(), claimed)),
            (Some(own), _) => Ok(Some(own.clone())),
            (None, Some(claimed)) => {
                self.check(Some(&Audience::User(claimed.clone())))?;
                Ok(Some(claimed))
            }
            (None, None) => Ok(None),
        }
    }
}
