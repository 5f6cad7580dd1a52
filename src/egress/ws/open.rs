//! The beginning and the end of a session: who takes whose place, who is told, what is delivered first.

use std::{net::IpAddr, pin::pin, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::future::poll_immediate;
use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use tracing::{Instrument, Span};

use crate::{
    domain::{Audience, Content, Ephemeral, RoomId},
    egress::{
        catch_up::{self, How},
        session::{
            machine::{self, Session},
            registry::{Claim, Taken},
        },
        ws::{
            Connection, Outgoing, Sockets,
            handshake::Hello,
            message_limiter::Allowance,
            protocol::{Limits, Protocol},
            pump, session_span,
        },
    },
    gate::{Denied, Permit, Place},
    listen::Socket,
    rooms::{Interest, Subscription},
    wire::{
        frame,
        status::Close,
        text::{self, Established, Recovery},
    },
};

/// The places that a session takes: one of all, and one of those of its address and user.
pub(super) type Places = (OwnedSemaphorePermit, Place);

/// Begins a session and leaves it to a task of its own, which holds nothing that only the beginning needed: there may be
/// a hundred thousand of them, and most of them wait.
pub(super) async fn run(
    sockets: Sockets,
    (hello, claim): (Hello, Claim),
    socket: Socket,
    head: Vec<u8>,
    places: Places,
) {
    let turn = sockets.turn().await;
    let options = sockets.0.options.clone();
    let session = Session::new(
        hello.client_id.clone(),
        hello.room.clone(),
        hello.rooms.clone(),
        machine::Limits::of(&options),
        hello.permit.clone(),
    );
    let connection = Connection::new(
        rand::random(),
        (hello.client_id.clone(), hello.user_id.clone(), hello.permit.clone()),
        session.rooms(),
        socket,
        options.send_queue_bytes.get(),
        Arc::clone(&sockets.0.clock),
    );
    let connection = Arc::new(connection.deflating(hello.deflates).dialled(hello.attempt));
    let mut live = Live {
        sockets: sockets.clone(),
        connection,
        session,
        allowance: Allowance::default(),
        address: hello.address,
        subscription: None,
        _places: places,
    };
    match live.take_place(claim).await {
        Ok(()) => live.begin(&hello, turn).await,
        // Nobody hears of it, for it never was among the clients.
        Err(_) => live.connection.close(Close::Replaced),
    }
    if sockets.is_closed() {
        sockets.send_away(&live.connection);
    }
    sockets.0.tasks.spawn(go_on(live, head));
}

/// The task of a session that was opened.
#[expect(clippy::manual_async_fn, reason = "the future of an `async fn` would hold what it is given twice")]
pub(super) fn go_on(mut live: Live, head: Vec<u8>) -> impl Future<Output = ()> + Send {
    async move {
        let close = pump::run(&mut live, head).await;
        let span = live.span();
        Box::pin(end(live, close).instrument(span)).await;
    }
}

async fn end(mut live: Live, close: Close) {
    // Whoever is going is no longer a member, however long its client takes to hang up.
    let sockets = live.sockets.clone();
    let turn = sockets.turn().await;
    live.leave(close).await;
    drop(turn);
    pump::say_goodbye(&live.connection).await;
    sockets.0.endings.note(close);
}

/// A session with its place among the rooms and the clients.
pub(super) struct Live {
    pub(super) sockets: Sockets,
    pub(super) connection: Arc<Connection>,
    pub(super) session: Session,
    pub(super) allowance: Allowance,
    pub(super) address: IpAddr,
    subscription: Option<Subscription>,
    _places: Places,
}

impl Live {
    /// Takes over the client id, and has the others see the connection that had it leave.
    async fn take_place(&self, claim: Claim) -> Result<(), Taken> {
        let Some(replaced) = self.sockets.0.clients.enter(claim, &self.connection).await? else { return Ok(()) };
        replaced.close(Close::Replaced);
        for room in replaced.rooms().iter() {
            // Whether the replaced connection still counts depends on how far its own task has come.
            self.tell(room, false, self.sockets.0.rooms.members(room).max(2)).await;
        }
        Ok(())
    }

    /// Opens the session of a connection that has its client id, or closes it.
    async fn begin(&mut self, hello: &Hello, turn: SemaphorePermit<'_>) {
        self.close_if_revoked(&hello.permit);
        if let Err(error) = self.open(hello, turn).await {
            self.refused(&Denied::by_journal(error.code(), &error));
            self.connection.close(Close::unread(error.code()));
        }
    }

    /// Closes a connection whose token was revoked while the connection was not among the clients yet, or not under it.
    pub(super) fn close_if_revoked(&self, permit: &Permit) {
        if permit.identity().is_some_and(|identity| self.sockets.0.gate.revocations().has(identity)) {
            self.connection.close(Close::Revoked);
        }
    }

    /// Notes that the client was refused something.
    pub(super) fn refused(&self, denied: &Denied) {
        let credential = self.session.permit().identity().map(|identity| &identity.credential);
        self.sockets.0.gate.refusals().note(denied, self.address, credential);
    }

    /// Listens first, then finds out where delivery begins, then says so to the client and to the others.
    async fn open(&mut self, hello: &Hello, turn: SemaphorePermit<'_>) -> Result<(), crate::journal::Error> {
        let sockets = Arc::clone(&self.sockets.0);
        let mut subscription = sockets.rooms.subscribe(Arc::clone(&self.connection) as _);
        for audience in self.audiences() {
            subscription.join(Interest::In(audience));
        }
        self.subscription = Some(subscription);
        let start = catch_up::start(&*sockets.journal, hello.since.as_ref());
        let mut turn = Some(turn);
        let (recovery, filling) = match start.how {
            How::Anew => (Recovery::NotAsked, None),
            How::Lost => (Recovery::Lost, None),
            How::Resumed => {
                let max_bytes = sockets.options.send_queue_bytes.get();
                let frame = |kept: &Arc<_>| Outgoing::from(kept);
                let mut missed = pin!(catch_up::missed(&*sockets.journal, self.audiences(), &start, max_bytes, frame));
                let (missed, filling) = match poll_immediate(missed.as_mut()).await {
                    Some(missed) => missed?,
                    // What is not in memory must be waited for. Others may begin meanwhile; of those who wait few go on at a
                    // time, for the journal lets few read.
                    None => {
                        drop(turn.take());
                        missed.await?
                    }
                };
                (Recovery::Recovered(missed), Some(filling))
            }
        };
        let established = Established {
            client_id: &hello.client_id,
            user_id: hello.user_id.as_ref(),
            room: self.session.room(),
            epoch: &sockets.journal.epoch(),
            seq: start.live_from,
            recovery,
            at: self.now(),
        };
        if !self.connection.open(start.cursor, filling.is_some(), frame::text(&established.text())) {
            // Replaced before it began: nobody hears that it came, as nobody would hear that it left.
            return Ok(());
        }
        if let Some(filling) = filling {
            self.connection.fill(filling);
        }
        for room in self.session.rooms() {
            self.tell(room, true, sockets.rooms.members(room)).await;
        }
        Ok(())
    }

    /// Reads what the client says, from `head` on.
    pub(super) fn protocol(&self, head: Vec<u8>) -> Box<Protocol> {
        let options = &self.sockets.0.options;
        let limits = Limits { max_message_bytes: options.max_message_bytes, max_fragments: options.max_fragments };
        Box::new(Protocol::new(Arc::clone(&self.connection), head, limits))
    }

    /// What the time is.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.sockets.0.clock.wall()
    }

    /// The span of what the session does.
    pub(super) fn span(&self) -> Span {
        session_span(self.connection.client_id())
    }

    /// Everyone this connection is part of.
    pub(super) fn audiences(&self) -> Vec<Audience> {
        let user = self.connection.user_id().cloned().map(Audience::User);
        let rooms = self.session.rooms().iter().cloned().map(Audience::Room);
        [Audience::Everyone].into_iter().chain(user).chain(rooms).collect()
    }

    /// Listens to one more room.
    pub(super) fn enter_room(&mut self, room: &RoomId) {
        if let Some(subscription) = &mut self.subscription {
            subscription.join(Interest::In(Audience::Room(room.clone())));
        }
    }

    /// Listens to a room no longer.
    pub(super) fn leave_room(&mut self, room: &RoomId) {
        if let Some(subscription) = &mut self.subscription {
            subscription.leave(&Interest::In(Audience::Room(room.clone())));
        }
    }

    /// Hands a text to the others in a room.
    pub(super) async fn relay(&self, room: &RoomId, text: &[u8]) {
        let audiences = Audience::Room(room.clone()).into();
        let except = Some(self.connection.client_id().clone());
        let content = Content::Frame(frame::text(text));
        self.sockets.0.relay.relay(Ephemeral { audiences, except, content }).await;
    }

    /// Tells the others in a room of `members`, this client counted in, that it connected or is gone. In a large room that would
    /// be a flood, so nobody is told there.
    async fn tell(&self, room: &RoomId, joined: bool, members: usize) {
        if members > 1 && members <= self.sockets.0.options.presence_limit {
            self.relay(room, &text::presence(joined, self.connection.client_id(), room, self.now())).await;
        }
    }

    /// Leaves the clients and the rooms. When the connection was replaced, or everybody is going, nobody is told.
    async fn leave(&mut self, close: Close) {
        let current = self.sockets.0.clients.leave(&self.connection);
        if current && close != Close::GoingAway {
            for room in self.session.rooms().to_vec() {
                let members = self.sockets.0.rooms.members(&room);
                self.leave_room(&room);
                self.tell(&room, false, members).await;
            }
        }
        self.subscription = None;
    }
}

impl Drop for Live {
    /// Whatever way the session ended, its client id is free again.
    fn drop(&mut self) {
        self.sockets.0.clients.leave(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use async_trait::async_trait;
    use futures_util::StreamExt;
    use tokio::{sync::Semaphore, time::timeout};
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::{
        clock::System,
        config::Config,
        domain::Epoch,
        egress::{Clients, ws::TURNS},
        gate::{Gate, GateLayer},
        journal::{Bounds, Error, Incarnation, Memory, Page, Query, Read, Relay},
        listen, rooms,
    };

    /// A journal on a disk that never answers.
    #[derive(Debug)]
    struct Stuck {
        memory: Memory,
        /// Grows by one with each that began to read.
        reading: Semaphore,
    }

    impl Incarnation for Stuck {
        fn epoch(&self) -> Epoch {
            self.memory.epoch()
        }
    }

    #[async_trait]
    impl Read for Stuck {
        fn bounds(&self) -> Bounds {
            self.memory.bounds()
        }

        async fn read(&self, _: Query) -> Result<Page, Error> {
            self.reading.add_permits(1);
            pending().await
        }

        async fn count(&self, audiences: Vec<Audience>, after: u64, until: u64) -> Result<u64, Error> {
            self.memory.count(audiences, after, until).await
        }
    }

    #[async_trait]
    impl Relay for Stuck {
        async fn relay(&self, frame: Ephemeral) {
            self.memory.relay(frame).await;
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_the_journal_holds_nobody_up() {
        let config = Config::defaults();
        let clock = Arc::new(System::default());
        let journal =
            Arc::new(Stuck { memory: Memory::new(&config.journal, clock.clone()), reading: Semaphore::new(0) });
        let keys = config.gate.keys().expect("no keys");
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock.clone());
        let (_, rooms) = rooms::split(std::num::NonZeroUsize::MIN);
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let sockets = Sockets::new(
            &config.egress,
            Clients::new(100),
            rooms,
            Arc::clone(&journal),
            gate.clone(),
            (stopping.clone(), tasks.clone()),
            clock,
        );
        let router = crate::egress::ws::router(sockets).layer(GateLayer::http(gate));
        let socket = listen::bind("127.0.0.1", 0).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let listener = listen::Listener::plain(socket);
        tasks.spawn(listen::serve_http(listener, router, config.listen.clone(), stopping, tasks.clone()));

        let mut waiting = Vec::new();
        for number in 0..TURNS {
            let resume = format!("ws://{address}/ws/waits-{number}?since=0&epoch={}", journal.epoch());
            waiting.push(tokio_tungstenite::connect_async(resume).await.expect("a handshake"));
        }
        let all = u32::try_from(TURNS).expect("a small number");
        drop(journal.reading.acquire_many(all).await.expect("the semaphore is never closed"));

        let (mut ana, _) =
            tokio_tungstenite::connect_async(format!("ws://{address}/ws/ana")).await.expect("a handshake");
        let first = timeout(Duration::from_secs(30), ana.next()).await.expect("nobody holds it up");
        let first = first.expect("a message").expect("the connection is open");
        assert!(first.to_text().expect("text").contains("connection_established"));
    }
}
