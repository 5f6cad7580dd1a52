//! JSON Web Tokens (RFC 7519): which are believed, and what their claims allow.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use crate::{
    domain::{KeyOwner, UserId},
    gate::{Credential, Grant, Identity, Patterns},
};

/// Why a token is not believed. The texts are ours, so that nothing of the token gets into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of the static tokens, and no JWT that could be read.
    #[error("it is neither a known token nor a JWT with an algorithm that is supported")]
    Unreadable,
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
    /// A claim is missing or is not what it should be.
    #[error("a claim is missing (`exp`, `iss` or `aud`) or of the wrong form")]
    Claims,
}

impl From<jsonwebtoken::errors::Error> for TokenError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => Self::Claims,
            ErrorKind::InvalidAlgorithm => Self::NoKey,
            _ => Self::Unreadable,
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
    /// With `leeway` seconds for clocks that differ. Without issuers or audiences, any will do.
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
            outcome = decode::<Claims>(token, &key.key, &validation).map_err(TokenError::from);
            // Another key of the set may have made this signature; any other fault stays one.
            if !matches!(outcome, Err(TokenError::Signature)) {
                break;
            }
        }
        let claims = outcome?.claims;
        claims.check_times(now.timestamp(), self.leeway)?;
        claims.identity().ok_or(TokenError::Claims)
    }
}

#[derive(Deserialize)]
struct Claims {
    /// A text or, where none is expected, whatever it is.
    iss: Option<serde_json::Value>,
    sub: Option<String>,
    publish: Option<Vec<String>>,
    /// As the setting `PUBLISH_RATE` is written.
    rate: Option<String>,
    #[serde(default)]
    admin: bool,
    rooms: Option<Vec<String>>,
    /// RFC 7519 allows fractions of seconds.
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<Box<str>>,
}

impl Claims {
    /// Whether the token is of `now`, in seconds since 1970, or of not more than `leeway` seconds before or after.
    fn check_times(&self, now: i64, leeway: u64) -> Result<(), TokenError> {
        let (now, leeway) = (now as f64, leeway as f64);
        if self.exp.round() < now - leeway {
            return Err(TokenError::Expired);
        }
        let begun = self.nbf.is_none_or(|nbf| nbf.round() <= now + leeway);
        if begun { Ok(()) } else { Err(TokenError::NotYet) }
    }

    /// Whose the idempotency keys are that come with the token, and with any other of the same issuer and subject.
    fn key_owner(&self) -> KeyOwner {
        let issuer = match &self.iss {
            None => String::new(),
            Some(serde_json::Value::String(issuer)) => issuer.clone(),
            Some(other) => other.to_string(),
        };
        match &self.sub {
            Some(subject) => KeyOwner::named("subject", &[&issuer, subject]),
            None => KeyOwner::named("issuer", &[&issuer]),
        }
    }

    fn identity(self) -> Option<Identity> {
        let key_owner = self.key_owner();
        let patterns = |claim: Option<Vec<String>>| claim.map(|texts| Patterns::new(&texts).ok_or(())).transpose();
        let publish = patterns(self.publish).ok()?;
        let rate = self.rate.map(|rate| rate.parse()).transpose().ok()?;
        let publishes = publish.is_some() || self.admin;
        Some(Identity {
            key_owner,
            credential: Credential::Jwt(self.sub.map(|subject| UserId::parse(&subject)).transpose().ok()?),
            grant: publishes.then(|| Box::new(Grant { publish, rate, admin: self.admin })),
            rooms: patterns(self.rooms).ok()?.unwrap_or_else(Patterns::open_rooms),
            expires_at: Some(self.exp as i64),
            certificate: None,
            issued_at: self.iat.map(|seconds| seconds as i64),
            token_id: self.jti,
        })
    }
}
