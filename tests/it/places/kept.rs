//! How long a kept HTTP connection may say nothing.

use std::time::Duration;

use serde_json::json;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{NEVER, asks, ends, silent};
use crate::support::{TestApp, within};

const SHORT: Duration = Duration::from_millis(100);

// a kept connection that asks for nothing any more is hung up on after IDLE_TIMEOUT
#[tokio::test]
async fn an_idle_connection_is_hung_up_on() {
    let app = TestApp::start_with(|config| {
        config.listen.handshake_timeout = NEVER;
        config.listen.idle_timeout = SHORT;
    })
    .await;
    let mut idle = TcpStream::connect(app.http()).await.expect("a connection");
    asks(&mut idle).await;
    ends(&mut idle).await;
}

// the time for a head does not run while none has begun; once it has, it does
#[tokio::test]
async fn the_time_for_a_head_begins_with_it() {
    let app = TestApp::start_with(|config| {
        config.listen.handshake_timeout = SHORT;
        config.listen.idle_timeout = NEVER;
    })
    .await;
    let mut kept = TcpStream::connect(app.http()).await.expect("a connection");
    asks(&mut kept).await;
    // Whoever came later and never asked had its time.
    ends(&mut silent(app.http(), 0).await).await;
    asks(&mut kept).await;
    kept.write_all(b"GET /health HTTP/1.1\r\n").await.expect("the connection is open");
    ends(&mut kept).await;
}

// whoever takes an answer slowly is not idle: it has all the time between two requests only when it has the answer
#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_not_cut_off() {
    let app = TestApp::start_with(|config| {
        config.listen.handshake_timeout = NEVER;
        config.listen.idle_timeout = SHORT;
    })
    .await;
    let large = "x".repeat(60_000);
    for _ in 0..100 {
        app.publish("e", json!({ "large": large })).await;
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    // On this machine they would be so large that the system took the whole answer.
    SockRef::from(&socket).set_tcp_mss(1_400).expect("small segments");
    let mut slow = within("a connection", socket.connect(app.http())).await.expect("a connection");
    let request = "GET /history HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\n\r\n";
    slow.write_all(request.as_bytes()).await.expect("the connection is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", slow.read_u8()).await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let length: usize = length.parse().expect("a number");
    assert!(length > 3_000_000, "{length} bytes are no more than the system holds");
    // Others that came later had their time, one behind the other.
    for _ in 0..3 {
        let mut idle = TcpStream::connect(app.http()).await.expect("a connection");
        asks(&mut idle).await;
        ends(&mut idle).await;
    }
    let mut body = vec![0; length];
    within("the answer", slow.read_exact(&mut body)).await.expect("all of it");
    ends(&mut slow).await;
}
