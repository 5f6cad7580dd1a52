use std::future::poll_fn;

use chrono::{DateTime, TimeDelta, Utc};
use http::Uri;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::either::Either;

use super::*;
use crate::{
    clock::Manual,
    delivery::outbox::Frame,
    domain::{Audience, ClientId, Ephemeral, Epoch, Event, JsonText, Notice, Notification, Payload, RoomId, UserId},
    egress::{
        Clients,
        session::{ClientIdTaken, ConnectRequest, Owner, SessionHandle},
    },
    gate::SubscribeScope,
    wire::encoded,
};

async fn connection(clock: &Arc<Manual>) -> (Connection, TcpStream) {
    dialled(clock, &Clients::new(1), "ana").await
}

/// A connection that was dialled with this client id and query.
async fn dialled(clock: &Arc<Manual>, clients: &Clients, client: &str) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (socket, client_socket) = tokio::join!(listener.accept(), TcpStream::connect(address));
    let (socket, _) = socket.expect("a connection");
    let uri: Uri = format!("/ws/{client}").parse().expect("an address");
    let asked = (address.ip(), SubscribeScope::OPEN);
    let request = ConnectRequest::read("ana", &uri, 64, asked).expect("a request");
    let session = Session::new(clients.next_id(), &request, &**clock);
    let connection = Connection::new(session, Either::Left(socket).into(), 10, Arc::clone(clock) as _);
    assert!(connection.open((0, Epoch::from_text("x")), false, Bytes::from_static(b"first")));
    (connection, client_socket.expect("connected"))
}

/// What another client says.
fn said(message: &str) -> Arc<Ephemeral> {
    let client_id = ClientId::parse("luis").expect("a name");
    let (room, at) = (RoomId::general(), DateTime::UNIX_EPOCH);
    Arc::new(Ephemeral::notice(Notice::Chat { client_id, room, message: JsonText::of_text(message), at }))
}

fn ephemeral(message: &str) -> Delivery {
    Delivery::Ephemeral(said(message))
}

/// What that is as it goes out.
fn frame_of(message: &str) -> Bytes {
    encoded::ephemeral_frame(&said(message)).clone()
}

fn clock() -> Arc<Manual> {
    Arc::new(Manual::new(DateTime::UNIX_EPOCH))
}

fn outgoing(expires_at: Option<DateTime<Utc>>) -> OutboundFrame {
    let payload = Payload::parse("{}".into()).expect("an object");
    let event = Event { name: "e".into(), payload, timestamp: "".into(), source: "".into() };
    let audiences = Audience::Everyone.into();
    OutboundFrame::from(&Arc::new(Notification::new(Epoch::from_text("x"), 1, event, audiences, expires_at)))
}

// what waits for a socket that is full is judged by the clock that its time to live began by
#[tokio::test]
async fn what_expired_while_it_waited_is_not_sent() {
    let clock = clock();
    let (connection, mut client) = connection(&clock).await;
    let blocked = |expires_at| {
        let mut sending = connection.send_state.lock();
        sending.blocked = true;
        sending.outbox.push(outgoing(expires_at));
    };
    blocked(Some(clock.wall() + TimeDelta::minutes(1)));
    clock.step(TimeDelta::minutes(1));
    blocked(None);
    connection.flush();
    drop(connection);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("read");
    assert_eq!(sent.len(), b"first".len() + outgoing(None).size());
}

// the socket has room again, and somebody offers more before the session's task writes
#[tokio::test]
async fn what_expired_is_not_sent_to_make_room() {
    let clock = clock();
    let (connection, mut client) = connection(&clock).await;
    {
        let mut sending = connection.send_state.lock();
        sending.blocked = true;
        sending.outbox.push(outgoing(Some(clock.wall() + TimeDelta::minutes(1))));
        assert!(sending.outbox.is_full());
    }
    clock.step(TimeDelta::minutes(1));
    poll_fn(|cx| connection.socket().poll_write_ready(cx)).await.expect("it is open");
    connection.enqueue(&ephemeral("behind"));
    connection.flush();
    drop(connection);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("read");
    assert_eq!(sent, [&b"first"[..], &frame_of("behind")].concat());
}

// A session that saw its queue full does not listen to its client until it is called again.
#[tokio::test]
async fn whoever_drains_a_full_queue_calls_the_session() {
    let (connection, _client) = connection(&clock()).await;
    assert!(connection.enqueue(&ephemeral("larger than the queue")), "a flush is due");
    assert_eq!(connection.todo(), Todo::Wait { blocked: false, full: true });
    connection.flush();
    connection.called().await;
    assert_eq!(connection.todo(), Todo::Wait { blocked: false, full: false });
}

// its client may take its time to hang up, or never do
#[tokio::test]
async fn a_connection_that_closes_keeps_its_client_id_from_nobody() {
    let (clock, clients) = (clock(), Clients::new(2));
    let ((first, _first), (second, _second)) =
        tokio::join!(dialled(&clock, &clients, "ana?attempt=2"), dialled(&clock, &clients, "ana?attempt=1"));
    let (first, second) = (Arc::new(first), Arc::new(second));
    let claim = async |user: &str| {
        let owner = Owner::new(&SubscribeScope::OPEN, UserId::parse(user).ok());
        clients.claim(first.session().client_id(), Some(owner)).await
    };
    let enter =
        async |claim, connection: &Arc<Connection>| clients.enter(Some(claim), Arc::clone(connection) as _).await;
    let claimed = claim("").await.expect("free");
    assert!(enter(claimed, &first).await.expect("free").is_none());
    assert_eq!(claim("luis").await.expect_err("another user's"), ClientIdTaken::OtherUser);
    let claimed = claim("").await.expect("its own");
    assert_eq!(enter(claimed, &second).await.expect_err("of an earlier dial"), ClientIdTaken::Newer);

    first.close(Close::Disconnected);
    let claimed = claim("luis").await.expect("free");
    let replaced = enter(claimed, &second).await.expect("free");
    assert_eq!(replaced.expect("the first").session().id(), first.session().id());
    assert_eq!(clients.len(), 1);
    assert!(!clients.leave(first.session()), "it holds the id no longer");
    assert!(clients.leave(second.session()) && clients.is_empty());
}

// What waits may only wait for the end of a batch.
#[tokio::test]
async fn the_socket_is_tried_before_anything_is_dropped() {
    let (connection, mut client) = connection(&clock()).await;
    for _ in 0..100 {
        connection.enqueue(&ephemeral("larger than the queue"));
    }
    connection.flush();
    drop(connection);
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("read");
    assert_eq!(sent, [&b"first"[..], &frame_of("larger than the queue").repeat(100)].concat());
}

// The socket is full and nobody reads: what nobody keeps is dropped, and told where it is missing; then all goes on.
#[tokio::test]
async fn what_does_not_fit_is_told_and_closes_nothing() {
    const LENGTH: usize = 100_000;
    let each = "x".repeat(LENGTH);
    let (connection, mut client) = connection(&clock()).await;
    let mut offered: u32 = 0;
    while !connection.send_state.lock().blocked {
        assert!(connection.is_open());
        connection.enqueue(&ephemeral(&each));
        offered += 1;
    }
    for _ in 0..7 {
        connection.enqueue(&ephemeral(&each));
        offered += 1;
    }
    assert!(connection.is_open());
    let mut sent = Vec::new();
    let writing = async {
        while connection.send_state.lock().blocked {
            poll_fn(|cx| connection.socket().poll_write_ready(cx)).await.expect("the client reads");
            connection.flush();
        }
        connection.enqueue(&ephemeral("behind"));
        connection.flush();
        drop(connection);
    };
    let (read, ()) = tokio::join!(client.read_to_end(&mut sent), writing);
    read.expect("read");
    let whole = sent.iter().filter(|byte| **byte == b'x').count() / LENGTH;
    let told = frame::text(&json::dropped(offered - u32::try_from(whole).expect("few"), DateTime::UNIX_EPOCH));
    assert!(
        sent == [b"first", &frame_of(&each).repeat(whole)[..], &told, &frame_of("behind")].concat(),
        "{whole} of {offered}"
    );
}
