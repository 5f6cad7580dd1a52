//! HTTP/2 for clients that ask for it in the TLS handshake. WebSockets come by HTTP/1.1: nothing here says that they could
//! come otherwise (RFC 8441), so that clients open a connection of their own for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::listen::{
    Options,
    http::{Service, WRITE_TIMEOUT},
    tls::Encrypted,
};

/// How many requests a connection may have open.
const MAX_STREAMS: u32 = 100;

/// How much a client may send ahead on a connection: the largest body of one request, or those of several.
const WINDOW: u32 = 1024 * 1024;

/// Serves a connection until it has asked for nothing for as long as one of HTTP/1.1 may, or `stopping` is cancelled.
pub(super) async fn connection(stream: Encrypted, service: Service, options: &Options, stopping: &CancellationToken) {
    let requests = Arc::new(Requests::default());
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX));
    let counted = service_fn(|request| {
        let in_hand = InHand::begin(&requests);
        let answer = service.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(in_hand);
            answer
        }
    });
    let connection = server.serve_connection(TokioIo::new(stream), counted);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => {}
        () = requests.rest(options.handshake_timeout) => {
            // Whoever never asked for anything is waiting for nothing.
            if requests.begun() == 0 {
                return;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(WRITE_TIMEOUT, connection).await;
}

/// How many requests a connection had, and how many of them are answered.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Requests {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Waits until there was none for `patience`, and not much longer.
    async fn rest(&self, patience: Duration) {
        loop {
            let begun = self.begun();
            let resting = begun == self.ended.load(Ordering::Relaxed);
            sleep(patience).await;
            if resting && begun == self.begun() {
                return;
            }
        }
    }
}

/// A request that is not answered yet.
struct InHand(Arc<Requests>);

impl InHand {
    fn begin(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
