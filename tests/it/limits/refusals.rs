//! What is said of refusals, and how often.

use exposia_notifications::wire::proto::v1::{GetStatsRequest, PublishRequest};
use reqwest::Method;
use serde_json::json;

use crate::{
    gate::{guarded, mint},
    support::{Answer, Client, InHand, Server, TOKEN, eventually, open_with},
};

/// How many requests a flood has here.
const FLOOD: usize = 2_000;

/// How many lines somebody may have to read of it.
const FEW: usize = 20;

/// The token that nobody may find in a log.
const WRONG: &str = "a-t0ken-that-is-wrong";

// every refusal is counted by its reason, on each transport and inside of streams and connections
#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let app = guarded().await;
    let bearer = |token: String| [("authorization", format!("Bearer {token}"))];
    app.get("/stats").await.refused(401);
    app.grpc_with(None).await.get_stats(GetStatsRequest::default()).await.expect_err("refused");
    open_with(app.http(), "ana", &bearer(WRONG.to_owned())).await.expect_err("refused");
    app.grpc_with(Some(WRONG)).await.get_stats(GetStatsRequest::default()).await.expect_err("refused");

    let php = mint(json!({ "sub": "php", "publish": ["presentacion.*"] }));
    let event = |name: &str| PublishRequest { event: name.to_owned(), ..Default::default() };
    let requests = tokio_stream::iter(["otra.x", "presentacion.x", "otra.y"].map(event));
    let mut client = app.grpc_with(Some(&php)).await;
    let mut results = client.publish_stream(requests).await.expect("a stream").into_inner();
    while results.message().await.expect("a result").is_some() {}
    let socket = open_with(app.http(), "ana", &bearer(mint(json!({ "sub": "ana" })))).await.expect("let in");
    let mut ana = Client::over(socket).await;
    assert_eq!(ana.ask(json!({ "type": "join_room", "room": "admin" })).await["type"], "error");
    ana.settle().await;

    let stats = Answer::to(app.request(Method::GET, "/stats").bearer_auth(TOKEN)).await.json();
    let refusals = stats["refusals"].as_object().expect("figures").clone();
    let refused: Vec<_> = refusals.iter().filter(|(_, count)| **count != 0).collect();
    assert_eq!(json!(refused), json!([["bad_token", 2], ["forbidden", 3], ["no_token", 2]]));
    let stats =
        app.grpc_with(Some(TOKEN)).await.get_stats(GetStatsRequest::default()).await.expect("figures").into_inner();
    assert_eq!(json!(stats.refusals), json!(refusals));
}

// a refusal is logged with its reason, address and credential; of a flood some are, and the number of the others; and
// nothing that was sent
#[tokio::test]
async fn refusals_are_logged_at_a_bearable_rate() {
    let mut server = Server::start(&[("LOG_FORMAT", "json"), ("WS_TOKEN", "t0ken-of-pr0duct10n")]).await;
    let notify = |token: &str| {
        let request = server.request(Method::POST, "/notify").bearer_auth(token);
        Answer::to(request.body(r#"{"event":"e","payload":{"secret":"c0ntent"}}"#))
    };
    const SENT: usize = 300;
    for _ in 0..SENT {
        notify(WRONG).await.refused(401);
    }
    let line = server.line_with("bad_token").await;
    for part in ["refused", "127.0.0.1", "neither a known token nor a JWT"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    let logged = log.lines().filter(|line| line.contains("bad_token"));
    let (summaries, single): (Vec<_>, Vec<_>) = logged.partition(|line| line.contains("left_out"));
    let left_out = |line: &str| -> usize {
        let (_, number) = line.split_once("\"left_out\":").expect("a number");
        number.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
    };
    assert_eq!(single.len() + summaries.iter().map(|line| left_out(line)).sum::<usize>(), SENT, "{log}");
    assert!(single.len() < SENT, "{log}");
    for secret in [WRONG, "t0ken-of-pr0duct10n", "c0ntent"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// What the log says of `reason`: the number of lines, and of refusals in them.
fn told(log: &str, reason: &str) -> (usize, usize) {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(&format!("\"reason\":\"{reason}\""))).collect();
    let number = |line: &&str| -> usize {
        let Some((_, number)) = line.split_once("\"left_out\":") else { return 1 };
        number.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).expect("a number")
    };
    (lines.len(), lines.iter().map(number).sum())
}

// while it drains, thousands of publishes and handshakes are refused in a handful of lines that have all of them
#[tokio::test]
async fn what_is_refused_while_draining_is_told_in_a_few_lines() {
    let mut server = Server::start(&[("LOG_FORMAT", "json"), ("SHUTDOWN_GRACE", "1h"), ("BODY_TIMEOUT", "1h")]).await;
    let in_hand = InHand::begin(server.http()).await;
    server.signal("TERM").await;
    server.line_with("shutting down").await;
    let body = r#"{"event":"e","payload":{}}"#;
    let client = reqwest::Client::new();
    let notify = client.post(format!("http://{}/notify", server.http())).bearer_auth(TOKEN).body(body);
    // The signal was heard, and the drain begins.
    let is_refused = async || (Answer::to(notify.try_clone().expect("a text")).await.status == 503).then_some(());
    eventually("draining", is_refused).await;
    for _ in 1..FLOOD {
        Answer::to(notify.try_clone().expect("a text")).await.refused(503);
    }
    for _ in 0..FLOOD / 10 {
        open_with(server.http(), "ana", &[]).await.expect_err("refused");
    }
    in_hand.finish().await;
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.lines().count() < FEW, "{log}");
    assert_eq!(told(&log, "draining").1, FLOOD + FLOOD / 10, "{log}");
}
