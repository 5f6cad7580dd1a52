//! Caddy in front of both ports.

use std::{net::SocketAddr, time::Duration};

use exposia_notifications::{
    config::Config,
    wire::proto::v1::{
        PublishRequest, SubscribeRequest, Target, notification_service_client::NotificationServiceClient,
    },
};
use serde_json::json;
use tonic::Code;

use super::{
    Proxy, assert_refusals_are_read,
    grpc::{assert_refusals_are_read_over_grpc, publish},
    service, small_service,
    watched::{Side, Watched},
    while_it_drains, write,
};
use crate::support::{Client, TOKEN, TestApp, WithAny, within};

/// How long the deployment page has Caddy keep a connection, which by itself does so for two minutes.
const KEPT: &str = "keepalive 60s";

/// Caddy in front of `service`, an address with its scheme. `transport` stands in the block of this name. What Caddy does wrong
/// it says where it is to be debugged.
async fn caddy(service: &str, transport: &str) -> Proxy {
    Proxy::start("caddy", |folder, address| {
        let (ip, port) = (address.ip(), address.port());
        let text = format!(
            "{{\n debug\n admin off\n auto_https off\n servers {{\n protocols h1 h2 h2c\n }}\n }}\n\
             http://:{port} {{\n bind {ip}\n reverse_proxy {service} {{\n transport http {{\n {transport}\n }}\n }}\n }}\n"
        );
        let arguments = ["run", "--adapter", "caddyfile", "--config"].map(str::to_owned);
        [&arguments[..], &[write(folder, "Caddyfile", &text)]].concat()
    })
    .await
}

/// Caddy in front of the HTTP port.
async fn http(service: SocketAddr) -> Proxy {
    caddy(&format!("http://{service}"), KEPT).await
}

/// Caddy in front of the gRPC port, in plain text on both sides.
async fn grpc(service: SocketAddr) -> Proxy {
    caddy(&format!("h2c://{service}"), "").await
}

// Caddy makes no 502 of an answer that is ready before the body is there
#[tokio::test]
#[ignore = "needs caddy; scripts/test runs it"]
async fn an_early_answer_is_read_through_caddy() {
    let (app, small) = (service().await, small_service().await);
    assert_refusals_are_read(&http(app.http()).await).await;
    http(small.http()).await.assert_all("/notify", TOKEN, 413).await;
}

// the same over gRPC, for credential, right and rate
#[tokio::test]
#[ignore = "needs caddy; scripts/test runs it"]
async fn an_early_refusal_is_read_through_caddy() {
    let app = service().await;
    assert_refusals_are_read_over_grpc(&grpc(app.grpc_address()).await).await;
}

// the same while the service goes away
#[tokio::test]
#[ignore = "needs caddy; scripts/test runs it"]
async fn a_service_that_drains_is_read_through_caddy() {
    let app = service().await;
    let caddy = http(app.http()).await;
    while_it_drains(app, &caddy, async |caddy| caddy.assert_all("/notify", TOKEN, 503).await).await;
    let app = service().await;
    let caddy = grpc(app.grpc_address()).await;
    while_it_drains(app, &caddy, async |caddy| caddy.assert_all_over_grpc(TOKEN, Code::Unavailable).await).await;
}

// what is published through Caddy reaches who follows through Caddy, by WebSocket and over gRPC, at once
#[tokio::test]
#[ignore = "needs caddy; scripts/test runs it"]
async fn publishing_and_following_go_through_caddy() {
    let app = TestApp::start().await;
    let (web, grpc) = (http(app.http()).await, grpc(app.grpc_address()).await);
    let mut ana = Client::connect(web.address, "ana").await;
    let mut client = NotificationServiceClient::with_interceptor(grpc.channel().await, WithAny::token(TOKEN));
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut following = within("a stream", client.subscribe(everything)).await.expect("a stream").into_inner();
    for size in [0, 17 * 1024, 500_000] {
        let target = Some(Target { everyone: true, ..Default::default() });
        let request = PublishRequest { target, ..publish(size) };
        let sequence = within("an answer", client.publish(request)).await.expect("accepted").into_inner().sequence;
        let notification = within("a notification", following.message()).await.expect("the stream goes on");
        assert_eq!(notification.expect("the stream goes on").sequence, sequence, "{size}");
        assert_eq!(ana.next_seqs(1).await, [sequence], "{size}");
    }
    // The newer one takes the place of the older one, which is told so by the code.
    let mut newer = Client::connect(web.address, "ana").await;
    assert_eq!(ana.close_code().await, 4001);
    assert_eq!(newer.ask(json!({ "type": "ping" })).await["type"], "pong");
}

// told to keep a connection for less than the service does, Caddy is the first to hang up; by itself it would not be
#[tokio::test]
#[ignore = "needs caddy; scripts/test runs it"]
async fn a_connection_that_caddy_keeps_is_closed_by_caddy() {
    assert!(include_str!("../../../README.md").contains(KEPT) && Config::defaults().listen.idle_timeout.as_secs() > 60);
    let patient = TestApp::start().await;
    let impatient = TestApp::start_with(|config| config.listen.idle_timeout = Duration::from_millis(200)).await;
    for (app, transport, first) in [(&patient, "keepalive 200ms", Side::Proxy), (&impatient, "", Side::Service)] {
        let mut watched = Watched::before(app.http()).await;
        let caddy = caddy(&format!("http://{}", watched.address), transport).await;
        assert_eq!(caddy.statuses("/notify", TOKEN).await.last(), Some(&200));
        assert_eq!(watched.first_to_hang_up().await, first, "{transport}");
    }
}
