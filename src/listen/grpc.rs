//! The connections of the gRPC listener, with a bound on how many there are.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use crate::{
    domain::Peer,
    listen::{Acceptor, Listener, Options, Stream, descriptors::Descriptors, tls},
};

/// The connections that come in on `listener`, after their TLS handshakes. While `max` are open, further ones wait in the
/// system's queue.
pub fn incoming(
    listener: Listener,
    options: &Options,
) -> impl futures_util::Stream<Item = io::Result<Limited>> + use<> {
    let max = options.max_grpc_connections.get().min(Semaphore::MAX_PERMITS);
    let patience = options.handshake_timeout;
    let tls = listener.tls.clone();
    accepted(listener, Descriptors::for_grpc(options), max)
        .map(move |(accepted, place)| open(accepted, tls.clone(), patience, place))
        .buffer_unordered(max)
        .filter_map(async |opened| opened.map(Ok))
}

/// The connections that are accepted, each with its place among `max`.
fn accepted(
    listener: Listener,
    descriptors: Descriptors,
    max: usize,
) -> impl futures_util::Stream<Item = (Accepted, OwnedSemaphorePermit)> {
    let places = Arc::new(Semaphore::new(max));
    stream::unfold((listener, descriptors, places), |(listener, descriptors, places)| async move {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            let accepted = descriptors.accept(&listener.socket).await;
            // What there is to say over gRPC takes a connection.
            if descriptors.have_room_for(&accepted.0) {
                return Some(((accepted, place), (listener, descriptors, places)));
            }
        }
    })
}

/// Shakes hands, if that is asked for.
async fn open(
    (tcp, address): Accepted,
    tls: Option<Acceptor>,
    patience: Duration,
    place: OwnedSemaphorePermit,
) -> Option<Limited> {
    let patience = Box::pin(sleep(patience));
    let _ = tcp.set_nodelay(true);
    let stream = match &tls {
        None => Either::Left(tcp),
        Some(tls) => Either::Right(Box::pin(tls.accept(tcp, patience.deadline())).await.ok()?),
    };
    let certificate = match &stream {
        Either::Left(_) => None,
        Either::Right(encrypted) => encrypted.get_ref().1.peer_certificates().and_then(<[_]>::first),
    };
    let certificate = certificate.and_then(|der| tls::peer::certificate(der)).map(Arc::new);
    let trust = match (&stream, &tls, &certificate) {
        (Either::Right(encrypted), Some(tls), Some(certificate)) => Some(tls.trust(encrypted, certificate, address)),
        _ => None,
    };
    let peer = Peer { address, certificate };
    let unproven = Some(Unproven { patience, missing: PREFACE });
    Some(Limited { stream, peer, trust, unproven, lingering: None, _place: place })
}

/// A connection, and who is at its other end.
type Accepted = (TcpStream, SocketAddr);

/// How long a connection that was ended is read on.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes an HTTP/2 client sends first.
const PREFACE: usize = 24;

/// A connection that gives its place back when it is dropped. Until it has said what every HTTP/2 client says first, it
/// is not waited for for long: afterwards HTTP/2 looks after it.
#[derive(Debug)]
pub struct Limited {
    stream: Stream,
    peer: Peer,
    /// Of one that was opened with a certificate.
    trust: Option<tls::Trust>,
    unproven: Option<Unproven>,
    /// Runs once nothing more will be written.
    lingering: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Unproven {
    patience: Pin<Box<Sleep>>,
    missing: usize,
}

impl Limited {
    /// Fails when the certificate that it was opened with is believed no longer.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.trust.as_mut().map_or(Ok(()), |trust| trust.check(cx))
    }
}

impl Connected for Limited {
    /// The same as on the HTTP listener, for the gate that stands behind both.
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Limited {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(unproven) = &mut self.unproven else { return read };
        unproven.missing = unproven.missing.saturating_sub(buffer.filled().len() - before);
        if unproven.missing == 0 {
            self.unproven = None;
        } else if read.is_pending() && unproven.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends writing, and reads on until the client hangs up, though not for long: a socket that is closed over what was
    /// not read takes the last answers from the client, and one that publishes without a pause has always sent more.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limited = &mut *self;
        if limited.lingering.is_none() {
            ready!(Pin::new(&mut limited.stream).poll_shutdown(cx))?;
        }
        let lingering = limited.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scrap = [0; 4096];
        while lingering.as_mut().poll(cx).is_pending() {
            let mut scrap = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut limited.stream).poll_read(cx, &mut scrap));
            if read.is_err() || scrap.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
