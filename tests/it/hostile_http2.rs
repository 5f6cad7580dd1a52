//! HTTP/2 by hand against the gRPC listener: what no client library would send. Every flood has its stated answer, and
//! another client's calls and deliveries go on.

use std::net::SocketAddr;

use exposia_notifications::wire::proto::v1::PublishRequest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::support::{Client, GrpcClient, TestApp, within};

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// RFC 9113, 7: ENHANCE_YOUR_CALM.
const CALM: u32 = 0xb;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A header field in HPACK, as it is and without a place in the table.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The head of a call of `Publish`, with `more` fields.
pub(crate) fn call(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/exposia.notifications.v1.NotificationService/Publish"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", "Bearer dev"),
    ];
    fields.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// A frame of the server.
pub(crate) struct Received {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) content: Vec<u8>,
}

/// A connection after its preface.
pub(crate) async fn open(grpc: SocketAddr) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = TcpStream::connect(grpc).await.expect("a connection");
    let (reader, mut writer) = stream.into_split();
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, b"")].concat();
    writer.write_all(&preface).await.expect("the connection is open");
    (reader, writer)
}

pub(crate) async fn read(reader: &mut OwnedReadHalf) -> std::io::Result<Received> {
    let mut head = [0; 9];
    reader.read_exact(&mut head).await?;
    let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    reader.read_exact(&mut content).await?;
    Ok(Received { kind: head[3], flags: head[4], content })
}

/// Sends `flood` again and again until the server hangs up, which it must. Gives the reason, unless it was lost with what
/// the server did not read any more.
async fn goes_away(grpc: SocketAddr, start: &[u8], mut flood: impl FnMut() -> Vec<u8>) -> Option<u32> {
    let (mut reader, mut writer) = open(grpc).await;
    writer.write_all(start).await.expect("the connection is open");
    let flooding = async { while writer.write_all(&flood()).await.is_ok() {} };
    let reading = async {
        let mut reason = None;
        while let Ok(received) = read(&mut reader).await {
            if received.kind == GOAWAY {
                reason = received.content[4..].first_chunk().map(|code| u32::from_be_bytes(*code));
            }
        }
        reason
    };
    within("the server hangs up", async { tokio::join!(reading, flooding) }).await.0
}

/// Asserts that a connection ended for nothing else than too many frames.
#[track_caller]
fn calmed(reason: Option<u32>) {
    assert!(reason.is_none_or(|reason| reason == CALM), "another reason: {reason:?}");
}

/// The others: a publisher and a subscriber who were there before.
struct Others {
    grpc: GrpcClient,
    subscriber: Client,
}

impl Others {
    async fn of(app: &TestApp) -> Self {
        Self { grpc: app.grpc().await, subscriber: app.connect("luz").await }
    }

    async fn go_on(&mut self, app: &TestApp) {
        let request = PublishRequest { event: "e".into(), ..Default::default() };
        let published = within("an answer", self.grpc.publish(request)).await.expect("accepted");
        self.subscriber.expect_nothing_before(published.into_inner().sequence).await;
        assert_eq!(app.get("/health").await.json()["status"], "healthy");
    }
}

// an HTTP/2 rapid reset (CVE-2023-44487) ends with ENHANCE_YOUR_CALM
#[tokio::test]
async fn a_rapid_reset_is_told_to_calm_down() {
    let app = TestApp::start().await;
    let mut others = Others::of(&app).await;
    let head = call(&[]);
    let mut stream = 1;
    let flood = || {
        let mut batch = Vec::new();
        for _ in 0..200 {
            batch.extend(frame(HEADERS, END_HEADERS, stream, &head));
            batch.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        batch
    };
    calmed(goes_away(app.grpc_address(), b"", flood).await);
    others.go_on(&app).await;
}

// a head without an end, in CONTINUATION frames (CVE-2024-27316 and its like), ends with ENHANCE_YOUR_CALM
#[tokio::test]
async fn a_head_without_an_end_is_told_to_calm_down() {
    let app = TestApp::start().await;
    let mut others = Others::of(&app).await;
    let start = frame(HEADERS, END_STREAM, 1, &call(&[]));
    let full = || frame(CONTINUATION, 0, 1, &field("x", "y").repeat(1_000)).repeat(10);
    calmed(goes_away(app.grpc_address(), &start, full).await);
    let empty = || frame(CONTINUATION, 0, 1, b"").repeat(100);
    calmed(goes_away(app.grpc_address(), &start, empty).await);
    others.go_on(&app).await;
}

// a flood of settings and pings is answered one by one, in order, and costs the others nothing
#[tokio::test]
async fn a_flood_of_settings_is_acknowledged() {
    const MANY: usize = 10_000;
    let app = TestApp::start().await;
    let mut others = Others::of(&app).await;
    let (mut reader, mut writer) = open(app.grpc_address()).await;
    let flood = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(MANY);
    let flooding = async {
        writer.write_all(&flood).await.expect("the connection is open");
        writer.write_all(&frame(PING, 0, 0, b"the last")).await.expect("the connection is open");
    };
    let reading = async {
        let mut acknowledged = 0;
        loop {
            let received = read(&mut reader).await.expect("the connection is open");
            match (received.kind, received.flags) {
                (SETTINGS, ACK) => acknowledged += 1,
                (PING, ACK) if received.content == b"the last" => return acknowledged,
                (GOAWAY, _) => panic!("the connection was ended"),
                _ => {}
            }
        }
    };
    let (acknowledged, ()) = within("the acknowledgements", async { tokio::join!(reading, flooding) }).await;
    assert_eq!(acknowledged, MANY + 1, "with the one of the preface");
    others.go_on(&app).await;
}

// only gzip is unpacked, within the limits of messages; a message in another encoding is UNIMPLEMENTED
#[tokio::test]
async fn a_compressed_message_is_not_unpacked() {
    let app = TestApp::start().await;
    let mut others = Others::of(&app).await;
    let (mut reader, mut writer) = open(app.grpc_address()).await;
    let bomb = [&[1, 0, 0, 0, 2][..], b"\x78\xda"].concat();
    let head = frame(HEADERS, END_HEADERS, 1, &call(&[("grpc-encoding", "deflate")]));
    writer.write_all(&[head, frame(DATA, END_STREAM, 1, &bomb)].concat()).await.expect("the connection is open");
    let answer = async {
        loop {
            let received = read(&mut reader).await.expect("the connection is open");
            if received.kind == HEADERS {
                return received.content;
            }
        }
    };
    let head = within("an answer", answer).await;
    // The status is a literal of HPACK, in Huffman's code or not.
    let huffman: &[u8] = &[0x82, 0x08, 0xbf];
    let found = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    assert!(found(b"\x0212") || found(huffman), "no grpc-status 12 in {head:x?}");
    others.go_on(&app).await;
}
