//! Bytes over a bare socket, for what well-behaved clients do not do.

use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::interval,
};

use super::within;

/// Sends `request` as it is, as far as the server takes it, and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let (_, read) = tokio::join!(writer.write_all(request), reader.read_to_end(&mut answer));
        assert!(read.is_ok() || !answer.is_empty(), "no answer: {read:?}");
        String::from_utf8_lossy(&answer).into_owned()
    };
    within("an answer", exchange).await
}

/// Sends all of `request` before it reads anything, as simple clients do.
pub(crate) async fn send_then_read(address: SocketAddr, request: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(request).await.expect("the server listens to the end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    within("an answer", exchange).await
}

/// Sends `start`, then a byte now and again for as long as the server listens.
pub(crate) async fn drip(address: SocketAddr, start: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(start).await.expect("the connection is open");
    let mut between = interval(Duration::from_millis(20));
    let dripping = async {
        while stream.write_all(b"x").await.is_ok() {
            between.tick().await;
        }
    };
    within("the server hangs up", dripping).await;
}

/// A WebSocket that answers nothing by itself and reads only when it is told to.
#[derive(Debug)]
pub(crate) struct RawSocket(TcpStream);

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    /// A text as it came, compressed.
    Compressed(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    /// With its code; a close frame may be empty.
    Close(Option<u16>),
}

impl RawSocket {
    /// Shakes hands on `/ws/{address}`.
    pub(crate) async fn connect(http: SocketAddr, address: &str) -> Self {
        Self::connect_with(http, address, b"").await
    }

    /// Shakes hands on `/ws/{address}`, and sends `more` in the same breath.
    pub(crate) async fn connect_with(http: SocketAddr, address: &str, more: &[u8]) -> Self {
        Self::shake_hands(http, address, "", more).await.0
    }

    /// Shakes hands on `/ws/{address}` with an offer of extensions, sends `more` in the same breath, and gives what the server
    /// chose.
    pub(crate) async fn connect_offering(
        http: SocketAddr,
        address: &str,
        offer: &str,
        more: &[u8],
    ) -> (Self, Option<String>) {
        let header = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let (socket, head) = Self::shake_hands(http, address, &header, more).await;
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let chosen = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
        (socket, chosen.map(|(_, value)| value.to_owned()))
    }

    /// The same as [`connect_with`](Self::connect_with) for a client of which the system takes in little that it does not read.
    pub(crate) async fn connect_narrow(http: SocketAddr, address: &str, more: &[u8]) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a size");
        // The server's side holds a number of segments: those of a real network, and not of this machine.
        SockRef::from(&socket).set_tcp_mss(1_400).expect("a size");
        let stream = within("a connection", socket.connect(http)).await.expect("a connection");
        Self::shake_hands_on(stream, address, "", more).await.0
    }

    async fn shake_hands(http: SocketAddr, address: &str, header: &str, more: &[u8]) -> (Self, String) {
        let stream = within("a connection", TcpStream::connect(http)).await.expect("a connection");
        Self::shake_hands_on(stream, address, header, more).await
    }

    async fn shake_hands_on(mut stream: TcpStream, address: &str, header: &str, more: &[u8]) -> (Self, String) {
        let handshake = async {
            let http = stream.peer_addr().expect("connected");
            let request = format!(
                "GET /ws/{address} HTTP/1.1\r\nHost: {http}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
            );
            stream.write_all(&[request.as_bytes(), more].concat()).await.expect("a request");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let head = String::from_utf8(head).expect("a head is text");
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            head
        };
        let head = within("a handshake", handshake).await;
        (Self(stream), head)
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within("writing", self.0.write_all(bytes)).await.expect("the connection is open");
    }

    /// Sends bytes as they are, as far as the server takes them.
    pub(crate) async fn write_some(&mut self, bytes: &[u8]) {
        // Whether it took them all, its answer tells.
        let _ = within("writing", self.0.write_all(bytes)).await;
    }

    /// Says that nothing more will be sent, and keeps listening.
    pub(crate) async fn half_close(&mut self) {
        self.0.shutdown().await.expect("the connection is open");
    }

    /// The socket as the system has it, which answers at once whether there is something to read.
    pub(crate) fn into_std(self) -> std::net::TcpStream {
        self.0.into_std().expect("the connection is open")
    }

    /// The next frame that is no ping: the server pings when it likes.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            match self.next_or_ping().await {
                Frame::Ping => {}
                frame => return frame,
            }
        }
    }

    /// The next frame.
    pub(crate) async fn next_or_ping(&mut self) -> Frame {
        within("a frame", read(&mut self.0)).await.expect("the connection is open")
    }

    /// The next frame, whatever it is, for a client that sends `bytes` meanwhile.
    pub(crate) async fn next_while_sending(&mut self, bytes: &[u8]) -> Frame {
        let (mut reader, mut writer) = self.0.split();
        let both = async { tokio::join!(read(&mut reader), writer.write_all(bytes)).0 };
        within("a frame", both).await.expect("the connection is open")
    }

    /// Asserts that the server has nothing more to say and hung up.
    pub(crate) async fn ends(&mut self) {
        let mut rest = Vec::new();
        within("the end of the connection", self.0.read_to_end(&mut rest)).await.expect("an end without a reset");
        assert_eq!(rest, b"", "came after the close frame");
    }

    /// The code that the server closes with; what comes before is passed over.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let Frame::Close(code) = self.next().await {
                return code.expect("a close frame with a code");
            }
        }
    }

    /// The code that the server closes with, to a client that sends `bytes` now and again until then.
    pub(crate) async fn close_code_while_sending(&mut self, bytes: &[u8]) -> u16 {
        let mut between = interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                readable = self.0.readable() => {
                    readable.expect("the connection is open");
                    return self.close_code().await;
                }
                _ = between.tick() => self.write_some(bytes).await,
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Frame> {
    let first = stream.read_u8().await?;
    let length = match stream.read_u8().await? {
        126 => usize::from(stream.read_u16().await?),
        127 => usize::try_from(stream.read_u64().await?).expect("a length"),
        length => usize::from(length),
    };
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    Ok(match first {
        0x81 => Frame::Text(String::from_utf8(content).expect("UTF-8")),
        0xc1 => Frame::Compressed(content),
        0x88 => Frame::Close(content.first_chunk().map(|code| u16::from_be_bytes(*code))),
        0x89 => Frame::Ping,
        0x8a => Frame::Pong(content),
        other => panic!("a frame that begins with {other:#x}"),
    })
}
