//! Sessions that nothing carries: their handles write down what they are told.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use http::{Request, Uri};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{registry::ConnectionId, *};
use crate::{
    clock::Manual,
    config::Config,
    domain::{Break, Delivery, KeyOwner, RoomId, UserId},
    gate::{Carriers, Credential, Identity, Patterns, SubscribeScope},
    journal::Memory,
    peers::Alone,
    rooms,
    wire::{client::ClientMessage, status::Close},
};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A permit to hear everything, by a token of this user that ends then.
pub(super) fn token(user: Option<&str>, expires_at: Option<i64>) -> SubscribeScope {
    SubscribeScope::of(Arc::new(Identity {
        credential: Credential::Jwt(user.map(|user| UserId::parse(user).expect("a name"))),
        key_owner: KeyOwner::NOBODY,
        grant: None,
        rooms: Patterns::all(),
        expires_at,
        certificate: None,
        issued_at: None,
        token_id: None,
    }))
}

/// What a handle was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Close(Close),
    Reconnect(Duration),
    Expired(Duration),
    Ping,
}

/// A handle that carries its session nowhere.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) session: Session,
    told: Mutex<Vec<Told>>,
    /// Its client was told that it is connected.
    listens: AtomicBool,
}

impl Recorder {
    fn tell(&self, what: Told) {
        self.told.lock().push(what);
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().clone()
    }
}

impl SessionHandle for Recorder {
    fn session(&self) -> &Session {
        &self.session
    }

    fn is_open(&self) -> bool {
        !self.told.lock().iter().any(|told| matches!(told, Told::Close(_) | Told::Reconnect(..)))
    }

    fn close(&self, close: Close) {
        self.tell(Told::Close(close));
    }

    fn reconnect(&self, after: Duration) {
        self.tell(Told::Reconnect(after));
    }

    fn tell_expired(&self, grace: Duration) -> bool {
        let listens = self.listens.load(Ordering::Relaxed);
        if listens {
            self.tell(Told::Expired(grace));
        }
        listens
    }

    fn check_liveness(&self, _: Instant, ping: bool, _: Duration) {
        if ping {
            self.tell(Told::Ping);
        }
    }
}

impl Member for Recorder {
    fn enqueue(&self, _: &Delivery) -> bool {
        false
    }

    fn interrupt(&self, _: &Break) -> bool {
        false
    }

    fn flush(&self) {}

    fn name(&self) -> &str {
        self.session.client_id().as_str()
    }
}

/// The sessions of a service that serves nobody.
pub(super) struct Scene {
    config: Config,
    clock: Arc<Manual>,
    pub(super) clients: Clients,
    rooms: rooms::Reader,
    gate: Gate,
    sessions: Sessions,
}

impl Scene {
    pub(super) fn new() -> Self {
        let config = Config::defaults();
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let (_, rooms) = rooms::split(NonZeroUsize::MIN);
        let journal = Arc::new(Memory::new(&config.journal, clock.clone()));
        let keys = config.gate.keys().expect("no keys");
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock.clone());
        let clients = Clients::new(1_000);
        let sessions = Sessions::new(
            &config.egress,
            clients.clone(),
            (rooms.clone(), Arc::new(Alone)),
            journal,
            gate.clone(),
            CancellationToken::new(),
            clock.clone(),
        );
        Self { config, clock, clients, rooms, gate, sessions }
    }

    /// A session of a client that asked with this query.
    pub(super) fn session(&self, client_id: &str, query: &str, permit: SubscribeScope) -> Arc<Recorder> {
        let uri: Uri = format!("/?{query}").parse().expect("an address");
        let request = ConnectRequest::read(client_id, &uri, 64, (ADDRESS, permit)).expect("a request");
        let session = self.sessions.session(&request);
        Arc::new(Recorder { session, told: Mutex::default(), listens: AtomicBool::new(true) })
    }

    /// Enters one; under its client id, or without it.
    pub(super) async fn enter(
        &self,
        handle: &Arc<Recorder>,
        holds_id: bool,
    ) -> Result<Option<ConnectionId>, ClientIdTaken> {
        let claim = match holds_id {
            true => Some(self.clients.claim(handle.session.client_id(), None).await.expect("anybody may claim it")),
            false => None,
        };
        let replaced = self.clients.enter(claim, Arc::clone(handle) as _).await?;
        Ok(replaced.map(|replaced| replaced.session().id()))
    }

    /// Enters so many sessions, of which every third holds no client id. Names begin with the last.
    pub(super) async fn enter_many(&self, count: u64) -> Vec<Arc<Recorder>> {
        let mut handles = Vec::new();
        for number in 0..count {
            let handle = self.session(&format!("c{:05}", 99_999 - number), "", SubscribeScope::OPEN);
            self.enter(&handle, number % 3 != 0).await.expect("nobody has it");
            handles.push(handle);
        }
        handles
    }
}

#[tokio::test]
async fn everybody_is_sent_away_whether_it_holds_an_id_or_not_and_so_is_who_comes_later() {
    let scene = Scene::new();
    let handles = scene.enter_many(300).await;
    let late = scene.session("late", "", SubscribeScope::OPEN);
    scene.sessions.drain().send_latecomer_away(&*late);
    assert_eq!(late.told(), [], "nobody was sent away yet");
    scene.sessions.close_all().await;
    scene.sessions.drain().send_latecomer_away(&*late);
    for handle in handles.iter().chain([&late]) {
        let [Told::Reconnect(after)] = &handle.told()[..] else { panic!("{:?}", handle.told()) };
        assert!(*after <= scene.config.egress.drain_seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_pings_each_in_its_round_and_ends_those_whose_token_is_over() {
    const GRACE: Duration = Duration::from_secs(30);
    let scene = Scene::new();
    let options = Options { token_grace: GRACE, ..scene.config.egress.clone() };
    let clients = scene.clients.clone();
    let sweeping = KeepAlive::new(&options, clients, CancellationToken::new(), scene.clock.clone());
    let handles = scene.enter_many(150).await;
    for round in 0..5 {
        sweeping.sweep((round, 5)).await;
    }
    assert!(handles.iter().all(|handle| handle.told() == [Told::Ping]), "once each");

    let ends = scene.session("ends", "", token(None, Some(10)));
    ends.listens.store(false, Ordering::Relaxed);
    scene.enter(&ends, false).await.expect("free");
    // A round that is nobody's.
    let sweep = async || sweeping.sweep((5, 5)).await;
    scene.clock.step(TimeDelta::seconds(10));
    sweep().await;
    assert_eq!(ends.told(), [], "it cannot be told yet");
    ends.listens.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        sweep().await;
        assert_eq!(ends.told(), [Told::Expired(GRACE)]);
    }
    tokio::time::advance(GRACE).await;
    sweep().await;
    assert_eq!(ends.told(), [Told::Expired(GRACE), Told::Close(Close::Expired)]);
}

// a member of rooms has no list of them but the session's own
#[tokio::test]
async fn a_session_that_is_dropped_leaves_every_room_that_it_came_into() {
    let scene = Scene::new();
    let handle = scene.session("ana", "room=a&rooms=b,c&user_id=7", SubscribeScope::OPEN);
    let caller = scene.gate.caller(&Request::new(()), Carriers::Http);
    let admitted = scene.sessions.admission().admit(&caller).expect("there is room");
    let mut ana = scene.sessions.begin(Arc::clone(&handle), ADDRESS, admitted);
    ana.listen();
    let rooms = async || scene.rooms.rooms(10).await.0.into_keys().map(|room| room.to_string()).collect::<Vec<_>>();
    assert_eq!(rooms().await, ["a", "b", "c"]);
    for (message, due) in [
        (ClientMessage::Join(room("d")), ["b", "c", "d"].as_slice()),
        (ClientMessage::Join(room("c")), &["b", "c"]),
        (ClientMessage::Unsubscribe(room("b")), &["c"]),
        (ClientMessage::Subscribe(room("e")), &["c", "e"]),
    ] {
        let limits = SessionLimits::of(&scene.config.egress);
        let sender = Sender { client_id: handle.session.client_id(), limits, now: ana.now() };
        let effects = handle.session.machine().take_in(Ok(message), &sender);
        for effect in effects {
            match effect {
                Effect::Enter(room) => ana.enter_room(&room).await.expect("attends"),
                Effect::Leave(room) => ana.leave_room(&room),
                _ => {}
            }
        }
        assert_eq!(rooms().await, due);
        let mut listed: Vec<_> = handle.session.rooms().iter().map(ToString::to_string).collect();
        listed.sort();
        assert_eq!(listed, due);
    }
    drop(ana);
    assert_eq!(rooms().await, [""; 0]);
    assert_eq!(Arc::strong_count(&handle), 1, "nobody holds it any more");
}

fn room(name: &str) -> RoomId {
    RoomId::parse(name).expect("a name")
}
