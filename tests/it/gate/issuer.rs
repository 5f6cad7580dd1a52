//! Keys that an issuer publishes, and changes, and does not always have for us.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::IntoResponse, routing::get};
use exposia_notifications::config::Config;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::tokens::{KEYS, notify, signing_key};
use crate::support::{Server, TOKEN, TestApp, eventually, run_to_end};

const FOREVER: Duration = Duration::from_secs(60 * 60);
pub(super) const AT_ONCE: Duration = Duration::from_millis(10);

/// What the issuer answers: a status and a body, or nothing at all.
type Answer = Option<(u16, String)>;

/// An issuer whose answer the test changes.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(answer: Answer) -> Self {
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answering, counting) = (Arc::clone(&answer), Arc::clone(&asked));
        let handler = async move || {
            counting.fetch_add(1, Ordering::SeqCst);
            let answer = answering.lock().clone();
            let Some((status, body)) = answer else { return std::future::pending().await };
            let status = reqwest::StatusCode::from_u16(status).expect("a status");
            (status, [("location", "/elsewhere")], body).into_response()
        };
        let elsewhere = key_set(&[key("a", &KEYS[0])]).to_string();
        let router = Router::new().route("/jwks.json", get(handler)).route("/elsewhere", get(async || elsewhere));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, answer, asked }
    }

    /// One that publishes `keys`.
    async fn of(keys: &[Value]) -> Self {
        Self::start(Some((200, key_set(keys).to_string()))).await
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// Makes a server take its keys from here.
    fn configure(&self, config: &mut Config, interval: Duration, cooldown: Duration) {
        config.gate.jwt_jwks_url = Some(self.url().parse().expect("a URL"));
        config.gate.jwt_jwks_refresh = interval;
        config.gate.jwt_jwks_cooldown = cooldown;
    }

    /// A server that takes its keys from here.
    async fn server(&self, interval: Duration, cooldown: Duration) -> TestApp {
        TestApp::start_with(|config| self.configure(config, interval, cooldown)).await
    }

    /// Waits until it was asked and the answer was looked at: it is not asked twice at a time.
    async fn has_been_asked(&self) {
        let enough = self.asked.load(Ordering::SeqCst) + 2;
        let asked = async || (self.asked.load(Ordering::SeqCst) >= enough).then_some(());
        eventually("the issuer is asked", asked).await;
    }
}

pub(super) fn key_set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

pub(super) type KeyPair = (&'static [Algorithm], &'static str, &'static str);

/// The public key of a pair under a name.
pub(super) fn key(id: &str, (algorithms, private, _): &KeyPair) -> Value {
    let mut jwk = Jwk::from_encoding_key(&signing_key(algorithms[0], private), algorithms[0]).expect("a public key");
    (jwk.common.key_id, jwk.common.key_algorithm) = (Some(id.to_owned()), None);
    serde_json::to_value(jwk).expect("JSON")
}

fn with(mut key: Value, change: &Value) -> Value {
    key.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    key
}

/// A publisher's token, signed with the key `id`.
fn signed(algorithm: Algorithm, key: &EncodingKey, id: &str) -> String {
    let claims = json!({ "sub": "php", "publish": ["*"], "exp": chrono::Utc::now().timestamp() + 3_600 });
    encode(&Header { kid: Some(id.to_owned()), ..Header::new(algorithm) }, &claims, key).expect("a token")
}

pub(super) fn signed_by((algorithms, private, _): &KeyPair, id: &str) -> String {
    signed(algorithms[0], &signing_key(algorithms[0], private), id)
}

// keys come from a URL, each for the algorithms of its kind
#[tokio::test]
async fn what_the_issuer_signs_is_believed() {
    let ids = ["a", "b", "c", "d"];
    let keys: Vec<_> = ids.iter().zip(&KEYS).map(|(id, pair)| key(id, pair)).collect();
    let app = Issuer::of(&keys).await.server(FOREVER, FOREVER).await;
    for (id, (algorithms, private, _)) in ids.iter().zip(&KEYS) {
        for algorithm in *algorithms {
            let token = signed(*algorithm, &signing_key(*algorithm, private), id);
            assert_eq!(notify(&app, &token).await, 200, "{algorithm:?}");
            assert_eq!(notify(&app, &signed(*algorithm, &signing_key(*algorithm, private), "e")).await, 401);
        }
    }
    assert_eq!(notify(&app, TOKEN).await, 200);
}

// some issuers write a byte order mark, and pad the numbers of their keys
#[tokio::test]
async fn a_set_of_keys_is_read_as_issuers_write_it() {
    let mut rsa = key("a", &KEYS[3]);
    rsa["n"] = json!(format!("{}==", rsa["n"].as_str().expect("a number in base64")));
    let issuer = Issuer::start(Some((200, format!("\u{feff}{}", key_set(&[rsa]))))).await;
    let app = issuer.server(FOREVER, FOREVER).await;
    assert_eq!(notify(&app, &signed_by(&KEYS[3], "a")).await, 200);
}

// whoever runs the service reads why keys were not fetched, in either format of the log
#[tokio::test]
async fn the_log_says_what_is_wrong_with_the_keys() {
    let issuer = Issuer::of(&vec![key("a", &KEYS[0]); 65]).await;
    let unreachable = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("http://{}/jwks.json", listener.local_addr().expect("an address"))
    };
    for (url, why) in [(issuer.url(), "it has 65 keys; 64 are the most"), (unreachable, "Connection refused")] {
        for format in ["json", "pretty"] {
            let server = Server::start(&[("JWT_JWKS_URL", &url), ("LOG_FORMAT", format)]).await;
            server.signal("TERM").await;
            let log = server.end().await.1;
            assert!(log.contains("JWT_JWKS_URL") && log.contains(why), "{format}: {log}");
        }
    }
}

// an unknown `kid` triggers an early refresh, and a key that is gone is not believed any more
#[tokio::test]
async fn a_key_that_is_replaced_is_followed() {
    let issuer = Issuer::of(&[key("old", &KEYS[0])]).await;
    let app = issuer.server(FOREVER, AT_ONCE).await;
    let (old, new) = (signed_by(&KEYS[0], "old"), signed_by(&KEYS[1], "new"));
    assert_eq!((notify(&app, &old).await, notify(&app, &new).await), (200, 401));
    issuer.answers(Some((200, key_set(&[key("new", &KEYS[1])]).to_string())));
    eventually("the new key is known", async || (notify(&app, &new).await == 200).then_some(())).await;
    assert_eq!(notify(&app, &old).await, 401);
}

// the early refresh has a bounded rate, and whoever asks for it has guessed nothing
#[tokio::test]
async fn unknown_keys_do_not_make_the_issuer_be_asked_all_the_time() {
    let issuer = Issuer::of(&[key("a", &KEYS[0])]).await;
    let app = TestApp::start_with(|config| {
        issuer.configure(config, FOREVER, FOREVER);
        config.gate.auth_failure_rate = "1/h".parse().expect("a rate");
    })
    .await;
    for number in 0..50 {
        assert_eq!(notify(&app, &signed_by(&KEYS[0], &format!("unknown-{number}"))).await, 401);
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

// the issuer's outage is survived, whatever it looks like: the old keys stay in force
#[tokio::test]
async fn while_the_issuer_is_ill_its_keys_stay_in_force() {
    let good = key_set(&[key("a", &KEYS[0])]).to_string();
    let issuer = Issuer::start(Some((200, good.clone()))).await;
    let app = issuer.server(AT_ONCE, AT_ONCE).await;
    let token = signed_by(&KEYS[0], "a");
    let illnesses = [
        (500, good.clone()),
        (302, String::new()),
        (200, "the diary of an issuer".to_owned()),
        (200, r#"{"keys":7}"#.to_owned()),
        (200, key_set(&[]).to_string()),
        (200, key_set(&vec![key("a", &KEYS[0]); 65]).to_string()),
        (200, format!("{}{good}", " ".repeat(262_144))),
    ];
    for illness in illnesses {
        issuer.answers(Some(illness.clone()));
        issuer.has_been_asked().await;
        assert_eq!(notify(&app, &token).await, 200, "{illness:?}");
        assert_eq!(app.get("/health").await.json()["status"], "healthy");
    }
}

/// What `/health` says is what openapi.json says of it: no other field, all that must be there, and a status that it knows.
async fn is_described(app: &TestApp, health: &Value) {
    let document = app.get("/openapi.json").await.json();
    let schema = &document["components"]["schemas"]["Health"];
    let fields = health.as_object().expect("an object");
    for (field, value) in fields {
        let described = &schema["properties"][field];
        assert_eq!(described["type"] == "string", value.is_string(), "{field}: {described}");
    }
    let required = schema["required"].as_array().expect("a list");
    assert!(required.iter().all(|field| fields.contains_key(field.as_str().expect("a name"))), "{health}");
    let known = schema["properties"]["status"]["enum"].as_array().expect("a list");
    assert!(known.contains(&health["status"]), "{health}");
}

// the server starts although the issuer is down, says so, and takes the keys when they come
#[tokio::test]
async fn without_the_issuer_the_server_starts() {
    let issuer = Issuer::start(None).await;
    let app = issuer.server(FOREVER, AT_ONCE).await;
    let health = app.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")));
    assert!(health.text().contains("JWT_JWKS_URL"), "{}", health.text());
    is_described(&app, &health.json()).await;
    let token = signed_by(&KEYS[0], "a");
    assert_eq!((notify(&app, &token).await, notify(&app, TOKEN).await), (401, 200));
    issuer.answers(Some((200, key_set(&[key("a", &KEYS[0])]).to_string())));
    eventually("the key is known", async || (notify(&app, &token).await == 200).then_some(())).await;
    assert_eq!(app.get("/health").await.json()["status"], "healthy");

    let mut server = Server::start(&[("JWT_JWKS_URL", "http://127.0.0.1:1/jwks.json")]).await;
    assert!(server.has_said("JWT_JWKS_URL: no keys were fetched"));
    server.signal("TERM").await;
    server.line_with("ended").await;
}

// whoever ends a service that waits for its first keys does not wait for them
#[tokio::test]
async fn a_service_is_ended_while_it_waits_for_the_issuer() {
    let issuer = Issuer::start(None).await;
    let server = Server::launch(&[("JWT_JWKS_URL", &issuer.url())]).await;
    eventually("it asks", async || (issuer.asked.load(Ordering::SeqCst) > 0).then_some(())).await;
    server.signal("TERM").await;
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.lines().any(|line| line.ends_with("serving")), "{log}");
}

// algorithm confusion is refused: the kind of a key and its `alg` decide, and no secret comes from a URL
#[tokio::test]
async fn a_key_is_used_for_what_it_is_and_nothing_else() {
    let ([ed, p256, .., rsa], secret) = (&KEYS, EncodingKey::from_secret(b"k"));
    let keys = [
        key("ed", ed),
        json!({ "kty": "oct", "k": "aw", "kid": "secret" }),
        with(key("hs", rsa), &json!({ "alg": "HS256" })),
        with(key("encrypts", rsa), &json!({ "use": "enc" })),
        with(key("signs", rsa), &json!({ "key_ops": ["sign"] })),
        with(key("other curve", p256), &json!({ "alg": "ES384" })),
        with(key("rs512", rsa), &json!({ "alg": "RS512", "use": "sig" })),
        with(key("strange", rsa), &json!({ "kty": "lattice" })),
        json!(7),
    ];
    let app = Issuer::of(&keys).await.server(FOREVER, FOREVER).await;
    assert_eq!(notify(&app, &signed_by(ed, "ed")).await, 200);
    let (rsa_key, public) = (signing_key(Algorithm::RS512, rsa.1), EncodingKey::from_secret(rsa.2.as_bytes()));
    assert_eq!(notify(&app, &signed(Algorithm::RS512, &rsa_key, "rs512")).await, 200);
    let confused = [
        ("secret", signed(Algorithm::HS256, &secret, "secret")),
        ("a public key as a secret", signed(Algorithm::HS256, &public, "hs")),
        ("a public key as a secret", signed(Algorithm::HS256, &public, "rs512")),
        ("not for this algorithm", signed(Algorithm::RS256, &rsa_key, "rs512")),
        ("not for signatures", signed(Algorithm::RS256, &rsa_key, "encrypts")),
        ("not for checking them", signed(Algorithm::RS256, &rsa_key, "signs")),
        ("not for this curve", signed_by(p256, "other curve")),
        ("not of a known kind", signed(Algorithm::RS256, &rsa_key, "strange")),
        ("another's", signed_by(ed, "rs512")),
    ];
    for (why, token) in confused {
        assert_eq!(notify(&app, &token).await, 401, "{why}");
    }
}

// `token verify` asks the issuer, as the server does
#[tokio::test]
async fn a_token_of_the_issuer_is_described() {
    let issuer = Issuer::of(&[key("a", &KEYS[0])]).await;
    let (url, token) = (issuer.url(), signed_by(&KEYS[0], "a"));
    let output = run_to_end(&["token", "verify", &token], &[("JWT_JWKS_URL", &url)]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("subject    jwt:php\n"), "{output:?}");
    issuer.answers(Some((503, String::new())));
    let output = run_to_end(&["token", "verify", &token], &[("JWT_JWKS_URL", &url)]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "error: JWT_JWKS_URL: the issuer's keys cannot be fetched: it answered 503 Service Unavailable\n");
}

// a URL that is none, or that has a password in it, is a fault
#[tokio::test]
async fn an_address_that_is_none_is_a_fault() {
    for url in ["issuer", "ftp://issuer/", "/jwks.json", "https://user:pass@issuer/", ""] {
        let output = run_to_end(&["check"], &[("JWT_JWKS_URL", url)]).await;
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: JWT_JWKS_URL: "), "{output:?}");
    }
}
