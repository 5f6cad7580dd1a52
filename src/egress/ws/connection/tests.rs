use chrono::TimeDelta;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_util::either::Either;

use super::*;
use crate::{
    clock::Manual,
    domain::{Audience, Content, Ephemeral, Event, Notification, Payload},
    egress::outbox::Frame,
};

async fn connection(clock: &Arc<Manual>) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (socket, client) = tokio::join!(listener.accept(), TcpStream::connect(address));
    let (socket, _) = socket.expect("a connection");
    let name = ClientId::parse("ana").expect("a name");
    let connection = Connection::new(
        0,
        (name, None, Permit::OPEN),
        &[RoomId::general()],
        Either::Left(socket).into(),
        10,
        Arc::clone(clock) as _,
    );
    assert!(connection.open(0, false, Bytes::from_static(b"first")));
    (connection, client.expect("connected"))
}

fn clock() -> Arc<Manual> {
    Arc::new(Manual::new(DateTime::UNIX_EPOCH))
}

// what waits for a socket that is full is judged by the clock that its time to live began by
#[tokio::test]
async fn what_expired_while_it_waited_is_not_sent() {
    let clock = clock();
    let (connection, mut client) = connection(&clock).await;
    let outgoing = |expires_at| {
        let payload = Payload::parse("{}".into()).expect("an object");
        let event = Event { name: "e".into(), payload, timestamp: "".into(), source: "".into() };
        let audiences = Audience::Everyone.into();
        Outgoing::from(&Arc::new(Notification::new(Epoch::from_text("x"), 1, event, audiences, expires_at)))
    };
    let blocked = |expires_at| {
        let mut out = connection.out.lock();
        out.blocked = true;
        out.outbox.push(outgoing(expires_at));
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

// A session that saw its queue full does not listen to its client until it is called again.
#[tokio::test]
async fn whoever_drains_a_full_queue_calls_the_session() {
    let (connection, _client) = connection(&clock()).await;
    let content = Content::Frame(Bytes::from_static(b"as large as the queue"));
    let ephemeral = Ephemeral { audiences: Audience::Everyone.into(), except: None, content };
    assert!(connection.offer(&Delivery::Ephemeral(Arc::new(ephemeral))), "a flush is due");
    assert_eq!(connection.todo(), Todo::Wait { blocked: false, full: true });
    connection.flush();
    connection.called().await;
    assert_eq!(connection.todo(), Todo::Wait { blocked: false, full: false });
}
