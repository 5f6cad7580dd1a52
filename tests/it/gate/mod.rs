//! Only the right people, at a bearable rate.

mod issuer;
mod key_owners;
mod lifetime;
mod matrix;
mod names;
mod presented;
mod reach;
mod tokens;
mod tool;
mod vouching;

use std::sync::Arc;

use chrono::Utc;
use exposia_notifications::{
    clock::{Clock, System},
    config::Config,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::{Client, TestApp};

/// The secret of the servers in these tests.
pub(crate) const SECRET: &str = "a secret that is long enough for HS256 and more";

/// A server that has a key for JWTs.
pub(crate) async fn guarded() -> TestApp {
    guarded_with(|_| {}).await
}

/// The same with the settings that `change` makes.
pub(crate) async fn guarded_with(change: impl FnOnce(&mut Config)) -> TestApp {
    guarded_by(Arc::new(System::default()), change).await
}

/// The same by the time of `clock`.
pub(crate) async fn guarded_by(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::start_by(clock, |config| {
        config.gate.jwt_secret = Some(SECRET.parse().expect("a secret"));
        change(config);
    })
    .await
}

/// Sends a message and gives its answer. The notice that the token expired may come before it: that goes by a sweep.
async fn ask_late(client: &mut Client, message: Value) -> Value {
    client.send(message).await;
    loop {
        let answer = client.next().await;
        if answer["type"] != "token_expired" {
            return answer;
        }
    }
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
