//! The HTTP server: axum's router on hyper's connections, with every limit set. HTTP/1.1, and over TLS HTTP/2 for whoever
//! asks for it.
//!
//! It is our own loop, and not `axum::serve`, because it bounds heads, times and connections, and because a connection
//! that becomes a WebSocket must come out of hyper as the bare socket it was.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, middleware::AddExtension};
use bytes::Bytes;
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
        places::{ConnectionStanding, Place, Places},
        speaking::speaking,
        tls::{HTTP_2, TlsRefusal},
        unread::Taker,
    },
};

/// How long what was written may stay unread. It is above the time after which a subscriber is too slow.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// How many connections are accepted before other tasks get their turn. When everybody comes at once, those that came first
/// are served before the rest is let in, and what is delivered meanwhile does not wait for all of them.
pub(super) const ACCEPTS_PER_YIELD: usize = 4;

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
    let mut since_yield = 0;
    let places = Places::http(options.max_http_connections, &listener.proxies, &listener.on_full);
    let descriptors = Descriptors::for_http(&options);
    let taker = Taker::new(DISCARDED, options.handshake_timeout, tasks.clone());
    while let Some((stream, address)) = stopping.run_until_cancelled(descriptors.accept(&listener.socket)).await {
        since_yield += 1;
        if since_yield == ACCEPTS_PER_YIELD {
            since_yield = 0;
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
                let (tls, taker, partings) = (listener.tls.clone(), taker.clone(), Arc::clone(&listener.partings));
                tasks.spawn(async move {
                    match tls {
                        None => connection(Either::Left(stream), service, taker, &place, &options, &stopping).await,
                        Some(tls) => {
                            let encrypted = encrypted(stream, &tls, service, taker, &place, &options, &stopping);
                            if let Some(plain) = Box::pin(encrypted).await {
                                show_out(plain, &partings.not_tls, &place, options.handshake_timeout).await;
                            }
                        }
                    }
                });
            }
            // To say so over TLS would cost as much as an answer.
            None if listener.tls.is_some() => drop(stream),
            None => {
                let turning_away = turn_away(stream, listener.partings.too_many.clone());
                drop(tasks.spawn(timeout(options.handshake_timeout, turning_away)));
            }
        }
    }
}

/// The router, which is told who is at the other end.
pub(super) type Service = AddExtension<Router, Peer>;

/// Shakes hands, and speaks whatever was agreed upon. Gives back a client that did not speak TLS.
async fn encrypted(
    stream: TcpStream,
    tls: &Acceptor,
    service: Service,
    taker: Taker,
    place: &Place,
    options: &Options,
    stopping: &CancellationToken,
) -> Option<TcpStream> {
    let patience = options.handshake_timeout;
    let shaking = tls.accept(stream, Instant::now() + patience);
    let shaken = tokio::select! {
        shaken = shaking => shaken,
        () = place.standing().closed() => return None,
        () = stopping.cancelled() => return None,
    };
    match shaken {
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
            http2::connection(stream, service, taker, place.standing(), options, stopping).await;
        }
        Ok(stream) => connection(Either::Right(stream), service, taker, place, options, stopping).await,
        Err(TlsRefusal::Plain(stream)) => return Some(stream),
        Err(_) => {}
    }
    None
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
    let service = speaking(service, standing.clone(), taker, ConnectionStanding::begin_until_flushed);
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

async fn turn_away(mut stream: TcpStream, answer: Bytes) -> TcpStream {
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
    stream
}

/// Tells a client that it should speak TLS. What it sent already is read, so that it sees that.
async fn show_out(stream: TcpStream, answer: &Bytes, place: &Place, patience: Duration) {
    let telling = async {
        let mut rest = turn_away(stream, answer.clone()).await.take(DISCARDED as u64);
        let _ = copy(&mut rest, &mut sink()).await;
    };
    tokio::select! {
        _ = timeout(patience, telling) => {}
        () = place.standing().closed() => {}
    }
}
