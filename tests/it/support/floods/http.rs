//! Floods of the HTTP listener, and of what comes before HTTP.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{MissedTickBehavior, interval},
};

use super::{Attacker, LARGE, read_nothing, until_the_end};

/// How long a slow head waits before its next byte.
const BETWEEN_BYTES: Duration = Duration::from_millis(500);

/// Connections to the HTTP listener that say nothing.
pub(super) async fn silent(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect(attacker.target.http).await?;
    attacker.stands();
    until_the_end(stream).await
}

/// The same to the gRPC listener.
pub(super) async fn silent_grpc(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect(attacker.target.grpc).await?;
    attacker.stands();
    until_the_end(stream).await
}

/// Heads and prefaces that come byte by byte, never silent and never done; by turns on both listeners.
pub(super) async fn slow_heads(attacker: &Attacker) -> io::Result<()> {
    let starts: [(_, &[u8]); 3] = [
        (attacker.target.http, b"GET /health HTTP/1.1\r\nX: "),
        (attacker.target.http, b"GET /ws/slow HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "),
        (attacker.target.grpc, b"PRI * HT"),
    ];
    let (listener, start) = starts[attacker.number % starts.len()];
    let mut stream = attacker.connect(listener).await?;
    stream.write_all(start).await?;
    attacker.stands();
    let mut between = interval(BETWEEN_BYTES);
    between.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        between.tick().await;
        stream.write_all(b"x").await?;
    }
}

/// Publishes under tokens that are wrong, each another one.
pub(super) async fn bad_tokens(attacker: &Attacker) -> io::Result<()> {
    let mut stream = attacker.connect(attacker.target.http).await?;
    let body = r#"{"event":"e","payload":{}}"#;
    let request = format!(
        "POST /notify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong-{}-{:?}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        attacker.number,
        stream.local_addr()?,
        body.len(),
    );
    stream.write_all(request.as_bytes()).await?;
    attacker.stands();
    until_the_end(stream).await
}

/// Asks for the history of large notifications, and takes no more of the answer than that there is one.
pub(super) async fn unread_history(attacker: &Attacker) -> io::Result<()> {
    let mut stream = attacker.connect_to_read_nothing(attacker.target.http).await?;
    let token = attacker.target.token;
    let head = format!("GET /history?room={LARGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if &status != b"HTTP/1.1 200" {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    attacker.stands();
    read_nothing(stream).await
}
