//! Answers that are ready before the request has come whole: they are read, by whatever client and through whatever proxy.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    hostile_http2::{ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, call, frame, open, read},
    support::{TOKEN, TestApp, within},
};

/// A request with a wrong token whose body has `size` bytes, of which none is sent.
fn wrong(size: usize) -> String {
    format!("POST /notify HTTP/1.1\r\nHost: x\r\nX-Token: wrong\r\nContent-Length: {size}\r\n\r\n")
}

/// Reads the head of an answer and as many bytes as it says come behind it.
async fn answer(stream: &mut TcpStream) -> (String, Value) {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a length")];
        stream.read_exact(&mut body).await.expect("a body");
        (head, serde_json::from_slice(&body).expect("JSON"))
    };
    within("an answer", reading).await
}

// whoever is refused is told at once, also while its body is still coming, and may send the rest of it
#[tokio::test]
async fn a_refusal_is_read_by_who_is_still_sending() {
    const SIZE: usize = 8 * 1024 * 1024;
    let app = TestApp::start().await;
    let requests = [
        (wrong(SIZE), "401"),
        (wrong(SIZE).replace("/notify", "/nothing"), "404"),
        (wrong(SIZE).replace("/notify", "/health"), "405"),
        (wrong(SIZE).replace("wrong", TOKEN), "413"),
        (wrong(SIZE).replace(&format!("Content-Length: {SIZE}"), "Transfer-Encoding: chunked"), "401"),
    ];
    for (request, status) in requests {
        let mut stream = TcpStream::connect(app.http()).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("the connection is open");
        if status == "413" {
            // The limit is behind this.
            stream.write_all(&vec![b' '; 1024 * 1024 + 1]).await.expect("the connection is open");
        }
        let (head, body) = answer(&mut stream).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("connection: close\r\n") && body["detail"].is_string(), "{head}{body}");
        let rest = if request.contains("chunked") {
            [b"600000\r\n".to_vec(), vec![b' '; 0x60_0000], b"\r\n0\r\n\r\n".to_vec()].concat()
        } else {
            vec![b' '; SIZE - if status == "413" { 1024 * 1024 + 1 } else { 0 }]
        };
        stream.write_all(&rest).await.expect("the rest is taken");
        let mut more = Vec::new();
        within("the end", stream.read_to_end(&mut more)).await.expect("an end without a reset");
        assert!(more.is_empty(), "{more:?}");
    }
}

// a refusal of what came whole lets the connection be used again
#[tokio::test]
async fn a_connection_is_kept_behind_a_refusal_of_what_came_whole() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.http()).await.expect("a connection");
    let chunked = wrong(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    for request in [wrong(28) + &" ".repeat(28), chunked + "4\r\nhola\r\n0\r\n\r\n", wrong(0)] {
        stream.write_all(request.as_bytes()).await.expect("the connection is open");
        let (head, _) = answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && !head.contains("connection: close"), "{head}");
    }
}

// whoever asks before it sends is told the end of it, and not to go on
#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_not_asked_for_what_is_refused() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.http()).await.expect("a connection");
    let request = wrong(28).replace("X-Token", "Expect: 100-continue\r\nX-Token");
    stream.write_all(request.as_bytes()).await.expect("the connection is open");
    let (head, _) = answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 401 ") && head.contains("connection: close\r\n"), "{head}");
}

// what is read of a body that nobody wants has an end: in bytes, in time, and where nothing more comes
#[tokio::test]
async fn the_rest_of_a_body_is_read_within_bounds() {
    let app = TestApp::start_with(|config| config.listen.handshake_timeout = Duration::from_millis(300)).await;
    let floods: [(usize, usize); 2] = [(64 * 1024, 0), (1, 20)];
    for (piece, pause) in floods {
        let mut stream = TcpStream::connect(app.http()).await.expect("a connection");
        stream.write_all(wrong(1 << 40).as_bytes()).await.expect("the connection is open");
        let (head, _) = answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        let mut between = tokio::time::interval(Duration::from_millis(pause.max(1) as u64));
        let flooding = async {
            while stream.write_all(&vec![b' '; piece]).await.is_ok() {
                if pause > 0 {
                    between.tick().await;
                }
            }
        };
        within("the server hangs up", flooding).await;
    }
    assert_eq!(app.get("/health").await.status, 200);
}

// a call that is refused before its message is there is not reset over the refusal, unless its end does not come
#[tokio::test]
async fn a_call_that_is_refused_may_be_sent_to_its_end() {
    let app = TestApp::start().await;
    let (mut reader, mut writer) = open(app.grpc_address()).await;
    let mut head = call(&[]);
    let token = head.windows(10).position(|text| text == b"Bearer dev").expect("a token");
    head[token..token + 10].copy_from_slice(b"Bearer xyz");
    let mut next = async || within("a frame", read(&mut reader)).await.expect("the connection is open");
    // Without it the windows that the server gives do not count.
    writer.write_all(&frame(SETTINGS, ACK, 0, b"")).await.expect("the connection is open");
    for (stream, goes_on) in [(1, true), (3, false)] {
        writer.write_all(&frame(HEADERS, END_HEADERS, stream, &head)).await.expect("the connection is open");
        let answer = loop {
            let received = next().await;
            assert_ne!(received.kind, RST_STREAM, "before the answer");
            if received.kind == HEADERS {
                break received;
            }
        };
        assert_ne!(answer.flags & END_STREAM, 0, "a refusal is the end of the answer");
        if goes_on {
            let pieces = frame(DATA, 0, stream, &[b'x'; 16_000]).repeat(10);
            let rest = [pieces, frame(DATA, END_STREAM, stream, b""), frame(PING, 0, 0, b"the last")].concat();
            writer.write_all(&rest).await.expect("the connection is open");
        }
        loop {
            let received = next().await;
            match received.kind {
                RST_STREAM => break assert!(!goes_on, "the rest was not taken"),
                PING if received.content == b"the last" => break,
                _ => {}
            }
        }
    }
}
