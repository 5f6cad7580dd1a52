//! Clients of the HTTP listener that mean no good: each gets its stated answer, and another client's deliveries go on.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Client, RawSocket, TestApp, drip, exchange, refusal, within};

/// Another client's deliveries go on, and so does the health of the service.
pub(crate) async fn goes_on(app: &TestApp, luz: &mut Client) {
    luz.expect_nothing_before(app.mark().await).await;
    assert_eq!(app.get("/health").await.json()["status"], "healthy");
}

// whoever sends a head or a preface byte by byte, never silent and never done, is hung up on
#[tokio::test]
async fn a_slow_loris_is_hung_up_on() {
    let app = TestApp::start_with(|config| config.listen.handshake_timeout = Duration::from_millis(500)).await;
    let mut luz = app.connect("luz").await;
    for start in
        ["", "GET /health HTTP/1.1\r\nX: ", "GET /ws/ana HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "]
    {
        drip(app.http(), start.as_bytes()).await;
        goes_on(&app, &mut luz).await;
    }
    drip(app.grpc_address(), b"PRI * HTTP/2.0").await;
    goes_on(&app, &mut luz).await;
}

// ten thousand connections from one address, as fast as the machine makes them, that say nothing and go
#[tokio::test]
async fn ten_thousand_connections_come_and_go() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    for address in [app.http(), app.grpc_address()] {
        for _ in 0..10_000 {
            drop(within("a connection", TcpStream::connect(address)).await);
        }
        goes_on(&app, &mut luz).await;
    }
}

// a flood of rooms is refused one by one above the limit, and the connection stays
#[tokio::test]
async fn a_flood_of_rooms_is_refused() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana?room=flood").await;
    for number in 0..200 {
        let answer = ana.ask(json!({ "type": "subscribe", "room": format!("tema_{number}") })).await;
        assert_eq!(answer["type"] == "error", number >= 63, "{number}: {answer}");
    }
    goes_on(&app, &mut luz).await;
}

// JSON that is as deep as it is long is not JSON to the service: 400, and an `error`
#[tokio::test]
async fn json_without_a_floor_is_refused() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let deep = "[".repeat(100_000);
    app.notify(format!(r#"{{"event":"e","payload":{{"x":{deep}"#)).await.refused(400);
    let mut ana = app.connect("ana?room=b").await;
    ana.send_text(&format!(r#"{{"type":"ping","x":{deep}"#)).await;
    assert_eq!(ana.next().await["type"], "error");
    goes_on(&app, &mut luz).await;
}

// a body in an encoding is not unpacked: what comes is read as it is, and is no JSON
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let request = app.request(reqwest::Method::POST, "/notify").bearer_auth(crate::support::TOKEN);
    let request = request.header("content-encoding", "gzip").body(&b"\x1f\x8b\x08\x00bomb"[..]);
    crate::support::Answer::to(request).await.refused(400);
    goes_on(&app, &mut luz).await;
}

// a client that closes its half and waits is let go
#[tokio::test]
async fn a_half_closed_socket_is_let_go() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let mut half = TcpStream::connect(app.http()).await.expect("a connection");
    half.shutdown().await.expect("the connection is open");
    let mut rest = Vec::new();
    within("the end", half.read_to_end(&mut rest)).await.expect("an end");
    let mut ana = RawSocket::connect(app.http(), "ana?room=b").await;
    ana.half_close().await;
    app.until_connected(1).await;
    goes_on(&app, &mut luz).await;
}

// a flood of headers is 431, whether one is long or there are many
#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let floods = [format!("X: {}\r\n", "x".repeat(100_000)), "X: x\r\n".repeat(101), "X: x\r\n".repeat(100_000)];
    for path in ["/health", "/ws/ana"] {
        for flood in &floods {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{flood}\r\n");
            let answer = exchange(app.http(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{path} with {} bytes: {answer}", flood.len());
            goes_on(&app, &mut luz).await;
        }
    }
}

// a URL that is too long is part of a head that is too large: 431
#[tokio::test]
async fn a_flood_in_the_url_is_refused() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    for path in ["/health?x=", "/ws/"] {
        let request = format!("GET {path}{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1_000_000));
        let answer = exchange(app.http(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{path}: {answer}");
        goes_on(&app, &mut luz).await;
    }
}

// names that are too long are refused one by one: the handshake with 422, a message with an `error`
#[tokio::test]
async fn a_flood_of_names_is_refused() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let name = "x".repeat(10_000);
    let handshakes =
        [name.clone(), format!("ana?user_id={name}"), format!("ana?room={name}"), format!("ana?rooms=a,{name}")];
    for handshake in handshakes {
        assert_eq!(refusal(app.http(), &handshake).await.status(), 422);
    }
    let mut ana = app.connect("ana?room=b").await;
    for kind in ["join_room", "subscribe", "unsubscribe"] {
        assert_eq!(ana.ask(json!({ "type": kind, "room": name })).await["type"], "error", "{kind}");
    }
    for target in [json!({ "users": [name] }), json!({ "rooms": [name] }), json!({ "rooms": vec!["a"; 100_000] })] {
        app.notify(json!({ "event": "e", "payload": {}, "target": target }).to_string()).await.refused(422);
    }
    goes_on(&app, &mut luz).await;
}
