//! Clients that mean no good, with TLS.

use std::time::Duration;

use exposia_notifications::wire::proto::v1::{
    GetHistoryRequest, notification_service_client::NotificationServiceClient,
};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use super::{
    Encrypted, HTTP_1, HTTP_2, TlsApp, TlsClient, connect,
    grpc::{channel, trusting, with_token},
    request,
};
use crate::{
    places::{ends, few, silent, sixteen},
    support::{TOKEN, drip, eventually, exchange, within},
};

/// A client of HTTP/2 whose windows are `window` bytes, unless there are none, and its connection, which goes on.
async fn speaking(app: &TlsApp, window: Option<u32>) -> (SendRequest<String>, JoinHandle<Result<(), hyper::Error>>) {
    let stream = app.connect(&[HTTP_2]).await;
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    (sender, tokio::spawn(connection))
}

/// Asks for a page, and gives the answer when its head is there.
async fn ask(sender: &mut SendRequest<String>, path: &str) -> Response<Incoming> {
    let request = Request::get(format!("https://localhost{path}")).header("authorization", format!("Bearer {TOKEN}"));
    let request = request.body(String::new()).expect("a request");
    let answer = within("an answer", sender.send_request(request)).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer
}

/// Somebody who comes now, if there is a place.
async fn newcomer(app: &TlsApp) -> Option<Encrypted> {
    connect(app.app.http(), app.authority.trusting(&[HTTP_1])).await.ok()
}

/// How a handshake begins: a record of type handshake, for TLS 1.0 as all do, of 512 bytes.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

async fn impatient() -> (TlsApp, TlsClient) {
    let app = TlsApp::start_with(|config| config.listen.handshake_timeout = Duration::from_millis(500)).await;
    let luz = app.subscribe("luz").await;
    (app, luz)
}

async fn goes_on(app: &TlsApp, luz: &mut TlsClient) {
    luz.expect_nothing_before(app.publish(json!({})).await).await;
    assert_eq!(app.get("/health").await.1["status"], "healthy");
}

// whoever shakes hands byte by byte, never silent and never done, is hung up on; so is whoever says nothing
#[tokio::test]
async fn a_slow_loris_is_hung_up_on() {
    let (app, mut luz) = impatient().await;
    for address in [app.app.http(), app.app.grpc_address()] {
        for start in [CLIENT_HELLO, &CLIENT_HELLO[..1]] {
            drip(address, start).await;
            goes_on(&app, &mut luz).await;
        }
    }
}

// whoever shakes hands and then says nothing is hung up on, too
#[tokio::test]
async fn silence_after_the_handshake_is_hung_up_on() {
    let (app, mut luz) = impatient().await;
    let (http, grpc) = (app.app.http(), app.app.grpc_address());
    for (address, protocol) in [(http, HTTP_1), (http, HTTP_2), (grpc, HTTP_2)] {
        let mut silent = connect(address, app.authority.trusting(&[protocol])).await.expect("a handshake");
        let mut rest = Vec::new();
        let _ = within("the end", silent.read_to_end(&mut rest)).await;
        goes_on(&app, &mut luz).await;
    }
}

// what is no TLS after it began as such is answered with an alert (21), and with nothing of ours
#[tokio::test]
async fn rubbish_is_answered_with_an_alert() {
    let (app, mut luz) = impatient().await;
    for address in [app.app.http(), app.app.grpc_address()] {
        let answer = exchange(address, &[CLIENT_HELLO, &[0xff; 2_000]].concat()).await;
        assert_eq!(answer.as_bytes().first(), Some(&21), "{answer:?}");
        goes_on(&app, &mut luz).await;
    }
}

/// A call over gRPC, on a connection of its own.
async fn calls(app: &TlsApp) {
    let mut client = NotificationServiceClient::new(channel(app, trusting(app)).await.expect("a connection"));
    let answer = within("an answer", client.get_history(with_token(GetHistoryRequest::default()))).await;
    answer.expect("accepted");
}

// connections that say nothing, shake hands half-way, or shake hands and then say nothing, keep nobody out on either port
#[tokio::test]
async fn a_flood_of_silent_connections_keeps_nobody_out() {
    let app = TlsApp::start_with(|config| few(config, 64)).await;
    let mut luz = app.subscribe("luz").await;
    let (http, grpc) = (app.app.http(), app.app.grpc_address());
    let (mut flood, mut shaken) = (Vec::new(), Vec::new());
    for number in 0..200 {
        for address in [http, grpc] {
            let mut stream = silent(address, number).await;
            if number % 3 == 0 {
                // It may be closed already.
                let _ = stream.write_all(CLIENT_HELLO).await;
            }
            flood.push(stream);
            if number % 20 == 0 {
                shaken.push(connect(address, app.authority.trusting(&[HTTP_2])).await.expect("a handshake"));
            }
        }
        if number % 20 == 0 {
            goes_on(&app, &mut luz).await;
            calls(&app).await;
        }
    }
}

// the oldest goes first, wherever it is in its handshake
#[tokio::test]
async fn the_oldest_silent_connection_is_closed_first() {
    let app = TlsApp::start_with(sixteen).await;
    for address in [app.app.http(), app.app.grpc_address()] {
        let mut mute = silent(address, 0).await;
        let mut half_way = silent(address, 1).await;
        half_way.write_all(CLIENT_HELLO).await.expect("the connection is open");
        let mut shaken = connect(address, app.authority.trusting(&[HTTP_2])).await.expect("a handshake");
        let _last = silent(address, 0).await;
        let mut newcomers = vec![silent(address, 1).await];
        ends(&mut mute).await;
        newcomers.push(silent(address, 0).await);
        ends(&mut half_way).await;
        newcomers.push(silent(address, 1).await);
        ends(&mut shaken).await;
    }
    assert_eq!(app.get("/health").await.0, 200);
    calls(&app).await;
}

// over HTTP/2, too, a connection that is idle gives way
#[tokio::test]
async fn an_idle_connection_of_http_2_gives_way() {
    let app = TlsApp::start_with(|config| few(config, 1)).await;
    let (mut sender, connection) = speaking(&app, None).await;
    let answer = ask(&mut sender, "/health").await;
    // Its body is read, and the connection rests.
    within("a body", answer.collect()).await.expect("a body");
    assert_eq!(app.get("/health").await.0, 200);
    // With a word or without.
    let _ = within("the end", connection).await.expect("no panic");
}

// a connection that takes nothing of its answers is not busy for good: it gives way, too
#[tokio::test]
async fn whoever_takes_no_answer_over_http_2_keeps_nobody_out() {
    let app = TlsApp::start_with(|config| {
        few(config, 4);
        config.listen.idle_timeout = Duration::from_millis(300);
    })
    .await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        let (mut sender, connection) = speaking(&app, Some(0)).await;
        let answer = ask(&mut sender, "/health").await;
        unread.push((sender, connection, answer));
    }
    for (sender, connection, answer) in unread {
        let stream = Box::pin(eventually("there is a place", async || newcomer(&app).await)).await;
        assert_eq!(request(stream, Method::GET, "/health", "").await.status(), 200);
        drop((sender, connection, answer));
    }
}

// whoever is in the middle of a download is not idle, however much of it the service has handed on
#[tokio::test]
async fn a_download_over_http_2_is_not_closed_for_a_newcomer() {
    let app = TlsApp::start_with(|config| few(config, 1)).await;
    for _ in 0..20 {
        app.publish(json!({ "large": "x".repeat(60_000) })).await;
    }
    let (mut sender, connection) = speaking(&app, Some(65_535)).await;
    let mut answer = ask(&mut sender, "/history").await.into_body();
    let first = within("a piece", answer.frame()).await.expect("a piece").expect("the connection is open");
    let first = first.into_data().expect("a piece").len();
    assert!(newcomer(&app).await.is_none(), "there is no place");
    let rest = within("the rest", answer.collect()).await.expect("all of it").to_bytes().len();
    assert!(first + rest > 1_200_000, "{first} and {rest} bytes");
    let stream = Box::pin(eventually("there is a place", async || newcomer(&app).await)).await;
    assert_eq!(request(stream, Method::GET, "/health", "").await.status(), 200);
    drop((sender, connection));
}
