//! One clock for the whole service, followed forward and back: the tests hand it one and move it.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use exposia_notifications::{
    clock::{Clock, Manual},
    config::Config,
    wire::proto::v1::{RevokeUserRequest, SubscribeRequest},
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use super::support::{Client, TOKEN, TestApp, open_with, within};
use crate::gate::{SECRET, mint};

/// A clock that is years from that of the system: what asks that one is found out.
fn clock() -> Arc<Manual> {
    Arc::new(Manual::new(DateTime::from_timestamp(2_000_000_000, 0).expect("a time")))
}

/// A service by `clock` that knows tokens, and looks often whether they are over.
async fn guarded(clock: &Arc<Manual>, change: impl FnOnce(&mut Config)) -> TestApp {
    let guard = |config: &mut Config| {
        config.gate.jwt_secret = Some(SECRET.parse().expect("a secret"));
        config.egress.ping_interval = Duration::from_secs(1);
        change(config);
    };
    TestApp::start_by(Arc::clone(clock) as _, guard).await
}

/// The `event`s in the history.
async fn kept(app: &TestApp) -> Vec<String> {
    let history = app.get("/history").await.json();
    let events = history["history"].as_array().expect("a list").iter();
    events.map(|event| event["event"].as_str().expect("a text").to_owned()).collect()
}

async fn publish(app: &TestApp, event: &str, ttl: u64) {
    let body = json!({ "event": event, "payload": {}, "ttl": ttl }).to_string();
    assert_eq!(app.notify(body).await.status, 200);
}

#[tokio::test]
async fn a_time_to_live_ends_by_the_clock_that_began_it() {
    let clock = clock();
    let app = TestApp::start_by(Arc::clone(&clock) as _, |_| {}).await;
    let epoch = app.connect("ana").await.established["epoch"].as_str().expect("an epoch").to_owned();
    let replayed = async || app.connect(&format!("ana?since=0&epoch={epoch}")).await.established["replayed"].clone();
    publish(&app, "short", 60).await;
    publish(&app, "long", 7_200).await;
    assert_eq!(replayed().await, 2);
    clock.step(TimeDelta::hours(1));
    assert_eq!((replayed().await, kept(&app).await), (json!(1), vec!["long".to_owned()]));
    clock.step(TimeDelta::hours(-1));
    assert_eq!(replayed().await, 2, "the clock was wrong before, and is followed back");
    publish(&app, "later", 60).await;
    clock.step(TimeDelta::seconds(59));
    assert_eq!(kept(&app).await, ["short", "long", "later"]);
    clock.step(TimeDelta::seconds(1));
    assert_eq!(kept(&app).await, ["long"]);
}

#[tokio::test]
async fn whatever_says_what_the_time_is_says_that_of_the_clock() {
    let clock = clock();
    let app = TestApp::start_by(Arc::clone(&clock) as _, |_| {}).await;
    clock.step(TimeDelta::days(-400));
    let now = clock.wall();
    let says = |value: &Value| value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok()) == Some(now);
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    let joined = luz.next_of_type("user_joined").await;
    let pong = ana.ask(json!({ "type": "ping" })).await;
    let error = ana.ask(json!({ "type": "?" })).await;
    let published = app.publish("tema.nuevo", json!({})).await;
    let received = ana.next().await;
    let texts = [&ana.established, &joined, &pong, &error, &published, &received];
    let pages = [app.get("/").await.json(), app.get("/health").await.json()];
    for text in texts.into_iter().chain(&pages) {
        assert!(says(&text["timestamp"]), "{text}");
    }
    let stats = app.stats().await;
    assert!(says(&stats["clients"][0]["connected_at"]), "{stats}");
}

#[tokio::test]
async fn a_token_is_good_by_the_clock() {
    let clock = clock();
    let app = guarded(&clock, |config| config.gate.jwt_leeway = Duration::ZERO).await;
    let now = clock.wall().timestamp();
    let token = mint(json!({ "sub": "php", "publish": ["*"], "iat": now, "nbf": now + 60, "exp": now + 120 }));
    let published = async || {
        let body = json!({ "event": "e", "payload": {} }).to_string();
        app.request(Method::POST, "/notify").bearer_auth(&token).body(body).send().await.expect("an answer").status()
    };
    // Forward, and back again, over both its ends.
    for (step, status) in [(0, 401), (60, 200), (60, 200), (1, 401), (-1, 200), (-61, 401), (1, 200)] {
        clock.step(TimeDelta::seconds(step));
        assert_eq!(published().await, status, "at {} s", clock.wall().timestamp() - now);
    }
}

#[tokio::test]
async fn a_token_on_an_open_connection_ends_by_the_clock() {
    let clock = clock();
    let app = guarded(&clock, |config| config.egress.token_grace = Duration::from_secs(3_600)).await;
    let now = clock.wall().timestamp();
    let token = mint(json!({ "sub": "ana", "iat": now, "exp": now + 3_600 }));
    let headers = [("authorization", format!("Bearer {token}"))];
    let mut ana = Client::over(open_with(app.http(), "ana", &headers).await.expect("let in")).await;
    let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
    let mut stream = app.grpc_with(Some(&token)).await.subscribe(request).await.expect("let in").into_inner();

    clock.step(TimeDelta::hours(1));
    ana.next_of_type("token_expired").await;
    // The stream looks again now and then, and before each notification.
    app.mark().await;
    let ended = within("the end of the stream", stream.message()).await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated);
    // Back again, the token never was over; and the next time the client has its whole time to send another.
    clock.step(TimeDelta::hours(-1));
    ana.await_pings(2).await;
    clock.step(TimeDelta::hours(1));
    ana.next_of_type("token_expired").await;
    clock.step(TimeDelta::hours(2));
    let refused = open_with(app.http(), "luz", &headers).await.expect_err("over for good");
    assert_eq!(refused.status(), 401);
}

/// Whether the service believes `token`.
async fn believed(app: &TestApp, token: &str) -> bool {
    let body = json!({ "event": "e", "payload": {} }).to_string();
    let answer = app.request(Method::POST, "/notify").bearer_auth(token).body(body).send().await.expect("an answer");
    answer.status() == 200
}

#[tokio::test]
async fn a_revocation_holds_from_when_it_was_said_however_wrong_the_clock_was_then() {
    let clock = clock();
    let app = guarded(&clock, |_| {}).await;
    let right = clock.wall().timestamp();
    let issued = |user: &str, at: i64| {
        mint(json!({ "sub": user, "publish": ["*"], "iat": right + at, "exp": right + 10_000_000 }))
    };
    for (user, wrong_by) in [("ahead", TimeDelta::days(30)), ("behind", TimeDelta::days(-30))] {
        clock.step(wrong_by);
        let request = RevokeUserRequest { user_id: user.to_owned(), ..Default::default() };
        app.grpc_with(Some(TOKEN)).await.revoke_user(request).await.expect("done");
        // Time goes by in which the clock is still wrong.
        clock.advance(Duration::from_secs(60));
        clock.step(-wrong_by);
    }
    // The one was revoked at 0, the other at 60 seconds by a right clock; now it shows 120.
    for (user, at, good) in [("ahead", 0, false), ("ahead", 1, true), ("behind", 60, false), ("behind", 61, true)] {
        assert_eq!(believed(&app, &issued(user, at)).await, good, "{user}, issued at {at}");
    }
}

#[tokio::test]
async fn a_revocation_ends_what_is_open_though_the_clock_is_slow() {
    let clock = clock();
    let app = guarded(&clock, |_| {}).await;
    let right = clock.wall().timestamp();
    let token = mint(json!({ "sub": "ana", "iat": right, "exp": right + 10_000_000 }));
    let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
    let mut stream = app.grpc_with(Some(&token)).await.subscribe(request).await.expect("let in").into_inner();
    clock.step(TimeDelta::days(-30));
    clock.advance(Duration::from_secs(1));
    let request = RevokeUserRequest { user_id: "ana".to_owned(), ..Default::default() };
    app.grpc_with(Some(TOKEN)).await.revoke_user(request).await.expect("done");
    let ended = within("the end of the stream", stream.message()).await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated);
}
