//! A journal whose disk hangs: who waits for it holds up nobody else and no end of its own, and is not taken for silent.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::System,
    config::Config,
    domain::{Audience, ClientId, Durability, Ephemeral, Epoch, Event, Interest, Payload},
    egress::{
        Clients, Sessions,
        session::{MAX_CONCURRENT_OPEN_CLOSE, SessionHandle},
        ws::{Server, router},
    },
    gate::{Gate, GateLayer},
    journal::{Append, Attend, Attendance, Bounds, Entry, Error, Incarnation, Memory, Page, Query, Read, Relay},
    listen,
    peers::Alone,
    rooms,
    wire::status::Close,
};

/// A journal on a disk that answers a few times and then hangs, until it is well.
#[derive(Debug)]
struct Hung {
    memory: Memory,
    /// How often it still answers.
    answers: AtomicU32,
    /// Grows by one with each that begins to read in vain.
    reading: Semaphore,
    well: CancellationToken,
}

impl Incarnation for Hung {
    fn epoch(&self) -> Epoch {
        self.memory.epoch()
    }
}

#[async_trait]
impl Read for Hung {
    fn bounds(&self) -> Bounds {
        self.memory.bounds()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        let answers = self.answers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if answers.is_err() {
            self.reading.add_permits(1);
            self.well.cancelled().await;
        }
        self.memory.read(query).await
    }

    async fn count(&self, audiences: Vec<Audience>, after: u64, until: u64) -> Result<u64, Error> {
        self.memory.count(audiences, after, until).await
    }
}

#[async_trait]
impl Relay for Hung {
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error> {
        self.memory.relay(frame).await
    }
}

#[async_trait]
impl Attend for Hung {
    async fn attend(&self, interests: &[Interest], since: Option<u64>) -> Result<Attendance, Error> {
        self.memory.attend(interests, since).await
    }
}

/// A service on such a journal.
struct Scene {
    journal: Arc<Hung>,
    clients: Clients,
    address: SocketAddr,
}

impl Scene {
    async fn new() -> Self {
        let config = Config::defaults();
        let clock = Arc::new(System::default());
        let memory = Memory::new(&config.journal, clock.clone());
        let journal =
            Hung { memory, answers: AtomicU32::new(0), reading: Semaphore::new(0), well: CancellationToken::new() };
        let journal = Arc::new(journal);
        let keys = config.gate.keys().expect("no keys");
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock.clone());
        let (_, rooms) = rooms::split(NonZeroUsize::MIN);
        let (stopping, tasks, clients) = (CancellationToken::new(), TaskTracker::new(), Clients::new(100));
        let sessions = Sessions::new(
            &config.egress,
            clients.clone(),
            (rooms, Arc::new(Alone)),
            Arc::clone(&journal) as _,
            gate.clone(),
            stopping.clone(),
            clock,
        );
        let server =
            Server::new(&config.egress, sessions, (journal.clone(), journal.clone()), gate.clone(), tasks.clone());
        let router = router(server).layer(GateLayer::http(gate));
        let socket = listen::bind("127.0.0.1", 0).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let listener = listen::Listener::plain(socket);
        tasks.spawn(listen::serve_http(listener, router, config.listen.clone(), stopping, tasks.clone()));
        Self { journal, clients, address }
    }

    /// A client that comes back after the first place.
    async fn resume(&self, client_id: &str) -> Client {
        let epoch = self.journal.epoch();
        connect(&format!("ws://{}/ws/{client_id}?since=0&epoch={epoch}", self.address)).await
    }

    /// A client that came back and had a page of what it missed, and waits for the next one.
    async fn behind(&self, client_id: &str) -> (Client, Arc<dyn SessionHandle>) {
        // More than a page, of which the first comes with the beginning.
        const MISSED: usize = 300;
        let payload = Payload::parse("{}".into()).expect("an object");
        let event = Event { name: "e".into(), payload, timestamp: "".into(), source: "".into() };
        let audiences = Audience::Everyone.into();
        let entry = Entry { event, audiences, key: None, expires_at: None, durability: Durability::Memory };
        self.journal.memory.append(vec![entry; MISSED]).await.expect("kept");
        self.journal.answers.fetch_add(1, Ordering::Relaxed);
        let client = self.resume(client_id).await;
        self.until_reading(1).await;
        let client_id = ClientId::parse(client_id).expect("a name");
        (client, self.clients.get(&client_id).expect("it is there"))
    }

    /// Waits until so many read in vain.
    async fn until_reading(&self, count: u32) {
        let reading = timeout(PATIENCE, self.journal.reading.acquire_many(count)).await.expect("they read");
        reading.expect("the semaphore is never closed").forget();
    }
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(address: &str) -> Client {
    connect_async(address).await.expect("a handshake").0
}

/// What comes next; `None` at the end of the connection.
async fn next(client: &mut Client) -> Option<Message> {
    let next = timeout(PATIENCE, client.next()).await.expect("nothing holds it up");
    next.map(|message| message.expect("the connection is open"))
}

#[tokio::test]
async fn whoever_waits_for_the_journal_holds_nobody_up() {
    let scene = Scene::new().await;
    let mut waiting = Vec::new();
    for number in 0..MAX_CONCURRENT_OPEN_CLOSE {
        waiting.push(scene.resume(&format!("waits-{number}")).await);
    }
    scene.until_reading(u32::try_from(MAX_CONCURRENT_OPEN_CLOSE).expect("a small number")).await;

    let mut ana = connect(&format!("ws://{}/ws/ana", scene.address)).await;
    let first = next(&mut ana).await.expect("a message");
    assert!(first.to_text().expect("text").contains("connection_established"));
}

#[tokio::test]
async fn whoever_is_sent_away_does_not_wait_for_the_journal() {
    let scene = Scene::new().await;
    let (mut ana, handle) = scene.behind("ana").await;
    handle.close(Close::Disconnected);
    while next(&mut ana).await.is_some_and(|message| !message.is_close()) {}
    assert!(next(&mut ana).await.is_none(), "it is hung up on");
    assert!(scene.clients.is_empty(), "it left before");
}

// nobody listens to them while the journal hangs; both are pinged meanwhile, and one answers
#[tokio::test]
async fn whoever_answers_is_not_silent_for_not_being_listened_to() {
    let scene = Scene::new().await;
    let ((mut ana, ana_handle), (mut luz, luz_handle)) = (scene.behind("ana").await, scene.behind("luz").await);
    for handle in [&ana_handle, &luz_handle] {
        (0..3).for_each(|_| handle.check_liveness(Instant::now(), true, PATIENCE));
    }
    while !next(&mut ana).await.expect("it is open").is_ping() {}
    timeout(PATIENCE, ana.flush()).await.expect("it answers").expect("it is open");
    assert!(ana_handle.is_open() && luz_handle.is_open(), "nobody knows yet");

    scene.journal.well.cancel();
    ana.send(Message::text(r#"{"type":"ping"}"#)).await.expect("it is open");
    let mut missed = 0;
    loop {
        let message = next(&mut ana).await.expect("it is open");
        let text = message.to_text().expect("it goes on");
        match text.contains("system_notification") {
            true => missed += 1,
            false => break assert!(text.contains("pong"), "{text}"),
        }
    }
    assert!(missed > 0 && ana_handle.is_open());
    let close = loop {
        if let Some(Message::Close(close)) = next(&mut luz).await {
            break close.expect("a code");
        }
    };
    assert_eq!(u16::from(close.code), 4101);
}
