//! How many subscriptions an address and a user may have open.

use std::num::NonZeroUsize;

use exposia_notifications::{config::Config, wire::proto::v1::SubscribeRequest};
use serde_json::json;
use tonic::Code;

use crate::{
    gate::{guarded_with, mint},
    support::{Client, TestApp, eventually, open, open_with, refusal},
};

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

fn general() -> SubscribeRequest {
    SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() }
}

// above the limit of an address a handshake gets 429 with `Retry-After`, until another connection ends
#[tokio::test]
async fn an_address_has_so_many_connections() {
    let app = TestApp::start_with(|config| config.gate.max_connections_per_address = Some(TWO)).await;
    let ana = app.connect("ana").await;
    let luz = app.connect("luz").await;
    let refused = refusal(app.http(), "eva").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().expect("a value")));
    let status = app.grpc().await.subscribe(general()).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    ana.close().await;
    drop(eventually("there is a place", async || open(app.http(), "eva").await.ok()).await);
    luz.close().await;
}

// a user's WebSockets and streams count together; other users, and who is nobody in particular, have their own
#[tokio::test]
async fn a_user_has_so_many_connections() {
    let limit = |config: &mut Config| config.gate.max_connections_per_user = TWO;
    let app = guarded_with(limit).await;
    let bearer = |user: &str| [("authorization", format!("Bearer {}", mint(json!({ "sub": user }))))];
    let ana = bearer("ana");
    let phone = Client::over(open_with(app.http(), "phone", &ana).await.expect("let in")).await;
    let token = mint(json!({ "sub": "ana" }));
    let stream = app.grpc_with(Some(&token)).await.subscribe(general()).await.expect("let in");
    assert_eq!(open_with(app.http(), "laptop", &ana).await.expect_err("refused").status(), 429);
    let status = app.grpc_with(Some(&token)).await.subscribe(general()).await.expect_err("refused");
    assert_eq!(status.message(), "this user has 2 connections already; try again later");
    Client::over(open_with(app.http(), "luis", &bearer("luis")).await.expect("let in")).await;
    drop(stream);
    phone.close().await;
    let mut open = Vec::new();
    for client in ["laptop", "tablet"] {
        let again = async || open_with(app.http(), client, &ana).await.ok();
        open.push(Box::pin(eventually("there is a place", again)).await);
    }
}
