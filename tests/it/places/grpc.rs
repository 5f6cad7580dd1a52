//! Strangers on the gRPC listener.

use std::{net::SocketAddr, time::Duration};

use exposia_notifications::wire::proto::v1::{Notification, PublishRequest, SubscribeRequest};
use tokio::{
    io::AsyncWriteExt,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};
use tonic::{Code, Streaming};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    ages::{finish, next, publishing},
    ends, few, is_counted, silent, sixteen,
};
use crate::{
    hostile_http2::{ACK, GOAWAY, PING, frame, open, read},
    support::{GrpcClient, TestApp, within},
};

/// Follows everything.
pub(super) async fn follow(grpc: &mut GrpcClient) -> Streaming<Notification> {
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    within("a stream", grpc.subscribe(everything)).await.expect("accepted").into_inner()
}

/// Asserts that the stream is open: what is published comes.
pub(super) async fn goes_on(app: &TestApp, stream: &mut Streaming<Notification>) {
    let marker = app.mark().await;
    let notification = within("a notification", stream.message()).await.expect("the stream is open");
    assert_eq!(notification.expect("the stream is open").sequence, marker);
}

async fn publish(grpc: &mut GrpcClient) {
    let request = PublishRequest { event: "e".into(), ..Default::default() };
    within("an answer", grpc.publish(request)).await.expect("accepted");
}

/// An HTTP/2 client without a token, which has asked a ping and has its answer.
async fn stranger(grpc: SocketAddr) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (mut reader, mut writer) = open(grpc).await;
    pings(&mut reader, &mut writer).await;
    (reader, writer)
}

async fn pings(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) {
    writer.write_all(&frame(PING, 0, 0, b"are you?")).await.expect("the connection is open");
    let answer = async {
        loop {
            let received = read(reader).await.expect("the connection is open");
            if (received.kind, received.flags) == (PING, ACK) {
                return;
            }
        }
    };
    within("the answer of a ping", answer).await;
}

// two hundred HTTP/2 clients without a token, and as many that say nothing, on sixty-four places: publishers get in at any
// time, and whoever is known keeps its connection
#[tokio::test]
async fn a_flood_of_strangers_keeps_no_publisher_out() {
    let app = TestApp::start_with(|config| few(config, 64)).await;
    let mut known = app.grpc().await;
    let mut following = follow(&mut known).await;
    let (mut strangers, mut flood) = (Vec::new(), Vec::new());
    for number in 0..200 {
        strangers.push(stranger(app.grpc_address()).await);
        flood.push(silent(app.grpc_address(), number).await);
        if number % 20 == 0 {
            publish(&mut app.grpc().await).await;
            let notification = within("a notification", following.message()).await.expect("the stream is open");
            assert!(notification.is_some());
        }
    }
    goes_on(&app, &mut following).await;
    publish(&mut known).await;
    is_counted(&app).await;
}

// the oldest goes first, and neither pings nor calls that are refused, nor those of the health, make anybody known
#[tokio::test]
async fn the_oldest_stranger_is_closed_first() {
    let app = TestApp::start_with(sixteen).await;
    let address = app.grpc_address();
    let mut pinging = stranger(address).await;
    let channel = app.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let checked = within("an answer", health.check(HealthCheckRequest::default())).await;
    checked.expect("anybody may ask");
    let mut without = app.grpc_with(None).await;
    let refused = within("an answer", without.publish(PublishRequest::default())).await.expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    // Health is watched on a connection of its own, whose end the stream tells.
    let mut watching = HealthClient::new(app.channel().await);
    let watched = within("a stream", watching.watch(HealthCheckRequest::default())).await;
    let mut watched = watched.expect("anybody may ask").into_inner();
    within("a status", watched.message()).await.expect("the stream is open");
    pings(&mut pinging.0, &mut pinging.1).await;

    let mut newcomers = vec![stranger(address).await];
    ends(&mut pinging.0).await;
    for _ in 0..3 {
        newcomers.push(stranger(address).await);
    }
    within("the end", watched.message()).await.expect_err("the connection was closed");
    newcomers.push(stranger(address).await);
    ends(&mut newcomers[0].0).await;
    for (reader, writer) in &mut newcomers[1..] {
        pings(reader, writer).await;
    }
}

// whoever published is known, and keeps its connection although it has no call in progress
#[tokio::test]
async fn whoever_published_keeps_its_connection() {
    let app = TestApp::start_with(sixteen).await;
    let (mut reader, mut writer) = publishing(app.grpc_address()).await;
    finish(&mut reader, &mut writer).await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(stranger(app.grpc_address()).await);
    }
    // Those that the flood was to close are closed.
    for (reader, _) in &mut strangers[..16] {
        ends(reader).await;
    }
    pings(&mut reader, &mut writer).await;
}

// when all places are taken, the client that made no call for longest goes for a newcomer, and is told; one with a stream stays
#[tokio::test]
async fn whoever_makes_no_call_gives_way() {
    let app = TestApp::start_with(sixteen).await;
    let mut following = follow(&mut app.grpc().await).await;
    let mut known = Vec::new();
    for _ in 0..15 {
        let (mut reader, mut writer) = publishing(app.grpc_address()).await;
        finish(&mut reader, &mut writer).await;
        within("a notification", following.message()).await.expect("the stream is open");
        known.push((reader, writer));
    }
    publish(&mut app.grpc().await).await;
    next(&mut known[0].0, GOAWAY).await;
    ends(&mut known[0].0).await;
    within("a notification", following.message()).await.expect("the stream is open");
    goes_on(&app, &mut following).await;
    for (reader, writer) in &mut known[1..] {
        pings(reader, writer).await;
    }
}

// a stranger has a time for its first call that is accepted, however lively it is; whoever made one is left alone
#[tokio::test]
async fn a_stranger_does_not_stay() {
    let app = TestApp::start_with(|config| config.listen.handshake_timeout = Duration::from_millis(100)).await;
    let mut following = follow(&mut app.grpc().await).await;
    let (mut reader, mut writer) = stranger(app.grpc_address()).await;
    let lively = async {
        let mut told = false;
        while let Ok(received) = read(&mut reader).await {
            told |= received.kind == GOAWAY;
            // Each answer is followed by the next ping.
            if writer.write_all(&frame(PING, 0, 0, b"are you?")).await.is_err() {
                break;
            }
        }
        told
    };
    assert!(within("the end", lively).await, "it was told");
    goes_on(&app, &mut following).await;
}
