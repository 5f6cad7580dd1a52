//! WebSocket clients, as browsers are.

use std::{collections::VecDeque, io::ErrorKind, net::SocketAddr};

use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, Response},
    },
};

use super::within;

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client<S = MaybeTlsStream<TcpStream>> {
    socket: WebSocketStream<S>,
    /// Messages that came while something else was awaited.
    early: VecDeque<String>,
    /// What the server said first.
    pub(crate) established: Value,
    pings: usize,
}

/// An open connection.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Shakes hands on `/ws/{address}` with further headers, and gives the answer when it is refused.
pub(crate) async fn open_with(
    http: SocketAddr,
    address: &str,
    headers: &[(&str, String)],
) -> Result<Socket, Box<Response<Option<Vec<u8>>>>> {
    let mut request = format!("ws://{http}/ws/{address}").into_client_request().expect("an address");
    for (number, (name, value)) in headers.iter().enumerate() {
        let value = HeaderValue::from_str(value).expect("a value");
        let is_again = headers[..number].iter().any(|(before, _)| before == name);
        let name: HeaderName = name.parse().expect("a name");
        if is_again {
            request.headers_mut().append(name, value);
        } else {
            request.headers_mut().insert(name, value);
        }
    }
    match within("a WebSocket handshake", connect_async(request)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response),
        Err(error) => panic!("{address}: {error}"),
    }
}

/// Shakes hands on `/ws/{address}`.
pub(crate) async fn open(http: SocketAddr, address: &str) -> Result<Socket, Box<Error>> {
    let connecting = connect_async(format!("ws://{http}/ws/{address}"));
    within("a WebSocket handshake", connecting).await.map(|(socket, _)| socket).map_err(Box::new)
}

/// The answer to a handshake that must fail.
pub(crate) async fn refusal(http: SocketAddr, address: &str) -> Response<Option<Vec<u8>>> {
    match open(http, address).await.map_err(|error| *error) {
        Err(Error::Http(response)) => *response,
        outcome => panic!("{address}: {outcome:?}"),
    }
}

impl Client {
    /// Connects to `/ws/{address}`; the client has its first message, and the others have been told.
    pub(crate) async fn connect(http: SocketAddr, address: &str) -> Self {
        Self::over(open(http, address).await.unwrap_or_else(|error| panic!("{address}: {error}"))).await
    }

    /// A client on a connection of which somebody else has read the first message.
    pub(crate) fn after_first(socket: Socket) -> Self {
        Self { socket, early: VecDeque::new(), established: Value::Null, pings: 0 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a connection that was just opened; it has its first message, and the others have been told.
    pub(crate) async fn over(socket: WebSocketStream<S>) -> Self {
        let mut client = Self { socket, early: VecDeque::new(), established: Value::Null, pings: 0 };
        client.established = client.next().await;
        assert_eq!(client.established["type"], "connection_established");
        client.settle().await;
        client
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text, whatever it is.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends a message of any kind.
    pub(crate) async fn send_message(&mut self, message: Message) {
        within("sending", self.socket.send(message)).await.expect("the connection is open");
    }

    /// Sends a text many times, and only then hands them to the connection.
    pub(crate) async fn send_burst(&mut self, text: &str, times: usize) {
        let messages = stream::iter((0..times).map(|_| Ok(Message::text(text))));
        within("sending", self.socket.send_all(&mut { messages })).await.expect("the connection is open");
    }

    /// Says that nothing more will be sent, below the WebSocket.
    pub(crate) async fn half_close(&mut self) {
        self.socket.get_mut().shutdown().await.expect("the connection is open");
    }

    /// Hears everything from now on, nothing missing, until the service goes away: it says from where to come back, and closes. Gives
    /// the places.
    pub(crate) async fn listen_to_the_end(mut self) -> Vec<u64> {
        let mut heard = Vec::new();
        loop {
            let message = self.next().await;
            let last = heard.last().copied();
            let seq = message["seq"].as_u64().unwrap_or_else(|| panic!("no place: {message}"));
            if message["type"] == "reconnect" {
                assert!(last.is_none_or(|last| seq == last), "{last:?}: {message}");
                break;
            }
            assert!(last.is_none_or(|last| seq == last + 1), "{last:?}: {message}");
            heard.push(seq);
        }
        assert_eq!(self.close_code().await, 1001);
        self.ends().await;
        heard
    }

    /// Asserts that the server has nothing more to say.
    pub(crate) async fn ends(mut self) {
        let end = within("the end of the connection", self.socket.next()).await;
        // The server hangs up when it was answered; the answer may come to nothing on its way.
        let hung_up = matches!(&end, Some(Err(Error::Io(error))) if error.kind() == ErrorKind::BrokenPipe);
        assert!(end.is_none() || hung_up, "came after the close frame: {end:?}");
    }

    /// Sends a message and gives its answer, which must be the next thing that comes.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    /// Waits until all that was sent before is done and told to whom it concerns. What comes meanwhile stays to be read.
    pub(crate) async fn settle(&mut self) {
        self.send(json!({ "type": "ping" })).await;
        loop {
            let text = self.receive().await;
            if text.starts_with(r#"{"type":"pong""#) {
                return;
            }
            self.early.push_back(text);
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        let text = self.next_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The next message, as it was written.
    pub(crate) async fn next_text(&mut self) -> String {
        match self.early.pop_front() {
            Some(text) => text,
            None => self.receive().await,
        }
    }

    /// The next message of a type; others are passed over.
    pub(crate) async fn next_of_type(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The next `count` messages, which must be notifications, as their places.
    pub(crate) async fn next_seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(count);
        while seqs.len() < count {
            let message = self.next().await;
            assert_eq!(message["type"], "system_notification", "{message}");
            seqs.push(message["seq"].as_u64().expect("a place"));
        }
        seqs
    }

    /// Asserts that the next thing to come is the notification with the place `marker`, and thereby nothing else.
    pub(crate) async fn expect_nothing_before(&mut self, marker: u64) {
        let next = self.next().await;
        assert_eq!(next["seq"], marker, "came before the marker: {next}");
    }

    /// Passes over messages until the server closes, and gives the close code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }

    /// Reads until the server has pinged `count` times.
    pub(crate) async fn await_pings(&mut self, count: usize) {
        let enough = self.pings + count;
        while self.pings < enough {
            if let Message::Text(text) = self.frame().await {
                self.early.push_back(text.as_str().to_owned());
            }
        }
    }

    /// Answers pings until `done`, and gives what that gives.
    pub(crate) async fn answer_pings_until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let pings = async {
            loop {
                self.await_pings(1).await;
            }
        };
        tokio::select! {
            done = done => done,
            () = pings => unreachable!("it goes on"),
        }
    }

    /// Closes the connection and waits until the server has, too.
    pub(crate) async fn close(mut self) {
        let closing = async {
            self.socket.close(None).await.expect("the connection is open");
            while self.socket.next().await.is_some_and(|message| message.is_ok()) {}
        };
        within("the end of the connection", closing).await;
    }

    async fn receive(&mut self) -> String {
        loop {
            match self.frame().await {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Message {
        let frame = within("a message", self.socket.next()).await.expect("the connection is open");
        let frame = frame.expect("a frame");
        self.pings += usize::from(frame.is_ping());
        frame
    }
}
