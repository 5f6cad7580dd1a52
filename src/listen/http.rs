//! The HTTP server: axum's router on hyper's connections, with every limit set. HTTP/1.1, and over TLS HTTP/2 for whoever
//! asks for it.
//!
//! It is our own loop, and not `axum::serve`, because it bounds heads, times and connections, and because a connection
//! that becomes a WebSocket must come out of hyper as the bare socket it was.

use std::time::Duration;

use axum::{Extension, Router, middleware::AddExtension};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::TcpStream,
    task::yield_now,
    time::{Instant, timeout},
};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tower::Layer;

use crate::{
    domain::Peer,
    listen::{
        Acceptor, Listener, Options, Stream,
        descriptors::Descriptors,
        http2,
        kept::Kept,
        places::{Place, Places, Standing},
        speaking::speaking,
        tls::{HTTP_2, Refusal},
        unread::Taker,
    },
};

/// How long what was written may stay unread. It is above the time after which a subscriber is too slow.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// How many connections are accepted before other tasks get their turn. When everybody comes at once, those that came first
/// are served before the rest is let in, and what is delivered meanwhile does not wait for all of them.
pub(super) const ACCEPTS_PER_TURN: usize = 4;

/// What a connection gets that is one too many. It is not asked what it wants.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    content-length: 50\r\nconnection: close\r\n\r\n{\"detail\":\"too many connections; try again later\"}";

/// What a client gets that speaks plain HTTP where TLS is expected.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 57\r\n\
    connection: close\r\n\r\n{\"detail\":\"this port speaks TLS: use https:// or wss://\"}";

/// How much of a body that is not wanted is read, so that its client sees the answer. One that sends more would not be worth
/// it.
const DISCARDED: usize = 32 * 1024 * 1024;

/// Serves `router` on `listener` until `stopping` is cancelled; then the requests in hand are finished on `tasks`.
pub async fn serve(
    listener: Listener,
    router: Router,
    options: Options,
    stopping: CancellationToken,
    tasks: TaskTracker,
) {
    let mut in_turn = 0;
    let places = Places::http(options.max_http_connections, &listener.proxies, &listener.on_full);
    let descriptors = Descriptors::for_http(&options);
    let taker = Taker::new(DISCARDED, options.handshake_timeout, tasks.clone());
    while let Some((stream, address)) = stopping.run_until_cancelled(descriptors.accept(&listener.socket)).await {
        in_turn += 1;
        if in_turn == ACCEPTS_PER_TURN {
            in_turn = 0;
            yield_now().await;
        }
        // What is written is whole frames and answers; holding them back would only delay them.
        let _ = stream.set_nodelay(true);
        // A client that never reads its answer is hung up on by the system.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
        let has_room = descriptors.have_room_for(&stream);
        let from = address.ip();
        match if has_room { places.take(from) } else { places.take_over(from) } {
            Some(place) => {
                let service = Extension(Peer { address, certificate: None }).layer(router.clone());
                let (options, stopping) = (options.clone(), stopping.clone());
                let (tls, taker) = (listener.tls.clone(), taker.clone());
                tasks.spawn(async move {
                    match tls {
                        None => connection(Either::Left(stream), service, taker, &place, &options, &stopping).await,
                        Some(tls) => {
                            Box::pin(encrypted(stream, &tls, service, taker, &place, &options, &stopping)).await
                        }
                    }
                });
            }
            // To say so over TLS would cost as much as an answer.
            None if listener.tls.is_some() => drop(stream),
            None => drop(tasks.spawn(timeout(options.handshake_timeout, turn_away(stream, TOO_MANY)))),
        }
    }
}

/// The router, which is told who is at the other end.
pub(super) type Service = AddExtension<Router, Peer>;

/// Shakes hands, and speaks whatever was agreed upon.
async fn encrypted(
    stream: TcpStream,
    tls: &Acceptor,
    service: Service,
    taker: Taker,
    place: &Place,
    options: &Options,
    stopping: &CancellationToken,
) {
    let patience = options.handshake_timeout;
    let shaking = tls.accept(stream, Instant::now() + patience);
    let shaken = tokio::select! {
        shaken = shaking => shaken,
        () = place.standing().closed() => return,
        () = stopping.cancelled() => return,
    };
    match shaken {
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
            http2::connection(stream, service, taker, place.standing(), options, stopping).await;
        }
        Ok(stream) => connection(Either::Right(stream), service, taker, place, options, stopping).await,
        Err(Refusal::Plain(stream)) => tokio::select! {
            _ = timeout(patience, show_out(stream)) => {}
            () = place.standing().closed() => {}
        },
        Err(_) => {}
    }
}

async fn connection(
    stream: Stream,
    service: Service,
    taker: Taker,
    place: &Place,
    options: &Options,
    stopping: &CancellationToken,
) {
    let standing = place.standing();
    let mut server = http1::Builder::new();
    server
        // The stream has the times.
        .header_read_timeout(None)
        .max_buf_size(options.max_header_bytes)
        // The buffer takes in more than that before it is looked at.
        .max_header_size(options.max_header_bytes)
        .half_close(false);
    let stream = TokioIo::new(Kept::new(stream, standing.clone(), options));
    let service = speaking(service, standing.clone(), taker, Standing::begin_until_flushed);
    let connection = server.serve_connection(stream, service).with_upgrades();
    tokio::pin!(connection);
    let speaking = async {
        // A connection that fails is the client's doing; it has had its answer, or cannot be given one.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    };
    tokio::select! {
        () = speaking => {}
        // Nothing is in hand.
        () = standing.closed() => {}
    }
}

async fn turn_away(mut stream: TcpStream, answer: &[u8]) -> TcpStream {
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    stream
}

/// Tells a client that it should speak TLS. What it sent already is read, so that it sees that.
async fn show_out(stream: TcpStream) {
    let mut rest = turn_away(stream, NOT_TLS).await.take(DISCARDED as u64);
    let _ = copy(&mut rest, &mut sink()).await;
}
