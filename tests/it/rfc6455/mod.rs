//! Conformance to RFC 6455, section by section, byte by byte over bare sockets.
//!
//! Every case states what the client sends and all that the server answers. After each one a bystander must still
//! receive what is published.

mod closing;
mod fragmentation;
pub(crate) mod frame;
mod framing;
mod handshake;
mod utf8;

use serde_json::{Value, json};

use crate::support::{Client, Frame, RawSocket, TestApp};
use frame::{FIN, TEXT, masked};

/// What the server says to a case.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    /// A message of this type.
    Message(String),
    Pong(Vec<u8>),
    /// A close frame, with its code if it has one. Nothing comes after it but the end of the connection.
    Close(Option<u16>),
}

impl From<Frame> for Answer {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Pong(content) => Self::Pong(content),
            Frame::Close(code) => Self::Close(code),
            other => message(&kind(other)),
        }
    }
}

fn message(kind: &str) -> Answer {
    Answer::Message(kind.to_owned())
}

/// One thing that a client may do, and all that comes of it. Where nothing is closed, the connection must live on.
#[derive(Debug)]
struct Case {
    what: String,
    sends: Vec<u8>,
    answers: Vec<Answer>,
}

impl Case {
    fn new(what: impl Into<String>, sends: impl Into<Vec<u8>>, answers: impl Into<Vec<Answer>>) -> Self {
        Self { what: what.into(), sends: sends.into(), answers: answers.into() }
    }

    /// The server closes with `code` and says nothing else.
    fn closes(what: impl Into<String>, sends: impl Into<Vec<u8>>, code: u16) -> Self {
        Self::new(what, sends, [Answer::Close(Some(code))])
    }
}

/// A server with a client that is connected throughout and hears what is said in `general`.
#[derive(Debug)]
struct Bench {
    app: TestApp,
    bystander: Client,
}

impl Bench {
    async fn start() -> Self {
        let app = TestApp::start_with(|config| config.egress.max_chat_bytes = config.egress.max_message_bytes).await;
        let bystander = app.connect("bystander").await;
        Self { app, bystander }
    }

    /// A client of whom nobody is told, for it is alone in its room.
    async fn client(&self) -> RawSocket {
        self.client_in("alone").await
    }

    async fn client_in(&self, room: &str) -> RawSocket {
        let mut raw = RawSocket::connect(self.app.http(), &format!("raw?room={room}")).await;
        assert_eq!(kind(raw.next().await), "connection_established");
        raw
    }

    /// Asserts that all is as it was for everybody else.
    async fn unharmed(&mut self) {
        let marker = self.app.mark().await;
        assert_eq!(self.bystander.next_of_type("system_notification").await["seq"], marker);
    }

    async fn check(&mut self, case: Case) {
        eprintln!("{}", case.what);
        let mut raw = self.client().await;
        raw.write(&case.sends).await;
        let mut closed = false;
        for expected in case.answers {
            let answer = Answer::from(raw.next().await);
            assert_eq!(answer, expected);
            closed = matches!(answer, Answer::Close(_));
        }
        if closed {
            raw.ends().await;
        } else {
            raw.write(&masked(FIN | TEXT, br#"{"type":"ping"}"#)).await;
            assert_eq!(kind(raw.next().await), "pong");
        }
        self.unharmed().await;
    }
}

/// Runs every case against one server. The name of the last one that is printed is the one that fails.
async fn check(cases: impl IntoIterator<Item = Case>) {
    let mut bench = Bench::start().await;
    for case in cases {
        bench.check(case).await;
    }
}

/// The type of a message.
fn kind(frame: Frame) -> String {
    let Frame::Text(text) = frame else { panic!("not a message: {frame:?}") };
    let message: Value = serde_json::from_str(&text).expect("JSON");
    message["type"].as_str().expect("a type").to_owned()
}

/// A message that says `text` to the room.
fn chat(text: &str) -> Vec<u8> {
    json!({ "type": "chat_message", "message": text }).to_string().into_bytes()
}
