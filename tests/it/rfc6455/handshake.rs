//! Section 4.2: the opening handshake, as the server reads and answers it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Bench;
use crate::support::within;

/// A handshake as the RFC writes it in section 1.3, line by line.
const REQUEST: [&str; 6] = [
    "GET /ws/raw?room=alone HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// What the RFC says the answer to that key is.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A handshake with the lines `instead` in place of the one that begins with `line`.
fn request_with(line: &str, instead: &[&str]) -> String {
    let (first, headers) = REQUEST.split_first().expect("a request line");
    let first = if line == "GET" { instead } else { &[*first] };
    let instead = if line == "GET" { &[] } else { instead };
    let lines = first.iter().chain(headers.iter().filter(|header| !header.starts_with(line))).chain(instead);
    lines.map(|line| format!("{line}\r\n")).collect::<String>() + "\r\n"
}

/// The answer to `request`: its head in small letters, and the body that the head announces.
async fn answer(bench: &Bench, request: &str) -> (String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(bench.app.http()).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("a head is text").to_ascii_lowercase();
        let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split_once('\r'));
        let mut body = vec![0; length.map_or(0, |(length, _)| length.parse().expect("a length"))];
        stream.read_exact(&mut body).await.expect("a body");
        (head, String::from_utf8(body).expect("a body is text"))
    };
    within("an answer", exchange).await
}

// RFC 6455, 4.2.1 and 4.2.2: a client's handshake, in all the ways HTTP lets it be written
#[tokio::test]
async fn a_handshake_is_accepted() {
    let mut bench = Bench::start().await;
    let cases: &[(&str, &[&str])] = &[
        ("Upgrade", &["Upgrade: websocket"]),
        ("Upgrade", &["UPGRADE: WebSocket"]),
        ("Upgrade", &["Upgrade: h2c, websocket"]),
        ("Upgrade", &["Upgrade: h2c", "Upgrade: websocket"]),
        ("Connection", &["connection: upgrade"]),
        ("Connection", &["Connection: keep-alive, Upgrade"]),
        ("Connection", &["Connection: keep-alive,Upgrade"]),
        ("Connection", &["Connection: keep-alive", "Connection: Upgrade"]),
        ("Sec-WebSocket-Version", &["sec-websocket-version:13"]),
        ("Sec-WebSocket-Key", &["SEC-WEBSOCKET-KEY:   dGhlIHNhbXBsZSBub25jZQ==  "]),
        // Extensions and protocols are offers, which may be left alone.
        (
            "Sec-WebSocket-Extensions",
            &["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-nothing"],
        ),
        ("Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: chat, superchat"]),
        ("X-Nothing", &["X-Nothing: hola"]),
    ];
    for (line, instead) in cases {
        eprintln!("{instead:?}");
        let (head, _) = answer(&bench, &request_with(line, instead)).await;
        assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nsec-websocket-accept: {}\r\n", ACCEPT.to_ascii_lowercase())), "{head}");
        assert!(!head.contains("sec-websocket-extensions") && !head.contains("sec-websocket-protocol"), "{head}");
        bench.unharmed().await;
    }
}

// RFC 6455, 4.2.1: what is missing or wrong is answered with "an appropriate HTTP error code (such as 400 Bad Request)"
#[tokio::test]
async fn a_bad_handshake_is_refused_with_the_reason() {
    let mut bench = Bench::start().await;
    let cases: &[(&str, &[&str], u16)] = &[
        ("Host", &[], 400),
        ("Sec-WebSocket-Key", &[], 400),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key:"], 400),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: hola"], 400),
        // 15 and 17 bytes, then 16 that are not base64, or without the padding.
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"], 400),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM="], 400),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="], 400),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"], 400),
        ("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: x"], 400),
        ("Upgrade", &[], 426),
        ("Upgrade", &["Upgrade: h2c"], 426),
        ("Upgrade", &["Upgrade: websockets"], 426),
        ("Connection", &[], 426),
        ("Connection", &["Connection: keep-alive"], 426),
        ("GET", &["GET /ws/raw HTTP/1.0"], 426),
        ("GET", &["POST /ws/raw HTTP/1.1"], 405),
    ];
    for (line, instead, status) in cases {
        eprintln!("{line}: {instead:?}");
        let (head, body) = answer(&bench, &request_with(line, instead)).await;
        assert!(head.split(' ').nth(1) == Some(&status.to_string()), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert!(body["detail"].is_string(), "{body}");
        bench.unharmed().await;
    }
}

// RFC 6455, 4.2.2 and 4.4: another version is answered with 426 and the version that is spoken
#[tokio::test]
async fn another_version_is_told_which_one_is_spoken() {
    let mut bench = Bench::start().await;
    let versions: &[&[&str]] = &[
        &[],
        &["Sec-WebSocket-Version: 8"],
        &["Sec-WebSocket-Version: 0"],
        &["Sec-WebSocket-Version: 14"],
        &["Sec-WebSocket-Version: 013"],
        &["Sec-WebSocket-Version: trece"],
    ];
    for version in versions {
        eprintln!("{version:?}");
        let (head, body) = answer(&bench, &request_with("Sec-WebSocket-Version", version)).await;
        assert!(head.starts_with("http/1.1 426 "), "{head}");
        assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
        assert!(body.contains("detail"), "{body}");
        bench.unharmed().await;
    }
}
