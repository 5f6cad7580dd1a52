//! Floods: what clients do that mean no good. Each is a function, and goes on until its [`Flood`] is dropped: whoever is hung up
//! on comes back, though no faster than the flood is told to.
//!
//! The tests share them with `benches/floods`, so nothing here knows of either. What a server of this machine is flooded from are
//! several of its addresses: a single one has too few ports for thousands of connections that come and go.

pub(crate) mod beside;
mod http;
mod http2;
mod websocket;

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, Interest},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

pub(crate) use beside::{Publisher, WAYS, Way};

/// The room that everybody hears, healthy clients too. Slow readers and unread subscriptions listen to it.
pub(crate) const LIVE: &str = "live";

/// The room in which the flood of chats is. A healthy client may be in it.
pub(crate) const SIDE: &str = "side";

/// The room whose history is read; its notifications ought to be large.
pub(crate) const LARGE: &str = "large";

/// From how many addresses of this machine a flood comes.
const ADDRESSES: u64 = 64;

/// How much of its time a flood may catch up with when it was held up.
const CREDIT: Duration = Duration::from_millis(20);

/// How long whoever reads nothing stays: it could not see that the server hung up.
const UNREAD_LIFE: Duration = Duration::from_secs(40);

/// What the system takes in for whoever reads nothing: about as much, and segments as large as on a real network.
const UNREAD_BUFFER: u32 = 4_096;
const UNREAD_SEGMENT: u32 = 1_400;

/// What one connection of a flood does, until the server hangs up.
type Attack = for<'a> fn(&'a Attacker) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// A kind of flood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What it is called.
    pub(crate) name: &'static str,
    /// How many connections it has at its full size.
    pub(crate) connections: usize,
    attack: Attack,
}

/// All kinds.
pub(crate) const ALL: &[Kind] = &[
    Kind { name: "silent", connections: 10_000, attack: |it| Box::pin(http::silent(it)) },
    Kind { name: "silent-grpc", connections: 1_000, attack: |it| Box::pin(http::silent_grpc(it)) },
    Kind { name: "slow-heads", connections: 500, attack: |it| Box::pin(http::slow_heads(it)) },
    Kind { name: "bad-tokens", connections: 50, attack: |it| Box::pin(http::bad_tokens(it)) },
    Kind { name: "unread-history", connections: 100, attack: |it| Box::pin(http::unread_history(it)) },
    Kind { name: "pings-answered", connections: 1_000, attack: |it| Box::pin(http2::pings_answered(it)) },
    Kind { name: "unfinished-health", connections: 10, attack: |it| Box::pin(http2::unfinished_health(it)) },
    Kind { name: "unfinished-publishes", connections: 10, attack: |it| Box::pin(http2::unfinished_publishes(it)) },
    Kind { name: "unread-subscriptions", connections: 50, attack: |it| Box::pin(http2::unread_subscriptions(it)) },
    Kind { name: "rapid-reset", connections: 20, attack: |it| Box::pin(http2::rapid_reset(it)) },
    Kind { name: "fragments", connections: 20, attack: |it| Box::pin(websocket::fragments(it)) },
    Kind { name: "unfinished-messages", connections: 1_000, attack: |it| Box::pin(websocket::unfinished_messages(it)) },
    Kind { name: "chats", connections: 20, attack: |it| Box::pin(websocket::chats(it)) },
    Kind { name: "slow-readers", connections: 100, attack: |it| Box::pin(websocket::slow_readers(it)) },
    Kind { name: "come-and-go", connections: 200, attack: |it| Box::pin(websocket::come_and_go(it)) },
];

/// The server that is flooded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Where HTTP and WebSocket are.
    pub(crate) http: SocketAddr,
    /// Where gRPC is.
    pub(crate) grpc: SocketAddr,
    /// A token that may publish and subscribe: one of its owners may be hostile, too.
    pub(crate) token: &'static str,
}

/// A flood that goes on. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Flood {
    connections: u32,
    openings: Arc<AtomicU64>,
    standing: Arc<Semaphore>,
    _attackers: JoinSet<()>,
}

impl Flood {
    /// Begins one with so many connections, of which at most `openings` are opened a second.
    pub(crate) fn start(kind: Kind, target: Target, connections: usize, openings: u32) -> Self {
        let pace = Arc::new(Pace { next: Mutex::new(Instant::now()), between: Duration::from_secs(1) / openings });
        let (opened, standing) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let mut attackers = JoinSet::new();
        for number in 0..connections {
            let attacker = Attacker {
                target,
                number,
                pace: Arc::clone(&pace),
                openings: Arc::clone(&opened),
                standing: Arc::clone(&standing),
                stood: AtomicBool::new(false),
            };
            attackers.spawn(attacker.go_on(kind.attack));
        }
        let connections = u32::try_from(connections).expect("no more than there are ports");
        Self { connections, openings: opened, standing, _attackers: attackers }
    }

    /// Returns when each of its connections has done once what it came for, or was hung up on.
    pub(crate) async fn stands(&self) {
        let all = self.standing.acquire_many(self.connections).await;
        drop(all.expect("the semaphore is never closed"));
    }

    /// How many connections it has opened so far.
    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }
}

/// So many a second, all in all.
#[derive(Debug)]
struct Pace {
    next: Mutex<Instant>,
    between: Duration,
}

impl Pace {
    async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now() - CREDIT);
            *next = turn + self.between;
            turn
        };
        sleep_until(turn).await;
    }
}

/// One of those who flood: it has one connection at a time.
#[derive(Debug)]
struct Attacker {
    target: Target,
    number: usize,
    pace: Arc<Pace>,
    openings: Arc<AtomicU64>,
    standing: Arc<Semaphore>,
    stood: AtomicBool,
}

impl Attacker {
    async fn go_on(self, attack: Attack) {
        loop {
            // What the server does about it is the server's to say: whoever is refused comes back.
            let _ = attack(&self).await;
            self.stands();
        }
    }

    /// It has done what it came for, or could not.
    fn stands(&self) {
        if !self.stood.swap(true, Ordering::Relaxed) {
            self.standing.add_permits(1);
        }
    }

    /// Opens a connection, in its turn.
    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.dial(to, |_| Ok(())).await
    }

    /// The same for one that nothing will be read from.
    async fn connect_to_read_nothing(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.dial(to, |socket| {
            socket.set_recv_buffer_size(UNREAD_BUFFER)?;
            SockRef::from(socket).set_tcp_mss(UNREAD_SEGMENT)
        })
        .await
    }

    async fn dial(&self, to: SocketAddr, prepare: impl Fn(&TcpSocket) -> io::Result<()>) -> io::Result<TcpStream> {
        self.pace.turn().await;
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if to.ip() == Ipv4Addr::LOCALHOST {
            let machine = u8::try_from(opening % ADDRESSES).expect("there are few") + 1;
            socket.bind(SocketAddr::from(([127, 66, 66, machine], 0)))?;
        }
        prepare(&socket)?;
        socket.connect(to).await
    }
}

/// Reads until the server hangs up.
async fn until_the_end(mut stream: TcpStream) -> io::Result<()> {
    let mut scrap = [0; 4_096];
    while stream.read(&mut scrap).await? > 0 {}
    Ok(())
}

/// Reads nothing, until the server resets the connection or it has been there for long.
async fn read_nothing(stream: TcpStream) -> io::Result<()> {
    let reset = stream.ready(Interest::ERROR);
    timeout(UNREAD_LIFE, reset).await.map_or(Ok(()), |ready| ready.map(|_| ()))
}
