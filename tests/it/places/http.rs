//! Silent and idle connections of the HTTP listener.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{NEVER, ends, few, is_counted, silent, sixteen};
use crate::support::{Server, TestApp, exchange, run_to_end, within};

/// Asks for the health on a connection that is kept, and reads the answer.
pub(crate) async fn asks(stream: &mut TcpStream) {
    let asking = async {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the connection is open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        stream.read_exact(&mut body).await.expect("a body");
    };
    within("an answer", asking).await;
}

/// A connection that asked once, and is kept.
async fn kept(http: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(http).await.expect("a connection");
    asks(&mut stream).await;
    stream
}

// two hundred silent connections on sixty-four places: whoever speaks gets in at any time, and so do subscribers
#[tokio::test]
async fn a_flood_of_silent_connections_keeps_nobody_out() {
    let app = TestApp::start_with(|config| few(config, 64)).await;
    let mut luz = app.connect("luz").await;
    let mut flood = Vec::new();
    for number in 0..200 {
        flood.push(silent(app.http(), number).await);
        if number % 10 == 0 {
            let answer = exchange(app.http(), b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{number}: {answer}");
        }
    }
    let mut ana = app.connect("ana?room=b").await;
    let marker = app.mark().await;
    for client in [&mut luz, &mut ana] {
        client.expect_nothing_before(marker).await;
    }
    is_counted(&app).await;
}

// the oldest silent one goes first, and only as many as there are newcomers
#[tokio::test]
async fn the_oldest_silent_connection_is_closed_first() {
    let app = TestApp::start_with(sixteen).await;
    let mut connections = Vec::new();
    for number in 0..4 {
        connections.push(silent(app.http(), number).await);
    }
    for oldest in 0..4 {
        connections.push(silent(app.http(), oldest).await);
        ends(&mut connections[oldest]).await;
    }
    for stream in &mut connections[4..] {
        asks(stream).await;
    }
}

// part of a head is no head: a connection that sends one is as silent as any other
#[tokio::test]
async fn a_head_that_does_not_end_is_silence() {
    let app = TestApp::start_with(sixteen).await;
    let mut slow = silent(app.http(), 0).await;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost:").await.expect("the connection is open");
    let mut others = Vec::new();
    for number in 0..4 {
        others.push(silent(app.http(), number).await);
    }
    ends(&mut slow).await;
    for stream in &mut others {
        asks(stream).await;
    }
}

// when all places are taken, the connection that was idle longest goes for a newcomer
#[tokio::test]
async fn idle_connections_give_way() {
    let app = TestApp::start_with(sixteen).await;
    let mut connections = Vec::new();
    // One of the sixteen is that of the client of the tests, which is the oldest, and goes first.
    for _ in 0..16 {
        connections.push(kept(app.http()).await);
    }
    // It asks again, and so is the youngest.
    asks(&mut connections[0]).await;
    for oldest in [1, 2, 0] {
        if oldest == 0 {
            for stream in &mut connections[3..16] {
                asks(stream).await;
            }
        }
        connections.push(kept(app.http()).await);
        ends(&mut connections[oldest]).await;
    }
    for stream in &mut connections[3..] {
        asks(stream).await;
    }
    is_counted(&app).await;
}

// the service's own health command gets through while everybody is silent, and the log says what is full, once
#[tokio::test]
async fn health_gets_through_a_flood_of_silence() {
    let never = format!("{}s", NEVER.as_secs());
    let settings = [("MAX_HTTP_CONNECTIONS", "64"), ("HANDSHAKE_TIMEOUT", never.as_str())];
    let mut server = Server::start(&settings).await;
    let mut flood = Vec::new();
    for number in 0..200 {
        flood.push(silent(server.http(), number).await);
    }
    let port = server.http().port().to_string();
    let output = run_to_end(&["health"], &[("PORT", &port)]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    server.line_with("MAX_HTTP_CONNECTIONS: a quarter").await;
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    assert_eq!(log.matches("MAX_HTTP_CONNECTIONS: a quarter").count(), 1, "{log}");
    assert!(log.contains("further refusals"), "{log}");
}
