//! Tokens that end: by their time, and by force.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use exposia_notifications::{
    clock::{Clock, Manual},
    gate::SubscriberAuth,
    wire::proto::v1::{DisconnectRequest, RevokeUserRequest, SubscribeRequest},
};
use serde_json::{Value, json};
use tonic::Code;

use super::{SECRET, ask_late, guarded, guarded_by, guarded_with, mint};
use crate::support::{Client, TOKEN, TestApp, open_with, within};

/// A token of `user` that is over already, and believed for the sake of clocks that differ.
fn expired(user: &str) -> String {
    mint(json!({ "sub": user, "exp": chrono::Utc::now().timestamp() - 1 }))
}

async fn connect(app: &TestApp, client: &str, token: &str) -> Client {
    let headers = [("authorization", format!("Bearer {token}"))];
    Client::over(open_with(app.http(), client, &headers).await.expect("let in")).await
}

/// A server that looks at its connections often.
async fn vigilant(grace: Duration) -> TestApp {
    guarded_with(|config| {
        config.egress.ping_interval = Duration::from_secs(1);
        config.egress.token_grace = grace;
    })
    .await
}

// when the token expires the connection gets its time to send another, then is closed with 4003
#[tokio::test]
async fn a_token_that_expires_is_told_and_then_the_connection_is_closed() {
    let app = vigilant(Duration::ZERO).await;
    let mut ana = connect(&app, "ana", &expired("ana")).await;
    assert_eq!(ana.next_of_type("token_expired").await["grace_seconds"], 0);
    assert_eq!(ana.close_code().await, 4003);
}

// `{"type":"refresh","token"}` keeps the connection, for the same user and the rooms it is in
#[tokio::test]
async fn a_fresh_token_keeps_the_connection() {
    let app = vigilant(Duration::from_secs(30)).await;
    let mut ana = connect(&app, "ana?rooms=tema_7", &expired("ana")).await;
    assert_eq!(ana.next_of_type("token_expired").await["grace_seconds"], 30);
    let refresh = |claims: Value| json!({ "type": "refresh", "token": mint(claims) });
    for useless in [
        json!({ "sub": "luis" }),
        json!({}),
        // Good for everything, and of nobody: its client id would be no longer hers.
        json!({ "rooms": ["*"] }),
        json!({ "sub": "ana", "rooms": ["general"] }),
        json!({ "sub": "ana", "exp": 1_000_000_000 }),
    ] {
        assert_eq!(ana.ask(refresh(useless.clone())).await["type"], "error", "{useless}");
    }
    assert_eq!(ana.ask(json!({ "type": "refresh" })).await["type"], "error");
    let exp = chrono::Utc::now().timestamp() + 600;
    let answer = ana.ask(refresh(json!({ "sub": "ana", "rooms": ["general", "tema_7"], "exp": exp }))).await;
    assert_eq!((&answer["type"], &answer["expires_at"]), (&json!("token_refreshed"), &json!(exp)));
    // The new claim counts from now on, and nothing more is said of the old token.
    assert_eq!(ana.ask(json!({ "type": "subscribe", "room": "tema_8" })).await["type"], "error");
    ana.await_pings(2).await;
    let marker = app.mark().await;
    ana.expect_nothing_before(marker).await;
    connect(&app, "ana", &mint(json!({ "sub": "ana" }))).await;
    assert_eq!(ana.close_code().await, 4001, "she replaces herself");
}

// where subscribing is open nobody owns a client id, and a token may come later
#[tokio::test]
async fn where_subscribing_is_open_a_connection_goes_on_under_a_token() {
    let app = TestApp::start_with(|config| {
        config.gate.jwt_secret = Some(SECRET.parse().expect("a secret"));
        config.gate.subscriber_auth = Some(SubscriberAuth::Open);
    })
    .await;
    let mut ana = app.connect("ana?user_id=ana").await;
    let token = mint(json!({ "sub": "ana" }));
    assert_eq!(ana.ask(json!({ "type": "refresh", "token": token })).await["type"], "token_refreshed");
}

// a token that is over opens nothing new, not even before anybody looked; what was open goes on, and a fresh token ends it
#[tokio::test]
async fn after_its_token_expired_a_connection_goes_on_with_what_was_open() {
    let clock = Arc::new(Manual::new(Utc::now()));
    let app = guarded_by(Arc::clone(&clock) as _, |_| {}).await;
    let mut luz = connect(&app, "luz?room=tema_7", TOKEN).await;
    let mut ana = connect(&app, "ana?rooms=tema_7", &mint(json!({ "sub": "ana" }))).await;
    luz.next_of_type("user_joined").await;
    clock.step(TimeDelta::hours(2));
    let moves = ["tema_8", "tema_7", "general"]
        .into_iter()
        .flat_map(|room| ["subscribe", "join_room"].map(|kind| json!({ "type": kind, "room": room })));
    for message in moves {
        let answer = ask_late(&mut ana, message.clone()).await;
        let told = (&answer["type"], &answer["message"]);
        assert_eq!(told, (&json!("error"), &json!("Tu sesión ha caducado; renueva el token.")), "{message}");
    }
    // What it would have entered, it does not hear; what it was in, it does, and may talk there.
    app.publish_to(json!({ "rooms": ["tema_8"] }), "e", json!({})).await;
    let place = app.publish_to(json!({ "rooms": ["tema_7"] }), "e", json!({})).await["sequence"].clone();
    assert_eq!(ana.next_of_type("system_notification").await["seq"], place);
    ana.send(json!({ "type": "chat_message", "message": "hola", "room": "tema_7" })).await;
    assert_eq!(luz.next_of_type("chat_message").await["client_id"], "ana");

    // A token that is over, and believed for the sake of clocks that differ, changes nothing.
    let over = mint(json!({ "sub": "ana", "exp": clock.wall().timestamp() - 1 }));
    assert_eq!(ask_late(&mut ana, json!({ "type": "refresh", "token": over })).await["type"], "error");
    let fresh = mint(json!({ "sub": "ana", "exp": clock.wall().timestamp() + 600 }));
    assert_eq!(ask_late(&mut ana, json!({ "type": "refresh", "token": fresh })).await["type"], "token_refreshed");
    assert_eq!(ask_late(&mut ana, json!({ "type": "subscribe", "room": "tema_8" })).await["type"], "subscribed");
}

// over gRPC such a token gets a stream that ends before its first notification
#[tokio::test]
async fn a_stream_under_a_token_that_is_over_gives_nothing() {
    let app = guarded().await;
    let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
    let mut stream =
        app.grpc_with(Some(&expired("ana"))).await.subscribe(request).await.expect("believed").into_inner();
    app.mark().await;
    let ended = within("the end of the stream", stream.message()).await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated);
}

// a revoked user is closed at once, its tokens are worth nothing, and nobody else notices
#[tokio::test]
async fn a_revoked_user_is_out() {
    let app = guarded().await;
    let (token, other) = (mint(json!({ "sub": "ana" })), mint(json!({ "sub": "luis" })));
    let (mut first, mut second) = (connect(&app, "ana1", &token).await, connect(&app, "ana2", &token).await);
    let mut luis = connect(&app, "luis", &other).await;
    let mut streams = Vec::new();
    for token in [&token, &other] {
        let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
        let stream = app.grpc_with(Some(token)).await.subscribe(request).await.expect("let in");
        streams.push(stream.into_inner());
    }
    let request = RevokeUserRequest { user_id: "ana".to_owned(), ..Default::default() };
    for (caller, code) in [(&other, Code::PermissionDenied), (&"wrong".to_owned(), Code::Unauthenticated)] {
        let refused = app.grpc_with(Some(caller)).await.revoke_user(request.clone()).await.expect_err("refused");
        assert_eq!(refused.code(), code);
    }
    let mut admin = app.grpc_with(Some(TOKEN)).await;
    assert_eq!(admin.revoke_user(request).await.expect("done").into_inner().closed, 2);
    assert_eq!((first.close_code().await, second.close_code().await), (4003, 4003));
    let ended = within("the end of the stream", streams[0].message()).await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated);
    let headers = [("authorization", format!("Bearer {token}"))];
    assert_eq!(open_with(app.http(), "ana", &headers).await.expect_err("revoked").status(), 401);
    let later = mint(json!({ "sub": "ana", "iat": chrono::Utc::now().timestamp() + 1 }));
    connect(&app, "ana", &later).await;

    let marker = app.mark().await;
    assert_eq!(luis.next_of_type("system_notification").await["seq"], marker);
    let heard = within("a notification", streams[1].message()).await.expect("goes on").expect("a notification");
    assert_eq!(heard.sequence, marker);
}

// a single token is revoked by its `jti`
#[tokio::test]
async fn a_revoked_token_is_out_and_the_users_others_are_not() {
    let app = guarded().await;
    let lost = mint(json!({ "sub": "ana", "jti": "lost" }));
    let kept = mint(json!({ "sub": "ana", "jti": "kept" }));
    let (mut phone, mut laptop) = (connect(&app, "phone", &lost).await, connect(&app, "laptop", &kept).await);
    let request = RevokeUserRequest { token_id: "lost".to_owned(), ..Default::default() };
    let mut admin = app.grpc_with(Some(TOKEN)).await;
    assert_eq!(admin.revoke_user(request).await.expect("done").into_inner().closed, 1);
    assert_eq!(phone.close_code().await, 4003);
    laptop.settle().await;
    let nobody = admin.revoke_user(RevokeUserRequest::default()).await.expect_err("whom");
    assert_eq!(nobody.code(), Code::InvalidArgument);
}

// `Disconnect` closes at once; whoever it was may come back
#[tokio::test]
async fn a_disconnected_client_may_come_back() {
    let app = guarded().await;
    let token = mint(json!({ "sub": "ana" }));
    let mut admin = app.grpc_with(Some(TOKEN)).await;
    for (client_id, user_id) in [("phone", ""), ("", "ana")] {
        let mut phone = connect(&app, "phone", &token).await;
        let request = DisconnectRequest { client_id: client_id.to_owned(), user_id: user_id.to_owned() };
        assert_eq!(admin.disconnect(request).await.expect("done").into_inner().closed, 1);
        assert_eq!(phone.close_code().await, 4003);
    }
    let token = mint(json!({ "sub": "php", "publish": ["*"] }));
    let request = DisconnectRequest { client_id: "phone".to_owned(), ..Default::default() };
    let refused = app.grpc_with(Some(&token)).await.disconnect(request).await.expect_err("no admin");
    assert_eq!(refused.message(), "jwt:php lacks the claim `admin`");
}

// a stream over gRPC ends with its token
#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let app = guarded().await;
    let request = SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() };
    let mut client = app.grpc_with(Some(&expired("ana"))).await;
    let mut stream = client.subscribe(request).await.expect("let in").into_inner();
    let ended = within("the end of the stream", stream.message()).await.expect_err("ended");
    assert_eq!(ended.code(), Code::Unauthenticated);
}
