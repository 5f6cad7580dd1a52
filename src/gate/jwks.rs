//! JSON Web Key Sets (RFC 7517): the public keys that an issuer gives to everybody.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::gate::Key;

/// What some editors and platforms write before a text in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How many keys a set may have.
const MAX_KEYS: usize = 64;

/// Why a document is no set of keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is not one at all.
    #[error("it is no JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It has too many.
    #[error("it has {0} keys; {MAX_KEYS} are the most that are taken")]
    TooMany(usize),
    /// There is none in it for tokens.
    #[error("it has no public key of RSA, P-256, P-384 or Ed25519 that signatures can be checked with")]
    Empty,
}

#[derive(Deserialize)]
struct KeySet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// Reads the keys of a set. What cannot be used is passed over, as the RFC asks: other kinds of keys may be in it.
pub(super) fn read(document: &[u8]) -> Result<Vec<Key>, KeySetError> {
    let document = document.strip_prefix(BOM).unwrap_or(document);
    let KeySet { keys } = serde_json::from_slice(document)?;
    if keys.len() > MAX_KEYS {
        return Err(KeySetError::TooMany(keys.len()));
    }
    let keys: Vec<_> = keys.into_iter().filter_map(|key| parse(key).and_then(usable)).collect();
    if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(keys) }
}

/// Reads a key. Its numbers are in base64 without padding (RFC 7518, 2); where some issuer pads them, that is taken off.
fn parse(key: &RawValue) -> Option<Jwk> {
    let mut key: serde_json::Map<String, Value> = serde_json::from_str(key.get()).ok()?;
    for number in ["n", "e", "x", "y"] {
        if let Some(Value::String(text)) = key.get_mut(number) {
            text.truncate(text.trim_end_matches('=').len());
        }
    }
    serde_json::from_value(Value::Object(key)).ok()
}

/// The key, if it is for signatures. Its kind decides which algorithms it is for, and its `alg` which of them; a secret is
/// for nobody to publish, so none is taken.
fn usable(jwk: Jwk) -> Option<Key> {
    let Jwk { common, algorithm: parameters } = &jwk;
    let algorithms: &[Algorithm] = match parameters {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|uses| uses.contains(&KeyOperations::Verify));
    let only = common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
    let algorithms: Vec<_> =
        algorithms.iter().copied().filter(|algorithm| only.is_none_or(|only| only == *algorithm)).collect();
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (signs && verifies && !algorithms.is_empty()).then(|| Key { id: jwk.common.key_id, algorithms, key })
}
