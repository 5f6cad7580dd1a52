//! Which tokens are believed, and where they may be.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::json;

use super::{SECRET, guarded, guarded_with, mint, mint_with};
use crate::support::{Answer, Client, TestApp, open_with};

/// A key pair that was made for these tests with `openssl genpkey -algorithm ed25519`, and its like for EC and RSA.
pub(super) const KEYS: [(&[Algorithm], &str, &str); 4] = [
    (&[Algorithm::EdDSA], include_str!("keys/ed25519.pem"), include_str!("keys/ed25519.pub.pem")),
    (&[Algorithm::ES256], include_str!("keys/p256.pem"), include_str!("keys/p256.pub.pem")),
    (&[Algorithm::ES384], include_str!("keys/p384.pem"), include_str!("keys/p384.pub.pem")),
    (
        &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512],
        include_str!("keys/rsa.pem"),
        include_str!("keys/rsa.pub.pem"),
    ),
];

pub(super) fn signing_key(algorithm: Algorithm, pem: &str) -> EncodingKey {
    let pem = pem.as_bytes();
    match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    }
    .expect("a key")
}

/// The status of `POST /notify` with `token`.
pub(super) async fn notify(app: &TestApp, token: &str) -> u16 {
    let body = json!({ "event": "presentacion.x", "payload": {} }).to_string();
    Answer::to(app.request(Method::POST, "/notify").bearer_auth(token).body(body)).await.status
}

// HS256/384/512, RS*, PS*, ES*, EdDSA; algorithm confusion is refused
#[tokio::test]
async fn each_algorithm_is_believed_with_its_own_kind_of_key_and_no_other() {
    let claims = json!({ "publish": ["*"] });
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let app = guarded().await;
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(notify(&app, &mint_with(algorithm, &secret, claims.clone())).await, 200, "{algorithm:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (algorithms, private, public) in KEYS {
        let path = folder.path().join("key.pem");
        std::fs::write(&path, public).expect("a file");
        let app = TestApp::start_with(|config| config.gate.jwt_public_key_file = Some(path)).await;
        for algorithm in algorithms {
            let token = mint_with(*algorithm, &signing_key(*algorithm, private), claims.clone());
            assert_eq!(notify(&app, &token).await, 200, "{algorithm:?}");
        }
        // The public key is known to all: as a secret it must open nothing.
        for confused in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = mint_with(confused, &EncodingKey::from_secret(public.as_bytes()), claims.clone());
            assert_eq!(notify(&app, &token).await, 401, "{confused:?} with {algorithms:?}");
        }
        assert_eq!(notify(&app, &mint_with(Algorithm::HS256, &secret, claims.clone())).await, 401);
    }
}

// `iss`, `aud`, `exp` and `nbf` with leeway are checked
#[tokio::test]
async fn a_token_must_be_of_now_from_the_issuer_and_for_us() {
    let app = guarded_with(|config| {
        config.gate.jwt_issuer = vec!["https://exposia".to_owned(), "other".to_owned()];
        config.gate.jwt_audience = vec!["notifications".to_owned()];
    })
    .await;
    let now = chrono::Utc::now().timestamp();
    let good = json!({ "publish": ["*"], "iss": "https://exposia", "aud": ["x", "notifications"] });
    let cases = [
        (json!({}), 200),
        (json!({ "iss": "other", "aud": "notifications" }), 200),
        (json!({ "iss": "somebody" }), 401),
        (json!({ "iss": null }), 401),
        (json!({ "aud": "something" }), 401),
        (json!({ "aud": null }), 401),
        (json!({ "exp": now - 10 }), 200),
        (json!({ "exp": now - 100 }), 401),
        (json!({ "exp": null }), 401),
        (json!({ "exp": "later" }), 401),
        (json!({ "nbf": now + 10 }), 200),
        (json!({ "nbf": now + 100 }), 401),
        (json!({ "publish": "*" }), 401),
        (json!({ "publish": vec!["*"; 65] }), 401),
        (json!({ "audiences": "everyone" }), 401),
        (json!({ "audiences": vec!["*"; 65] }), 401),
        (json!({ "sub": "" }), 401),
        (json!({ "sub": "a\u{202e}b" }), 401),
        (json!({ "sub": 7, "jti": 5, "admin": null, "rate": null, "nbf": null, "rooms": null }), 200),
        (json!({ "admin": 1 }), 401),
        (json!({ "rooms": "general" }), 401),
        (json!({ "sub": "x".repeat(129) }), 401),
    ];
    for (change, expected) in cases {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        assert_eq!(notify(&app, &mint(claims)).await, expected, "{change}");
    }
}

// RFC 7515, 4.1.11: what is critical and not understood makes a token invalid
#[tokio::test]
async fn a_token_with_an_extension_that_is_critical_is_refused() {
    let app = guarded().await;
    let signed = |critical: Option<&str>| {
        let mut header = Header::new(Algorithm::HS256);
        header.crit = critical.map(|name| vec![name.to_owned()]);
        let claims = json!({ "publish": ["*"], "exp": chrono::Utc::now().timestamp() + 60 });
        encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
    };
    assert_eq!(notify(&app, &signed(None)).await, 200);
    assert_eq!(notify(&app, &signed(Some("exp-seconds"))).await, 401);
}

// a number in `sub` is the user with its digits
#[tokio::test]
async fn a_user_may_be_a_number() {
    let app = guarded().await;
    for (subject, user) in [(json!(456), "456"), (json!(456.0), "456"), (json!("456"), "456")] {
        let token = mint(json!({ "sub": subject, "publish": ["*"] }));
        let ana = Client::connect(app.http(), &format!("ana?token={token}")).await;
        assert_eq!(ana.established["user_id"], user, "{subject}");
    }
}

// deployments hand secrets over with line breaks and quotation marks
#[tokio::test]
async fn a_secret_is_believed_with_and_without_what_it_came_wrapped_in() {
    let app = TestApp::start_with(|config| {
        config.gate.tokens = vec!["\"first token\"\n".parse().expect("a secret"), " second".parse().expect("a secret")];
        config.gate.jwt_secret = Some(format!("{SECRET}\n").parse().expect("a secret"));
    })
    .await;
    let signed = |secret: String| {
        mint_with(Algorithm::HS256, &EncodingKey::from_secret(secret.as_bytes()), json!({ "publish": ["*"] }))
    };
    let tokens =
        ["first token", "\"first token\"", "second", &signed(SECRET.to_owned()), &signed(format!("{SECRET}\n"))];
    for token in tokens {
        assert_eq!(notify(&app, token).await, 200, "{token}");
    }
    assert_eq!(notify(&app, &signed(String::new())).await, 401);
}

// the token comes as `Sec-WebSocket-Protocol`, as `Authorization`, as a cookie or as `?token=`; `sub` is the user
#[tokio::test]
async fn a_subscribers_token_may_be_in_four_places_and_says_who_it_is() {
    let app = guarded().await;
    let token = mint(json!({ "sub": "456" }));
    let ways = [
        (String::new(), vec![("authorization", format!("Bearer {token}"))]),
        (String::new(), vec![("cookie", format!("theme=dark; token={token}"))]),
        (String::new(), vec![("sec-websocket-protocol", format!("bearer, {token}"))]),
        (format!("?token={token}"), vec![]),
        (format!("?user_id=456&token={token}"), vec![]),
    ];
    for (query, headers) in ways {
        let socket = open_with(app.http(), &format!("ana{query}"), &headers).await.expect("let in");
        let mut ana = Client::over(socket).await;
        assert_eq!(ana.established["user_id"], "456", "{query} {headers:?}");
        let sent = app.publish("user.456.x", json!({})).await;
        assert_eq!(ana.next().await["seq"], sent["sequence"]);
        ana.close().await;
    }
    let token = ("authorization", format!("Bearer {token}"));
    let refusal = open_with(app.http(), "ana?user_id=457", &[token]).await.expect_err("somebody else");
    assert_eq!(refusal.status(), 403);
}

// several tokens, for rotation; a refusal names what was missing, never the secret
#[tokio::test]
async fn while_a_token_is_replaced_both_are_good() {
    let app = guarded_with(|config| {
        config.gate.tokens = ["old", "new"].map(|token| token.parse().expect("a secret")).into();
    })
    .await;
    assert_eq!((notify(&app, "old").await, notify(&app, "new").await), (200, 200));
    assert_eq!((notify(&app, "old,new").await, notify(&app, "").await), (401, 401));
    let token = mint(json!({ "sub": "php", "publish": ["otra.*"] }));
    let body = json!({ "event": "presentacion.x", "payload": {} }).to_string();
    let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(&token).body(body)).await;
    let detail = answer.refused(403);
    assert_eq!(detail, r#"jwt:php may not publish "presentacion.x": no pattern of its claim `publish` fits"#);
}

// a `rooms` claim does not reach what was published to others, not even by a resume
#[tokio::test]
async fn a_resume_replays_only_what_the_token_may_hear() {
    let app = guarded().await;
    let epoch = {
        let headers = [("authorization", format!("Bearer {}", mint(json!({ "sub": "ana" }))))];
        let ana = Client::over(open_with(app.http(), "ana", &headers).await.expect("let in")).await;
        ana.established["epoch"].as_str().expect("an epoch").to_owned()
    };
    app.publish_to(json!({ "users": ["luis"] }), "secret", json!({})).await;
    app.publish_to(json!({ "rooms": ["admin"] }), "secret", json!({})).await;
    let own = app.publish_to(json!({ "users": ["ana"] }), "own", json!({})).await;
    let headers = [("authorization", format!("Bearer {}", mint(json!({ "sub": "ana" }))))];
    let resume = format!("ana?since=0&epoch={epoch}");
    let mut ana = Client::over(open_with(app.http(), &resume, &headers).await.expect("let in")).await;
    assert_eq!(ana.next().await["seq"], own["sequence"]);
    let others = format!("ana?since=0&epoch={epoch}&rooms=admin");
    let refusal = open_with(app.http(), &others, &headers).await.expect_err("a room of others");
    assert_eq!(refusal.status(), 403);
}
