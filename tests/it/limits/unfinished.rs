//! Bodies that do not end and answers that nobody reads, over HTTP: their bytes are counted, for each address and in all.

use std::{net::SocketAddr, num::NonZeroUsize};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Duration, interval},
};

use crate::support::{TOKEN, TestApp, eventually, within};

const KIB: usize = 1024;

/// A server that holds at most so many bytes; an address has half of them.
async fn holding(bytes: usize) -> TestApp {
    TestApp::start_with(|config| config.gate.unfinished_bytes = NonZeroUsize::new(bytes).expect("not zero")).await
}

/// An event with about so many bytes.
fn body(bytes: usize) -> String {
    json!({ "event": "e", "payload": { "a": "x".repeat(bytes) } }).to_string()
}

/// A request that publishes `body`.
fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST /notify HTTP/1.1\r\nHost: x\r\nX-Token: {TOKEN}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
}

async fn open(http: SocketAddr) -> TcpStream {
    within("a connection", TcpStream::connect(http)).await.expect("the listener is up")
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    within("writing", stream.write_all(bytes)).await.expect("the connection is open");
}

/// The head of an answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
    };
    within("an answer", reading).await;
    String::from_utf8(head).expect("a head is text")
}

// bodies that are not finished are counted, refused when they are too many, and given back
#[tokio::test]
async fn unfinished_bodies_are_counted() {
    let app = holding(KIB * KIB).await;
    let request = request(&body(500 * KIB));
    let (begin, rest) = request.split_at(400 * KIB);
    let mut unfinished = open(app.http()).await;
    write(&mut unfinished, begin).await;
    let mut between = interval(Duration::from_millis(5));
    let refused = eventually("another one is refused", async || {
        let mut other = open(app.http()).await;
        write(&mut other, begin).await;
        // Once the server has had to wait for the rest, it has counted what came before.
        between.tick().await;
        write(&mut other, rest).await;
        Some(head(&mut other).await).filter(|head| !head.starts_with("HTTP/1.1 200"))
    })
    .await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: "), "{refused}");
    // What comes whole is not refused for it, and the first one goes on.
    assert_eq!(app.notify(body(10)).await.status, 200);
    write(&mut unfinished, rest).await;
    assert!(head(&mut unfinished).await.starts_with("HTTP/1.1 200"));
    let mut next = open(app.http()).await;
    write(&mut next, begin).await;
    between.tick().await;
    write(&mut next, rest).await;
    assert!(head(&mut next).await.starts_with("HTTP/1.1 200"), "what was counted was given back");
}

/// A connection that takes little of what it does not read.
async fn narrow(http: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4 * KIB).expect("a size");
    socket.set_nonblocking(true).expect("a flag");
    let socket = TcpSocket::from_std_stream(socket.into());
    within("a connection", socket.connect(http)).await.expect("the listener is up")
}

// answers that nobody takes are counted: the history, and the statistics, which show some of it
#[tokio::test]
async fn unread_answers_are_counted() {
    // What the journal shows of this is more than the system's buffers take.
    let app = holding(12 * KIB * KIB).await;
    for _ in 0..8 {
        assert_eq!(app.notify(body(1000 * KIB)).await.status, 200);
    }
    for path in ["/history", "/stats"] {
        let mut unread = narrow(app.http()).await;
        write(&mut unread, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(head(&mut unread).await.starts_with("HTTP/1.1 200"));
        let refused = app.get("/history").await;
        refused.refused(429);
        assert_ne!(refused.header("retry-after"), "");
        let stats = app.get("/stats").await.json();
        assert_eq!((&stats["total_notifications_sent"], &stats["recent_notifications"]), (&json!(8), &json!([])));
        assert!(stats["recent_unavailable"].as_str().is_some_and(|why| why.contains("UNFINISHED_BYTES")), "{stats}");
        assert_eq!(app.get("/health").await.status, 200);
        let mut rest = Vec::new();
        within("the rest", unread.read_to_end(&mut rest)).await.expect("the connection is open");
        eventually("what was taken is counted no more", async || {
            (app.get("/history").await.status == 200).then_some(())
        })
        .await;
    }
}
