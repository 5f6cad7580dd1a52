//! Tokens minted and looked at from the command line.

use serde_json::json;

use super::{SECRET, guarded, mint};
use crate::support::{Client, open_with, run_to_end, run_with_input};

/// Runs `token …` under the secret and `settings`; gives the exit code and what was said.
async fn token(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let settings = [&[("JWT_SECRET", SECRET)], settings].concat();
    let output = run_to_end(&[&["token"], arguments].concat(), &settings).await;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (output.status.code(), said.trim_end().to_owned())
}

// `token mint` signs what the server believes
#[tokio::test]
async fn a_minted_token_lets_in_as_who_it_says() {
    let (code, minted) =
        token(&["mint", "--sub", "7", "--rooms", "sala_*", "--publish", "user.*", "--expires", "5m"], &[]).await;
    assert_eq!(code, Some(0), "{minted}");
    let app = guarded().await;
    let headers = [("authorization", format!("Bearer {minted}"))];
    let mut ana = Client::over(open_with(app.http(), "ana?room=sala_1", &headers).await.expect("let in")).await;
    assert_eq!(ana.established["user_id"], "7");
    for (room, answer) in [("sala_2", "subscribed"), ("user_7", "subscribed"), ("tema_1", "error")] {
        assert_eq!(ana.ask(json!({ "type": "subscribe", "room": room })).await["type"], answer, "{room}");
    }
    for (event, status) in [("user.x", 200), ("otra.x", 403)] {
        let body = json!({ "event": event, "payload": {} }).to_string();
        let request = app.request(reqwest::Method::POST, "/notify").bearer_auth(&minted).body(body);
        assert_eq!(request.send().await.expect("an answer").status(), status, "{event}");
    }
}

// `token mint --audiences` says whom the events may be for, and `token verify` tells
#[tokio::test]
async fn a_minted_token_may_be_limited_to_audiences() {
    let (code, minted) = token(&["mint", "--publish", "*", "--audiences", "room:tema_*,user:7"], &[]).await;
    assert_eq!(code, Some(0), "{minted}");
    let (_, said) = token(&["verify", &minted], &[]).await;
    assert!(said.contains("\npublishes  *\nonly for   room:tema_*, user:7\n"), "{said}");
    let app = guarded().await;
    for (room, status) in [("tema_1", 200), ("admin", 403)] {
        let body = json!({ "event": "e", "payload": {}, "target": { "rooms": [room] } }).to_string();
        let request = app.request(reqwest::Method::POST, "/notify").bearer_auth(&minted).body(body);
        assert_eq!(request.send().await.expect("an answer").status(), status, "{room}");
    }
}

// `token mint` asks for what the settings ask of a token, and gives none that would be refused
#[tokio::test]
async fn a_minted_token_is_one_that_the_settings_believe() {
    let settings = [("JWT_ISSUER", "https://exposia,other"), ("JWT_AUDIENCE", "notifications")];
    let (code, minted) = token(&["mint"], &settings).await;
    assert_eq!(code, Some(0), "{minted}");
    assert_eq!(token(&["verify", &minted], &settings).await.0, Some(0));
    let (code, said) = token(&["mint", "--aud", "somebody"], &settings).await;
    assert_eq!((code, said.as_str()), (Some(1), "error: the token is refused: its `aud` is not the one expected"));
    let output = run_to_end(&["token", "mint"], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("JWT_SECRET"), "{output:?}");
}

// `token verify` says who it is, what it may do and until when
#[tokio::test]
async fn a_token_is_described() {
    let exp = 4_102_444_800_u64;
    let cases = [
        (
            json!({ "sub": "7", "exp": exp }),
            ["jwt:7", "general, tema_*, user_7", "nothing", "no", "2100-01-01T00:00:00Z"],
        ),
        (
            json!({ "admin": true, "rooms": ["a", "b*"], "publish": ["user.*", "x"], "exp": exp }),
            ["jwt", "a, b*", "user.*, x", "yes", "2100-01-01T00:00:00Z"],
        ),
    ];
    let described = |[subject, rooms, publish, admin, until]: [&str; 5]| {
        format!(
            "subject    {subject}\nmay hear   {rooms}\npublishes  {publish}\nadmin      {admin}\nuntil      {until}"
        )
    };
    for (claims, expected) in cases {
        let (code, said) = token(&["verify", &mint(claims)], &[]).await;
        assert_eq!((code, said), (Some(0), described(expected)));
    }
    let settings = [("WS_TOKEN", "first,second")];
    let output = run_with_input(&["token", "verify", "-"], &settings, "second\n").await;
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.trim_end(), described(["token-2", "*", "*", "yes", "it is taken out of WS_TOKEN"]));
}

// `token verify` says why a token is refused, as the server would decide, and never the token
#[tokio::test]
async fn a_refused_token_is_told_why() {
    let good = mint(json!({ "sub": "7" }));
    let cases = [
        ("s3cr3t".to_owned(), "it is neither a known token nor a JWT with an algorithm that is supported"),
        (mint(json!({ "exp": 1_000_000_000 })), "it is expired"),
        (mint(json!({ "nbf": 4_102_444_800_u64 })), "it is not valid yet"),
        (mint(json!({ "rooms": "general" })), "its claim `rooms` must be a list of texts, such as [\"a.*\"]"),
        (mint(json!({ "sub": ["7"] })), "its claim `sub` must be a text or a number"),
        (mint(json!({ "rate": "fast" })), "its claim `rate` must be a rate such as \"100/s\""),
        (mint(json!({ "exp": null })), "its claim `exp` is missing, or is no number of seconds"),
        (format!("{}x{}", &good[..good.len() - 5], &good[good.len() - 4..]), "its signature is wrong"),
    ];
    for (refused, why) in cases {
        let (code, said) = token(&["verify", &refused], &[]).await;
        assert_eq!((code, said.as_str()), (Some(1), format!("error: the token is refused: {why}").as_str()));
    }
}
