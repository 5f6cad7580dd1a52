//! Whose a client id is, and which dial of a client holds it.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use exposia_notifications::{
    clock::Manual,
    wire::proto::v1::{DisconnectRequest, RevokeUserRequest},
};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use tokio_tungstenite::tungstenite::Message;

use super::{guarded, mint};
use crate::support::{Answer, Client, Socket, TOKEN, TestApp, eventually, open, open_with, refusal, within};

fn token(user: &str) -> String {
    mint(json!({ "sub": user }))
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

async fn connect(app: &TestApp, address: &str, token: &str) -> Client {
    Client::over(open_with(app.http(), address, &bearer(token)).await.expect("let in")).await
}

/// The status of a handshake; a connection that comes of it is closed.
async fn status(app: &TestApp, address: &str, token: &str) -> u16 {
    match open_with(app.http(), address, &bearer(token)).await {
        Ok(socket) => {
            Client::over(socket).await.close().await;
            101
        }
        Err(response) => response.status().as_u16(),
    }
}

/// What a connection is told first: its type, or the code that it is closed with.
async fn first_word(socket: &mut Socket) -> Value {
    loop {
        match within("a message", socket.next()).await.expect("it is open").expect("a frame") {
            Message::Text(text) => return serde_json::from_str::<Value>(&text).expect("JSON")["type"].clone(),
            Message::Close(frame) => return json!(u16::from(frame.expect("a code").code)),
            _ => {}
        }
    }
}

// what every member of a room is told is no right to throw its sender out: `sub=mallory` opens the client id of ana
#[tokio::test]
async fn a_client_id_that_another_user_holds_is_refused_and_its_holder_hears_nothing() {
    let app = guarded().await;
    let (ana, mallory) = (token("ana"), token("mallory"));
    let mut witness = connect(&app, "witness", &token("luz")).await;
    let mut holder = connect(&app, "ana-tab-1", &ana).await;
    assert_eq!(witness.next().await["type"], "user_joined");
    for address in ["ana-tab-1", "ana-tab-1?attempt=9007199254740991", "ana-tab-1?room=tema_7"] {
        let response = open_with(app.http(), address, &bearer(&mallory)).await.expect_err("refused");
        assert_eq!(response.status(), 409);
        let body: Value = serde_json::from_slice(response.body().as_deref().expect("a body")).expect("JSON");
        let detail = body["detail"].as_str().expect("a sentence");
        assert!(detail.contains("ana-tab-1"), "{detail}");
    }
    let marker = app.mark().await;
    for client in [&mut witness, &mut holder] {
        client.expect_nothing_before(marker).await;
    }
    let stats = Answer::to(app.request(Method::GET, "/stats").bearer_auth(TOKEN)).await.json();
    assert_eq!((&stats["total_connections"], &stats["refusals"]["client_id"]), (&json!(2), &json!(3)));

    // The same user has it as before.
    let mut again = connect(&app, "ana-tab-1", &ana).await;
    assert_eq!(holder.close_code().await, 4001);
    for kind in ["user_left", "user_joined"] {
        assert_eq!(witness.next().await["type"], kind);
    }
    again.expect_nothing_before(app.mark().await).await;
}

// `sub` decides; connections without one count as one user by their `user_id`, and as one more without that
#[tokio::test]
async fn whose_a_client_id_is_follows_from_the_token() {
    let app = guarded().await;
    let (ana, also_ana) = (token("ana"), mint(json!({ "sub": "ana", "rooms": ["*"] })));
    let nameless = mint(json!({ "rooms": ["*"] }));
    let (ana, also_ana, nameless) = (ana.as_str(), also_ana.as_str(), nameless.as_str());
    // Who holds it, who comes, and what becomes of the one who comes.
    for (number, (holder, comes, outcome)) in [
        ((TOKEN, "&user_id=7"), (TOKEN, "&user_id=7"), 101),
        ((TOKEN, "&user_id=7"), (TOKEN, "&user_id=8"), 409),
        ((TOKEN, "&user_id=7"), (TOKEN, ""), 409),
        ((TOKEN, ""), (TOKEN, ""), 101),
        ((TOKEN, ""), (nameless, ""), 101),
        ((TOKEN, "&user_id=7"), (nameless, "&user_id=7"), 101),
        ((nameless, "&user_id=ana"), (ana, ""), 409),
        ((ana, ""), (nameless, "&user_id=ana"), 409),
        ((ana, ""), (TOKEN, "&user_id=ana"), 409),
        ((ana, ""), (ana, "&user_id=ana&room=tema_7"), 101),
        // Another token of the same user.
        ((ana, ""), (also_ana, ""), 101),
    ]
    .into_iter()
    .enumerate()
    {
        let mut held = connect(&app, &format!("tab-{number}?{}", holder.1), holder.0).await;
        assert_eq!(status(&app, &format!("tab-{number}?{}", comes.1), comes.0).await, outcome, "case {number}");
        match outcome {
            101 => assert_eq!(held.close_code().await, 4001, "case {number}"),
            _ => held.settle().await,
        }
    }
}

#[tokio::test]
async fn where_subscribing_is_open_whoever_knows_a_client_id_may_replace_it() {
    let app = TestApp::start().await;
    let mut first = app.connect("ana?user_id=7").await;
    let mut second = app.connect("ana?user_id=8").await;
    assert_eq!(first.close_code().await, 4001);
    second.expect_nothing_before(app.mark().await).await;
}

// whoever is let in holds the id from then on, though its handshake is not answered yet
#[tokio::test(flavor = "multi_thread")]
async fn of_two_users_who_come_at_the_same_time_one_gets_the_client_id() {
    let app = guarded().await;
    let mut dialling = JoinSet::new();
    for user in ["ana", "luis"].repeat(10) {
        let (http, headers) = (app.http(), bearer(&token(user)));
        dialling.spawn(async move { (user, open_with(http, "tab", &headers).await) });
    }
    let outcomes = dialling.join_all().await;
    let let_in: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(user, _)| *user).collect();
    assert!(!let_in.is_empty() && let_in.iter().all(|user| *user == let_in[0]), "{let_in:?}");
    let refused = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
    assert!(refused.into_iter().all(|response| response.status() == 409));
}

// a client that goes away in the middle of its handshake keeps the id from nobody
#[tokio::test]
async fn a_handshake_that_is_abandoned_lets_go_of_its_client_id() {
    let app = guarded().await;
    let request = format!(
        "GET /ws/tab?token={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        token("ana")
    );
    for _ in 0..20 {
        let mut stream = TcpStream::connect(app.http()).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("a request");
    }
    let luis = token("luis");
    eventually("it is free", async || (Box::pin(status(&app, "tab", &luis)).await == 101).then_some(())).await;
}

// a connection that is closing holds its id no longer, however long its client takes to hang up
#[tokio::test]
async fn a_client_id_is_free_as_soon_as_its_connection_closes() {
    let app = guarded().await;
    let mut admin = app.grpc_with(Some(TOKEN)).await;
    let (ana, luis) = (token("ana"), token("luis"));
    let mut first = connect(&app, "tab", &ana).await;
    assert_eq!(status(&app, "tab", &luis).await, 409);
    let request = DisconnectRequest { client_id: "tab".to_owned(), ..Default::default() };
    assert_eq!(admin.disconnect(request).await.expect("done").into_inner().closed, 1);
    let mut second = connect(&app, "tab", &luis).await;
    assert_eq!((first.close_code().await, status(&app, "tab", &ana).await), (4003, 409));
    let request = RevokeUserRequest { user_id: "luis".to_owned(), ..Default::default() };
    assert_eq!(admin.revoke_user(request).await.expect("done").into_inner().closed, 1);
    assert_eq!((second.close_code().await, status(&app, "tab", &ana).await), (4003, 101));
}

/// Who lives on when a connection of the attempt `held` has its id for `age`, and one of the attempt `comes` arrives.
async fn survivor(app: &TestApp, clock: &Manual, id: &str, (held, comes): (&str, &str), age: Duration) -> &'static str {
    let mut holder = app.connect(&format!("{id}?room={id}&attempt={held}")).await;
    clock.advance(age);
    let mut comer = open(app.http(), &format!("{id}?room={id}&attempt={comes}")).await.expect("a handshake");
    if first_word(&mut comer).await == 4001 {
        holder.expect_nothing_before(app.mark().await).await;
        return "holder";
    }
    assert_eq!(holder.close_code().await, 4001);
    let mut comer = Client::after_first(comer);
    comer.expect_nothing_before(app.mark().await).await;
    "comer"
}

#[tokio::test]
async fn only_a_young_connection_keeps_its_client_id_from_an_earlier_dial() {
    let clock = Arc::new(Manual::new(DateTime::<Utc>::UNIX_EPOCH));
    let app = TestApp::start_by(Arc::clone(&clock) as _, |_| {}).await;
    let seconds = Duration::from_secs_f64;
    for (number, (attempts, age, lives)) in [
        (("2", "1"), 0.0, "holder"),
        (("2", "1"), 9.9, "holder"),
        (("2", "1"), 10.0, "comer"),
        (("1", "2"), 0.0, "comer"),
        (("2", "2"), 0.0, "comer"),
        (("0", "0"), 0.0, "comer"),
        (("1", "0"), 0.0, "holder"),
        (("9007199254740991", "9007199254740990"), 0.0, "holder"),
        (("2", ""), 0.0, "comer"),
        (("", "1"), 0.0, "comer"),
        (("", ""), 0.0, "comer"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("tab-{number}");
        assert_eq!(survivor(&app, &clock, &id, attempts, seconds(age)).await, lives, "{attempts:?} after {age} s");
    }
}

// React's StrictMode mounts twice: the first dial is abandoned, and its handshake arrives second
#[tokio::test]
async fn an_abandoned_dial_that_arrives_late_never_replaces_the_live_one() {
    let app = TestApp::start().await;
    for number in 0..50 {
        let address = |attempt| format!("tab-{number}?room=tab-{number}&attempt={attempt}");
        let mut witness = app.connect(&format!("witness-{number}?room=tab-{number}")).await;
        let mut live = app.connect(&address(2)).await;
        assert_eq!(witness.next().await["type"], "user_joined");
        let mut abandoned = open(app.http(), &address(1)).await.expect("a handshake");
        assert_eq!(first_word(&mut abandoned).await, 4001, "before anything else");
        drop(abandoned);
        let marker = app.mark().await;
        for client in [&mut witness, &mut live] {
            client.expect_nothing_before(marker).await;
        }
    }
}

// the same when nobody knows which of them comes first
#[tokio::test(flavor = "multi_thread")]
async fn of_two_dials_at_the_same_time_the_later_one_lives() {
    let app = TestApp::start().await;
    for number in 0..50 {
        let address = |attempt| format!("tab-{number}?room=tab-{number}&attempt={attempt}");
        let (first, second) = (address(1), address(2));
        let (abandoned, live) = tokio::join!(open(app.http(), &first), open(app.http(), &second));
        let (mut abandoned, mut live) = (abandoned.expect("a handshake"), live.expect("a handshake"));
        assert_eq!(first_word(&mut live).await, "connection_established");
        let mut word = first_word(&mut abandoned).await;
        if word != 4001 {
            word = first_word(&mut abandoned).await;
        }
        assert_eq!(word, 4001);
        Client::after_first(live).expect_nothing_before(app.mark().await).await;
    }
}

#[tokio::test]
async fn an_attempt_is_a_whole_number_up_to_2_to_the_53() {
    let app = TestApp::start().await;
    for good in ["", "0", "1764474062123", "9007199254740991"] {
        app.connect(&format!("ana?attempt={good}")).await;
    }
    for bad in ["-1", "%2B1", "1.5", "1e3", "9007199254740992", "18446744073709551616", "x", "%20"] {
        let response = refusal(app.http(), &format!("ana?attempt={bad}")).await;
        assert_eq!(response.status(), 422, "{bad}");
        let body: Value = serde_json::from_slice(response.body().as_deref().expect("a body")).expect("JSON");
        assert_eq!(body["detail"][0]["loc"], json!(["query", "attempt"]), "{bad}");
    }
}
