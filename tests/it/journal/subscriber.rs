//! A WebSocket client that remembers where it was.

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::service::{Home, within};

pub(super) struct Subscriber {
    name: String,
    pub(super) user: String,
    pub(super) room: String,
    /// The first place that it may get.
    pub(super) from: u64,
    epoch: String,
    /// The places of all it got, in the order they came, over all its connections.
    pub(super) got: Vec<u64>,
    socket: Option<WebSocketStream<MaybeTlsStream<TcpStream>>>,
}

impl Subscriber {
    /// One that has seen everything up to `since`, at some other time, and is not connected.
    pub(super) fn absent(name: &str, user: &str, room: &str, since: u64, epoch: &str) -> Self {
        Self {
            name: name.to_owned(),
            user: user.to_owned(),
            room: room.to_owned(),
            from: since + 1,
            epoch: epoch.to_owned(),
            got: Vec::new(),
            socket: None,
        }
    }

    pub(super) async fn connect(home: &Home, name: &str, user: &str, room: &str) -> Self {
        let mut subscriber = Self::absent(name, user, room, 0, "");
        let established = subscriber.open(home, "").await;
        subscriber.from = established["seq"].as_u64().expect("a place") + 1;
        subscriber.epoch = established["epoch"].as_str().expect("an epoch").to_owned();
        subscriber
    }

    /// Connects again behind what it got last; the journal must know that place.
    pub(super) async fn resume(&mut self, home: &Home) {
        let since = self.got.last().map_or(self.from - 1, |seq| *seq);
        let established = self.open(home, &format!("&since={since}&epoch={}", self.epoch)).await;
        assert_eq!(established["recovered"], true, "{} after {since}: {established}", self.name);
    }

    /// Forgets what it got up to now, but not where it is.
    pub(super) fn forget(&mut self) {
        if let Some(last) = self.got.drain(..).next_back() {
            self.from = last + 1;
        }
    }

    /// Connects again behind what it got last, to a journal that cannot catch it up. What it got so far is forgotten.
    pub(super) async fn start_anew(&mut self, home: &Home) {
        let since = self.got.last().map_or(self.from - 1, |seq| *seq);
        let established = self.open(home, &format!("&since={since}&epoch={}", self.epoch)).await;
        assert_eq!(established["recovered"], false, "{} after {since}: {established}", self.name);
        self.from = established["seq"].as_u64().expect("a place") + 1;
        self.epoch = established["epoch"].as_str().expect("an epoch").to_owned();
        self.got.clear();
    }

    async fn open(&mut self, home: &Home, since: &str) -> Value {
        let Self { name, user, room, .. } = self;
        let address = format!("ws://{}/ws/{name}?user_id={user}&room={room}{since}", home.http());
        let (socket, _) = within("a connection", connect_async(address)).await.expect("connects");
        self.socket = Some(socket);
        let established = within("the first message", self.next()).await.expect("a message");
        assert_eq!(established["type"], "connection_established");
        established
    }

    /// The next message; `None` when the connection is gone.
    pub(super) async fn next(&mut self) -> Option<Value> {
        let socket = self.socket.as_mut()?;
        loop {
            match socket.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Notes what comes until the connection is gone, or until it has `until` notifications.
    pub(super) async fn listen(&mut self, until: usize) {
        while self.got.len() < until {
            let Some(message) = self.next().await else { return };
            match message["type"].as_str() {
                Some("system_notification") => self.got.push(message["seq"].as_u64().expect("a place")),
                Some("gap") => panic!("{} was told of a gap: {message}", self.name),
                _ => {}
            }
        }
    }
}
