//! JSON Web Tokens (RFC 7519): which are believed, and what their claims allow.

use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, dangerous::insecure_decode_claims, decode, decode_header, errors::ErrorKind,
};
use serde_json::{Map, Value};

use crate::{
    domain::{KeyOwner, UserId, number_name},
    gate::{Credential, Grant, Identity, Patterns, Rate},
};

/// Why a token is not believed. The texts are ours, so that nothing of the token gets into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of the static tokens, and no JWT that could be read.
    #[error("it is neither a known token nor a JWT with an algorithm that is supported")]
    Unreadable,
    /// It came in a header that was there more than once.
    #[error("the header {0} came more than once; send one")]
    Repeated(&'static str),
    /// No key is for its `alg` and `kid`.
    #[error("no key fits its `alg` and `kid`")]
    NoKey,
    /// It was signed with another key.
    #[error("its signature is wrong")]
    Signature,
    /// It was valid once.
    #[error("it is expired")]
    Expired,
    /// It, or its user, was revoked.
    #[error("it was revoked")]
    Revoked,
    /// It is a certificate, and its CA was taken out of those that are believed.
    #[error("its CA is believed no longer")]
    Disbelieved,
    /// It will be valid later.
    #[error("it is not valid yet")]
    NotYet,
    /// It comes from somebody else.
    #[error("its `iss` is not the one expected")]
    Issuer,
    /// It is meant for somebody else.
    #[error("its `aud` is not the one expected")]
    Audience,
    /// Its header asks for an extension that is not known (RFC 7515, 4.1.11).
    #[error("its header names an extension in `crit`, and none is known here")]
    Critical,
    /// What it says is no set of claims.
    #[error("its claims are no JSON object, or one of `iss`, `sub`, `aud`, `exp` and `nbf` is of the wrong form")]
    NoClaims,
    /// A claim is missing, or is not what it should be.
    #[error("its claim `{0}` {1}")]
    Claim(&'static str, &'static str),
}

impl TokenError {
    /// Whether whoever sent it may be guessing. What was well signed comes from the issuer, and what is signed with a key that is
    /// not known may do so.
    pub(super) fn may_be_a_guess(self) -> bool {
        matches!(self, Self::Unreadable | Self::Signature)
    }
}

impl From<jsonwebtoken::errors::Error> for TokenError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(name) => Self::missing(name),
            ErrorKind::Json(_) => Self::NoClaims,
            ErrorKind::InvalidAlgorithm => Self::NoKey,
            _ => Self::Unreadable,
        }
    }
}

impl TokenError {
    /// A claim that is asked for is not there, or cannot be read.
    fn missing(name: &str) -> Self {
        match name {
            "iss" => Self::Claim("iss", "is missing, or is neither a text nor a list of texts"),
            "aud" => Self::Claim("aud", "is missing, or is neither a text nor a list of texts"),
            _ => Self::Claim("exp", "is missing, or is no number of seconds"),
        }
    }
}

/// A key that signatures are checked with, and the algorithms that it is for. A token's `alg` only picks among them.
#[derive(Debug, Clone)]
pub struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl Key {
    pub(super) fn new(id: Option<String>, key: DecodingKey) -> Self {
        Self { id, algorithms: key.family().algorithms().to_vec(), key }
    }

    /// A secret that both sides know.
    pub fn from_secret(secret: &[u8]) -> Self {
        Self::new(None, DecodingKey::from_secret(secret))
    }

    /// Reads a public key in PEM: RSA, EC or Ed25519.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem));
        key.ok().map(|key| Self::new(None, key))
    }

    fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let other = |own: &String| id.is_some_and(|id| own != id);
        self.algorithms.contains(&algorithm) && !self.id.as_ref().is_some_and(other)
    }
}

/// What is asked of a token besides its signature.
#[derive(Debug, Clone)]
pub struct Expected {
    /// All but the times: for those the library would ask a clock of its own.
    claims: Validation,
    /// How many seconds clocks may differ.
    leeway: u64,
}

impl Expected {
    /// Expects tokens of these issuers for these audiences, with `leeway` seconds for clocks that differ. Without issuers or audiences, any will do.
    pub fn new(issuers: &[String], audiences: &[String], leeway: u64) -> Self {
        let mut validation = Validation::new(Algorithm::default());
        validation.validate_exp = false;
        let mut required = vec!["exp"];
        if !issuers.is_empty() {
            validation.set_issuer(issuers);
            required.push("iss");
        }
        if audiences.is_empty() {
            validation.validate_aud = false;
        } else {
            validation.set_audience(audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Self { claims: validation, leeway }
    }

    /// Checks `token` at the time `now` with those of `keys` that are for its algorithm, and gives what it allows.
    pub fn verify<'k>(
        &self,
        token: &str,
        keys: impl IntoIterator<Item = &'k Key>,
        now: DateTime<Utc>,
    ) -> Result<Identity, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Unreadable)?;
        let mut validation = self.claims.clone();
        validation.algorithms = vec![header.alg];
        let mut outcome = Err(TokenError::NoKey);
        for key in keys.into_iter().filter(|key| key.fits(header.alg, header.kid.as_deref())) {
            outcome = decode::<Map<String, Value>>(token, &key.key, &validation).map_err(TokenError::from);
            // Another key of the set may have made this signature; any other fault stays one.
            if !matches!(outcome, Err(TokenError::Signature)) {
                break;
            }
        }
        let token = outcome.map_err(|error| if error == TokenError::NoClaims { wrong_claim(token) } else { error })?;
        if token.header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let claims = Claims::read(token.claims)?;
        claims.check_times(now.timestamp(), self.leeway)?;
        Ok(claims.identity())
    }
}

/// What is wrong with the claims of a token that is well signed, and that the library cannot read.
fn wrong_claim(token: &str) -> TokenError {
    let claims = insecure_decode_claims(token).map_err(|_| TokenError::NoClaims);
    claims.and_then(Claims::read).map_or_else(|error| error, |_| TokenError::NoClaims)
}

/// What a token says.
#[derive(Debug)]
struct Claims {
    key_owner: KeyOwner,
    subject: Option<UserId>,
    publish: Option<Patterns>,
    audiences: Option<Patterns>,
    /// As the setting `PUBLISH_RATE` is written.
    rate: Option<Rate>,
    admin: bool,
    rooms: Option<Patterns>,
    /// In seconds since 1970; RFC 7519 allows fractions.
    expires_at: f64,
    not_before: Option<f64>,
    issued_at: Option<f64>,
    id: Option<Box<str>>,
}

impl Claims {
    fn read(claims: Map<String, Value>) -> Result<Self, TokenError> {
        let mut claims = Unread(claims);
        let subject = claims.text("sub")?;
        let key_owner = key_owner(claims.take("iss"), subject.as_deref());
        const NO_NAME: &str = "must have 1 to 128 characters that can be seen";
        let parse = |subject: String| UserId::parse(&subject).map_err(|_| TokenError::Claim("sub", NO_NAME));
        let rate = claims.text("rate")?.map(|rate| rate.parse()).transpose();
        Ok(Self {
            key_owner,
            subject: subject.map(parse).transpose()?,
            publish: claims.patterns("publish")?,
            audiences: claims.patterns("audiences")?,
            rate: rate.map_err(|_| TokenError::Claim("rate", "must be a rate such as \"100/s\""))?,
            admin: claims.flag("admin")?,
            rooms: claims.patterns("rooms")?,
            expires_at: claims.time("exp")?.ok_or_else(|| TokenError::missing("exp"))?,
            not_before: claims.time("nbf")?,
            issued_at: claims.time("iat")?,
            id: claims.text("jti")?.map(String::into_boxed_str),
        })
    }

    /// Whether the token is of `now`, in seconds since 1970, or of not more than `leeway` seconds before or after.
    fn check_times(&self, now: i64, leeway: u64) -> Result<(), TokenError> {
        let (now, leeway) = (now as f64, leeway as f64);
        if self.expires_at.round() < now - leeway {
            return Err(TokenError::Expired);
        }
        let begun = self.not_before.is_none_or(|begin| begin.round() <= now + leeway);
        if begun { Ok(()) } else { Err(TokenError::NotYet) }
    }

    fn identity(self) -> Identity {
        let publishes = self.publish.is_some() || self.admin;
        let Self { publish, audiences, rate, admin, .. } = self;
        let grant = Grant { publish, audiences, rate, admin };
        Identity {
            key_owner: self.key_owner,
            credential: Credential::Jwt(self.subject),
            grant: publishes.then(|| Box::new(grant)),
            rooms: self.rooms.unwrap_or_else(Patterns::open_rooms),
            expires_at: Some(self.expires_at as i64),
            certificate: None,
            issued_at: self.issued_at.map(|seconds| seconds as i64),
            token_id: self.id,
        }
    }
}

/// Whose the idempotency keys are that come with the token, and with any other of the same issuer and subject.
fn key_owner(issuer: Option<Value>, subject: Option<&str>) -> KeyOwner {
    let issuer = match issuer {
        None => String::new(),
        Some(Value::String(issuer)) => issuer,
        Some(other) => other.to_string(),
    };
    match subject {
        Some(subject) => KeyOwner::named("subject", &[&issuer, subject]),
        None => KeyOwner::named("issuer", &[&issuer]),
    }
}

/// The claims of a token that nobody took out yet. `null` is absence: libraries write it for what is not set.
struct Unread(Map<String, Value>);

impl Unread {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text, or a number: many user tables count their users, and their libraries write what they find.
    fn text(&mut self, name: &'static str) -> Result<Option<String>, TokenError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number_name(&number.to_string()).into_owned())),
            Some(_) => Err(TokenError::Claim(name, "must be a text or a number")),
        }
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, TokenError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(TokenError::Claim(name, "must be true or false")),
        }
    }

    /// In seconds since 1970.
    fn time(&mut self, name: &'static str) -> Result<Option<f64>, TokenError> {
        match self.take(name) {
            None => Ok(None),
            Some(time) => {
                time.as_f64().map(Some).ok_or(TokenError::Claim(name, "must be a number of seconds since 1970"))
            }
        }
    }

    fn patterns(&mut self, name: &'static str) -> Result<Option<Patterns>, TokenError> {
        const NO_LIST: &str = "must be a list of texts, such as [\"a.*\"]";
        let Some(list) = self.take(name) else { return Ok(None) };
        let texts: Vec<String> = serde_json::from_value(list).map_err(|_| TokenError::Claim(name, NO_LIST))?;
        Patterns::new(&texts).map(Some).ok_or(TokenError::Claim(name, "has more than 64 patterns"))
    }
}
