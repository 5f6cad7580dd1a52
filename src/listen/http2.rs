//! HTTP/2 for clients that ask for it in the TLS handshake. WebSockets come by HTTP/1.1: nothing here says that they could
//! come otherwise (RFC 8441), so that clients open a connection of their own for them.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use hyper::{
    server::conn::http2,
    service::{Service as _, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::listen::{
    Options,
    http::{Service, WRITE_TIMEOUT},
    pieces::Untaken,
    places::ConnectionStanding,
    speaking::speaking,
    tls::Encrypted,
    unread::Taker,
};

/// How many requests a connection may have open.
const MAX_STREAMS: u32 = 100;

/// How much a client may send ahead on a connection: the largest body of one request, or those of several.
const WINDOW: u32 = 1024 * 1024;

/// How long whoever goes for a newcomer may take to read what was written before.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves a connection until it has asked for nothing for as long as one of HTTP/1.1 may, takes nothing of its answers for
/// [`WRITE_TIMEOUT`], its place is given to a newcomer, or `stopping` is cancelled.
pub(super) async fn connection(
    stream: Encrypted,
    service: Service,
    taker: Taker,
    standing: &ConnectionStanding,
    options: &Options,
    stopping: &CancellationToken,
) {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX));
    let service = speaking(service, standing.clone(), taker, ConnectionStanding::begin);
    let untaken = Untaken::new(standing.clone());
    let service = service_fn(|request| {
        let (answer, untaken) = (service.call(request), Arc::clone(&untaken));
        async move { answer.await.map(|answer| answer.map(|body| untaken.pieces(body))) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let over = async {
        sleep(options.handshake_timeout).await;
        if standing.begun() > 0 {
            standing.rested(options.idle_timeout).await;
        }
    };
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => {}
        // Whoever never asked for anything is waiting for nothing.
        () = over => if standing.begun() == 0 { return },
        () = untaken.abandoned(options.idle_timeout) => return,
        () = standing.closed() => {
            connection.as_mut().graceful_shutdown();
            if standing.is_busy() {
                // It takes nothing: it is told, if it can be at once, and not waited for.
                let _ = connection.now_or_never();
            } else {
                // Its last words are answered behind all that it has yet to read.
                let _ = timeout(FAREWELL, connection).await;
            }
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = timeout(WRITE_TIMEOUT, connection) => {}
        () = standing.closed() => {}
    }
}
