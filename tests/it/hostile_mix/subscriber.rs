//! A healthy subscriber: it reads all that comes, and comes back to where it was when it is cut off.

use std::time::Duration;

use exposia_notifications::wire::proto::v1::{
    Notification, Position, SubscribeRequest, notification_service_client::NotificationServiceClient,
};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::{sync::watch, time::interval};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use tonic::{Code, Request, Streaming};

use crate::support::{
    Socket,
    floods::{LIVE, SIDE, Target},
    within,
};

/// How soon one who was refused tries again.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The code that ends a WebSocket of one who takes nothing.
const TOO_SLOW: u16 = 4101;

/// By what somebody subscribes, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// WebSocket.
    WebSocket,
    /// WebSocket, and the room of the chats besides.
    WebSocketBesideChats,
    /// gRPC.
    Stream,
}

#[derive(Debug)]
enum Line {
    WebSocket(Box<Socket>),
    Stream(Box<Streaming<Notification>>),
}

/// What came.
enum Came {
    Notification(u64),
    /// Something else, which is well.
    Other,
    End,
}

/// A subscriber.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) name: String,
    /// The places of what it got, in the order in which it came, over all its connections.
    pub(super) got: Vec<u64>,
    /// How often it was cut off.
    pub(super) cuts: usize,
    /// How often as one who is too slow, which it never is.
    pub(super) called_slow: usize,
    by: By,
    target: Target,
    /// Where it began.
    begin: Option<(u64, String)>,
    line: Option<Line>,
}

impl Subscriber {
    /// One who is connected.
    pub(super) async fn connect(target: Target, by: By, number: usize) -> Self {
        let name = format!("healthy-{number}");
        let mut subscriber =
            Self { name, got: Vec::new(), cuts: 0, called_slow: 0, by, target, begin: None, line: None };
        subscriber.open().await.unwrap_or_else(|refusal| panic!("{}: {refusal}", subscriber.name));
        subscriber
    }

    /// Listens until it has the notification that `end` names, and gives itself.
    pub(super) async fn listen(mut self, mut end: watch::Receiver<Option<u64>>) -> Self {
        loop {
            let came = tokio::select! {
                came = self.next() => came,
                _ = end.changed() => Came::Other,
            };
            match came {
                Came::Notification(seq) => self.got.push(seq),
                Came::Other => {}
                Came::End => self.come_back().await,
            }
            let end = *end.borrow();
            if end.is_some_and(|end| self.got.last() >= Some(&end)) {
                return self;
            }
        }
    }

    async fn come_back(&mut self) {
        self.cuts += 1;
        let mut tries = interval(BETWEEN_TRIES);
        loop {
            tries.tick().await;
            match self.open().await {
                Ok(()) => return,
                Err(refusal) => eprintln!("{} was refused: {refusal}", self.name),
            }
        }
    }

    /// Connects behind what it has.
    async fn open(&mut self) -> Result<(), String> {
        let since = self.begin.clone().map(|(begin, epoch)| (self.got.last().map_or(begin, |seq| *seq), epoch));
        match self.by {
            By::WebSocket => self.open_web_socket(LIVE.to_owned(), since).await,
            By::WebSocketBesideChats => self.open_web_socket(format!("{LIVE}&rooms={SIDE}"), since).await,
            By::Stream => self.open_stream(since).await,
        }
    }

    async fn open_web_socket(&mut self, rooms: String, since: Option<(u64, String)>) -> Result<(), String> {
        let (name, comes_back) = (&self.name, since.is_some());
        let since = since.map_or(String::new(), |(seq, epoch)| format!("&since={seq}&epoch={epoch}"));
        let address = format!("ws://{}/ws/{name}?room={rooms}{since}", self.target.http);
        let (mut socket, _) = within("a handshake", connect_async(address)).await.map_err(|error| error.to_string())?;
        let first = within("the first message", socket.next()).await;
        let Some(Ok(Message::Text(first))) = first else { return Err(format!("cut off at once: {first:?}")) };
        let established: Value = serde_json::from_str(&first).expect("JSON");
        assert_eq!(established["type"], "connection_established", "{established}");
        assert!(!comes_back || established["recovered"] == true, "{name} does not recover: {established}");
        let epoch = established["epoch"].as_str().expect("an epoch").to_owned();
        self.begin.get_or_insert((established["seq"].as_u64().expect("a place"), epoch));
        self.line = Some(Line::WebSocket(Box::new(socket)));
        Ok(())
    }

    async fn open_stream(&mut self, since: Option<(u64, String)>) -> Result<(), String> {
        let address = format!("http://{}", self.target.grpc);
        let connecting = within("a connection", NotificationServiceClient::connect(address)).await;
        let mut client = connecting.map_err(|error| format!("{error:?}"))?;
        let since = since.map(|(sequence, epoch)| Position { sequence, epoch });
        let rooms = vec![LIVE.to_owned()];
        let mut request = Request::new(SubscribeRequest { rooms, since, ..SubscribeRequest::default() });
        let credential = format!("Bearer {}", self.target.token).parse().expect("a header value");
        request.metadata_mut().insert("authorization", credential);
        let answer = within("a stream", client.subscribe(request)).await.map_err(|status| format!("{status:?}"))?;
        let header = |name| answer.metadata().get(name).and_then(|value| value.to_str().ok()).expect("a header");
        let begin = header("x-sequence").parse().expect("a place");
        self.begin.get_or_insert((begin, header("x-epoch").to_owned()));
        self.line = Some(Line::Stream(Box::new(answer.into_inner())));
        Ok(())
    }

    async fn next(&mut self) -> Came {
        let Some(line) = &mut self.line else { return Came::End };
        let socket = match line {
            Line::WebSocket(socket) => socket,
            Line::Stream(stream) => {
                return match stream.message().await {
                    Ok(Some(notification)) => Came::Notification(notification.sequence),
                    Ok(None) => Came::End,
                    Err(status) => {
                        eprintln!("{}: {status:?}", self.name);
                        self.called_slow += usize::from(status.code() == Code::DataLoss);
                        Came::End
                    }
                };
            }
        };
        match socket.next().await {
            Some(Ok(Message::Text(text))) => self.came(&text),
            Some(Ok(Message::Close(Some(frame)))) => {
                self.called_slow += usize::from(u16::from(frame.code) == TOO_SLOW);
                Came::Other
            }
            Some(Ok(_)) => Came::Other,
            Some(Err(_)) | None => Came::End,
        }
    }

    fn came(&self, text: &str) -> Came {
        let message: Value = serde_json::from_str(text).expect("JSON");
        match message["type"].as_str() {
            Some("system_notification") => Came::Notification(message["seq"].as_u64().expect("a place")),
            Some("gap") => panic!("{} was told of a gap: {message}", self.name),
            _ => Came::Other,
        }
    }
}
