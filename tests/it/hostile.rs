//! Clients that mean no good, or are broken: they get what they deserve, and the others notice nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use exposia_notifications::wire::proto::v1::{PublishRequest, notification_service_client::NotificationServiceClient};
use tonic::{Code, transport::Endpoint};

use crate::support::{TestApp, within};

/// Shakes hands by hand and gives the bare socket.
fn handshake(http: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(http).expect("a connection");
    let head = format!(
        "GET /ws/{client_id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a head");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// Begins a message and never ends it: empty continuation frames, for as long as it may.
fn flood(mut stream: TcpStream, stop: &AtomicBool) {
    const FIRST: [u8; 6] = [0x01, 0x80, 0, 0, 0, 0];
    const CONTINUATION: [u8; 6] = [0x00, 0x80, 0, 0, 0, 0];
    let many = CONTINUATION.repeat(10_000);
    let mut sent = stream.write_all(&FIRST);
    while sent.is_ok() && !stop.load(Ordering::Relaxed) {
        sent = stream.write_all(&many);
    }
}

// a message without an end does not keep the service from the others
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_end_a_message_do_not_stop_the_service() {
    let app = TestApp::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..4)
        .map(|number| {
            let (stop, stream) = (Arc::clone(&stop), handshake(app.http(), &format!("flood{number}?room=flood")));
            std::thread::spawn(move || flood(stream, &stop))
        })
        .collect();
    let mut ana = app.connect("ana").await;
    for _ in 0..3 {
        let marker = app.mark().await;
        ana.expect_nothing_before(marker).await;
    }
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().expect("no panic"));
}

// wire-contract, gRPC: UNAUTHENTICATED without a token, whatever the message is: it is not read
#[tokio::test]
async fn without_a_token_not_even_the_message_is_read() {
    let app = TestApp::start_with(|config| config.ingress.max_body_bytes = NonZeroUsize::MIN).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", app.grpc_address())).expect("an address");
    let mut anybody = NotificationServiceClient::new(endpoint.connect().await.expect("a connection"));
    let too_large = PublishRequest { event: "e".repeat(1_000), ..Default::default() };
    let refusal = anybody.publish(too_large).await.expect_err("no token");
    assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal}");
}

// a connection that says nothing gives its place back
#[tokio::test]
async fn silent_connections_do_not_keep_others_from_grpc() {
    let app = TestApp::start_with(|config| {
        config.listen.max_grpc_connections = NonZeroUsize::MIN;
        config.listen.handshake_timeout = Duration::from_millis(200);
    })
    .await;
    let _silent = TcpStream::connect(app.grpc_address()).expect("a connection");
    let mut grpc = app.grpc().await;
    let published = grpc.publish(PublishRequest { event: "e".into(), ..Default::default() });
    assert_eq!(within("an answer", published).await.expect("accepted").into_inner().sequence, 1);
}
