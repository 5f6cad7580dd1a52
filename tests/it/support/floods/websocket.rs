//! Floods by WebSocket.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Attacker, LIVE, SIDE, read_nothing, until_the_end};

const CONTINUATION: u8 = 0x00;
const TEXT: u8 = 0x01;
const FINAL: u8 = 0x80;

/// The length of a message that is never finished: just below the limit of 256 KiB.
const UNFINISHED: usize = 250_000;

/// How many empty fragments go into one write.
const FRAGMENTS: usize = 10_000;

/// How large the chats are, and how many go into one write: the large ones are above what a chat may have, the others below.
const LARGE_CHAT: usize = 60_000;
const CHAT: usize = 15_000;
const CHATS: usize = 6;

/// A message without an end: empty continuation frames, for as long as they are taken.
pub(super) async fn fragments(attacker: &Attacker) -> io::Result<()> {
    let mut stream = open(attacker, "fragments", "", &head(TEXT, 0)).await?;
    let many = head(CONTINUATION, 0).repeat(FRAGMENTS);
    loop {
        stream.write_all(&many).await?;
        attacker.stands();
    }
}

/// A message of 250 KB but for its last byte.
pub(super) async fn unfinished_messages(attacker: &Attacker) -> io::Result<()> {
    let mut stream = open(attacker, "unfinished", "", &head(FINAL | TEXT, UNFINISHED)).await?;
    stream.write_all(&vec![b'x'; UNFINISHED - 1]).await?;
    attacker.stands();
    until_the_end(stream).await
}

/// Large chats in one write, to a room that others are in.
pub(super) async fn chats(attacker: &Attacker) -> io::Result<()> {
    let stream = open(attacker, "chats", &format!("?room={SIDE}"), b"").await?;
    let burst = [chat(LARGE_CHAT).repeat(CHATS), chat(CHAT).repeat(CHATS)].concat();
    let (mut reader, mut writer) = stream.into_split();
    let speaking = async {
        loop {
            writer.write_all(&burst).await?;
            attacker.stands();
            attacker.pace.turn().await;
        }
    };
    let mut scrap = vec![0; 64 * 1024];
    let listening = async {
        while reader.read(&mut scrap).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        ended = speaking => ended,
        ended = listening => ended,
    }
}

/// Subscribers who read nothing.
pub(super) async fn slow_readers(attacker: &Attacker) -> io::Result<()> {
    let stream = attacker.connect_to_read_nothing(attacker.target.http).await?;
    let stream = shake_hands(stream, attacker, "slow", &format!("?room={LIVE}"), b"").await?;
    attacker.stands();
    read_nothing(stream).await
}

/// Sessions in several rooms that are gone as soon as they are open.
pub(super) async fn come_and_go(attacker: &Attacker) -> io::Result<()> {
    drop(open(attacker, "passing", &format!("?room={SIDE}&rooms=a,b,c"), b"").await?);
    attacker.stands();
    Ok(())
}

/// Shakes hands, and sends `first` in the same breath.
async fn open(attacker: &Attacker, name: &str, query: &str, first: &[u8]) -> io::Result<TcpStream> {
    let stream = attacker.connect(attacker.target.http).await?;
    shake_hands(stream, attacker, name, query, first).await
}

async fn shake_hands(
    mut stream: TcpStream,
    attacker: &Attacker,
    name: &str,
    query: &str,
    first: &[u8],
) -> io::Result<TcpStream> {
    let (number, token) = (attacker.number, attacker.target.token);
    let request = format!(
        "GET /ws/{name}-{number}{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Authorization: Bearer {token}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(&[request.as_bytes(), first].concat()).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    if &answer == b"HTTP/1.1 101" { Ok(stream) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

/// The head of a frame with a mask that changes nothing.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match u16::try_from(length) {
        Ok(short @ 0..=125) => head.push(0x80 | u8::try_from(short).expect("it is below 126")),
        Ok(long) => {
            head.push(0x80 | 126);
            head.extend(long.to_be_bytes());
        }
        Err(_) => {
            head.push(0x80 | 127);
            head.extend(u64::try_from(length).expect("a length").to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

fn chat(length: usize) -> Vec<u8> {
    let text = format!(r#"{{"type":"chat_message","message":"{}"}}"#, "x".repeat(length));
    [head(FINAL | TEXT, text.len()), text.into_bytes()].concat()
}
