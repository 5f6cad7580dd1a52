//! Only the right people, at a bearable rate.

mod issuer;
mod key_owners;
mod lifetime;
mod matrix;
mod tokens;
mod tool;

use chrono::Utc;
use exposia_notifications::config::Config;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::TestApp;

/// The secret of the servers in these tests.
pub(crate) const SECRET: &str = "a secret that is long enough for HS256 and more";

/// A server that has a key for JWTs.
pub(crate) async fn guarded() -> TestApp {
    guarded_with(|_| {}).await
}

/// The same with the settings that `change` makes.
pub(crate) async fn guarded_with(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::start_with(|config| {
        config.gate.jwt_secret = Some(SECRET.parse().expect("a secret"));
        change(config);
    })
    .await
}

/// A token with `claims`, valid for an hour if they do not say otherwise.
pub(crate) fn mint(claims: Value) -> String {
    mint_with(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), claims)
}

fn mint_with(algorithm: Algorithm, key: &EncodingKey, claims: Value) -> String {
    let now = Utc::now().timestamp();
    let mut all = json!({ "iat": now, "exp": now + 3_600 });
    let Value::Object(claims) = claims else { panic!("not an object: {claims}") };
    all.as_object_mut().expect("an object").extend(claims);
    encode(&Header::new(algorithm), &all, key).expect("a token")
}
