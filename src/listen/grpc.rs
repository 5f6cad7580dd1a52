//! The connections of the gRPC listener: who has a place, and how long.
//!
//! Whoever made no call that was accepted is a *stranger*, however many pings it answers. Strangers are the quiet ones of the
//! [places](super::places): few, the oldest goes first, and each has a short time. Whoever is known keeps its place until it
//! makes no call for long, is older than it may become, or has no call in hand when a newcomer finds all places taken.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::yield_now,
    time::{Instant, Sleep, sleep},
};
use tokio_util::{
    either::Either,
    sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned},
    task::TaskTracker,
};
use tonic::transport::server::Connected;

use crate::{
    domain::Peer,
    listen::{
        Acceptor, Listener, Options, Stream,
        descriptors::Descriptors,
        http::ACCEPTS_PER_YIELD,
        places::{ConnectionStanding, Place, Places, Turn},
        tls,
    },
};

/// How long a stranger may take for its first call that is accepted, in times of HANDSHAKE_TIMEOUT.
const STRANGER_PATIENCE: u32 = 3;

/// By which part of it GRPC_MAX_AGE is more or less for a connection, so that those that began together do not end together.
const JITTER: f64 = 0.1;

/// Accepts connections on `listener` until `stopping` is cancelled, and lets `speak` speak HTTP/2 over each after its TLS
/// handshake. When what `speak` is given completes, it asks the client for no more calls and ends when those in hand are
/// finished. While everybody has a call in hand and there is no place left, a further connection waits for one; if its address
/// has all that it may have, it is closed.
pub async fn serve<F>(
    listener: Listener,
    options: Options,
    stopping: CancellationToken,
    speak: impl Fn(GrpcConnection, WaitForCancellationFutureOwned) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Places::grpc(options.max_grpc_connections, &listener.proxies, &listener.on_full);
    let descriptors = Descriptors::for_grpc(&options);
    let connections = TaskTracker::new();
    let accepting = async {
        let mut since_yield = 0;
        loop {
            since_yield += 1;
            if since_yield == ACCEPTS_PER_YIELD {
                since_yield = 0;
                yield_now().await;
            }
            let accepted = descriptors.accept(&listener.socket).await;
            let place = if descriptors.have_room_for(&accepted.0) {
                places.wait(accepted.1.ip()).await
            } else {
                places.take_over(accepted.1.ip())
            };
            // What there is to say over gRPC takes a connection.
            let Some(place) = place else { continue };
            let (tls, options, stopping) = (listener.tls.clone(), options.clone(), stopping.clone());
            let speak = speak.clone();
            connections.spawn(async move { connection(accepted, place, tls, &options, &stopping, speak).await });
        }
    };
    stopping.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A connection from its handshake to its end.
async fn connection<F: Future<Output = ()>>(
    accepted: Accepted,
    place: Place,
    tls: Option<Acceptor>,
    options: &Options,
    stopping: &CancellationToken,
    speak: impl Fn(GrpcConnection, WaitForCancellationFutureOwned) -> F,
) {
    let begin = Instant::now();
    let (closed, ended) = (place.standing().closed(), CancellationToken::new());
    let opened = tokio::select! {
        opened = open(accepted, tls, place, options, ended.clone().drop_guard()) => opened,
        () = closed => None,
        () = stopping.cancelled() => None,
    };
    let Some(connection_io) = opened else { return };
    let (connection, leaving) = (connection_io.connection.clone(), CancellationToken::new());
    let checking_liveness = async {
        tokio::select! {
            () = check_liveness(&connection, begin, options, stopping, &leaving) => ended.cancelled().await,
            () = ended.cancelled() => {}
        }
        leaving.cancel();
    };
    tokio::join!(speak(connection_io, leaving.clone().cancelled_owned()), checking_liveness);
}

/// Why a connection is over before its client ends it.
enum Over {
    /// The service ends, or the client asked for nothing for long: calls in hand have their time.
    AtLeisure,
    /// It is as old as it may become: calls in hand have the grace.
    Old,
    /// Nobody knows the client.
    Stranger,
    /// A newcomer has its place.
    Replaced,
}

/// Waits until the connection is over, says so with `leaving`, and sees to its end.
async fn check_liveness(
    connection: &GrpcConnectInfo,
    begin: Instant,
    options: &Options,
    stopping: &CancellationToken,
    leaving: &CancellationToken,
) {
    let over = tokio::select! {
        () = stopping.cancelled() => Over::AtLeisure,
        () = strangeness(&connection.standing, begin, options) => Over::Stranger,
        () = idleness(&connection.standing, options.grpc_idle_timeout) => Over::AtLeisure,
        () = ageing(options.grpc_max_age) => Over::Old,
        () = connection.standing.closed() => Over::Replaced,
    };
    leaving.cancel();
    match over {
        Over::AtLeisure => return,
        // Whoever never made a call has none on its way.
        Over::Replaced if connection.standing.begun() == 0 => return connection.over.cancel(),
        Over::Stranger | Over::Replaced => {}
        Over::Old => {
            sleep(options.grpc_max_age_grace).await;
            if let Some(cut) = &connection.cut {
                cut.cancel();
            }
        }
    }
    sleep(LINGER).await;
    connection.over.cancel();
}

/// Waits until a client had its time to become known and is not, and no call of its may be accepted yet.
async fn strangeness(standing: &ConnectionStanding, begin: Instant, options: &Options) {
    let life = options.handshake_timeout.saturating_mul(STRANGER_PATIENCE);
    sleep(life.saturating_sub(begin.elapsed())).await;
    while !standing.is_known() {
        if !standing.is_busy() {
            return;
        }
        sleep(life).await;
    }
    pending().await
}

/// Waits until a client that is known has made no call for `patience`.
async fn idleness(standing: &ConnectionStanding, patience: Duration) {
    loop {
        standing.rested(patience).await;
        if standing.is_known() {
            return;
        }
        sleep(patience).await;
    }
}

/// Waits for about `age`, if there is one.
async fn ageing(age: Option<Duration>) {
    let Some(age) = age else { return pending().await };
    let jittered = age.as_secs_f64() * rand::random_range(1.0 - JITTER..=1.0 + JITTER);
    sleep(Duration::try_from_secs_f64(jittered).unwrap_or(age)).await;
}

/// Shakes hands, if that is asked for.
async fn open(
    (tcp, address): Accepted,
    tls: Option<Acceptor>,
    place: Place,
    options: &Options,
    ended: DropGuard,
) -> Option<GrpcConnection> {
    let patience = Box::pin(sleep(options.handshake_timeout));
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
    let cut = options.grpc_max_age.map(|_| CancellationToken::new());
    let over = CancellationToken::new();
    let closed = Box::pin(over.clone().cancelled_owned());
    let connection = GrpcConnectInfo { peer, standing: place.standing().clone(), over, cut };
    let awaiting_preface = Some(AwaitingPreface { patience, missing: PREFACE });
    Some(GrpcConnection {
        stream,
        connection,
        trust,
        awaiting_preface,
        lingering: None,
        closed,
        _place: place,
        _ended: ended,
    })
}

/// A connection, and who is at its other end.
type Accepted = (TcpStream, SocketAddr);

/// How long a connection that was ended is read on.
const LINGER: Duration = Duration::from_secs(1);

/// How many bytes an HTTP/2 client sends first.
const PREFACE: usize = 24;

/// What each call is told of the connection that it comes by.
#[derive(Debug, Clone)]
pub struct GrpcConnectInfo {
    peer: Peer,
    standing: ConnectionStanding,
    /// Cancelled when it is to end at once.
    over: CancellationToken,
    cut: Option<CancellationToken>,
}

impl GrpcConnectInfo {
    /// Who is at its other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What ends it at once, with its calls, when it is cancelled.
    pub fn ending(&self) -> CancellationToken {
        self.standing.ending()
    }

    /// Begins a call, which has a credential that is `good` or has none. While the call lasts, the connection is not idle; while
    /// one with a good credential may be accepted, it is not closed as a stranger's. A stranger's call is not counted.
    pub fn begin(&self, good: bool) -> Option<Turn> {
        (good || self.standing.is_known()).then(|| self.standing.begin(false)).flatten()
    }

    /// Completes when calls in hand must end, because the connection is too old and had its grace; `None` when no age is too
    /// old.
    pub fn cut(&self) -> Option<WaitForCancellationFutureOwned> {
        self.cut.clone().map(CancellationToken::cancelled_owned)
    }
}

/// A connection that gives its place back when it is dropped. Until it has said what every HTTP/2 client says first, it
/// is not waited for for long: afterwards HTTP/2 looks after it.
#[derive(Debug)]
pub struct GrpcConnection {
    stream: Stream,
    connection: GrpcConnectInfo,
    /// Of one that was opened with a certificate.
    trust: Option<tls::Trust>,
    awaiting_preface: Option<AwaitingPreface>,
    /// Runs once nothing more will be written.
    lingering: Option<Pin<Box<Sleep>>>,
    /// Completes when the connection is to end at once.
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
    _ended: DropGuard,
}

#[derive(Debug)]
struct AwaitingPreface {
    patience: Pin<Box<Sleep>>,
    missing: usize,
}

impl GrpcConnection {
    /// Fails when the certificate that it was opened with is believed no longer.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.trust.as_mut().map_or(Ok(()), |trust| trust.check(cx))
    }

    /// What has not happened yet may still happen, unless the connection is to end at once.
    fn unless_closed<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_pending() && self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        poll
    }
}

impl Connected for GrpcConnection {
    type ConnectInfo = GrpcConnectInfo;

    fn connect_info(&self) -> GrpcConnectInfo {
        self.connection.clone()
    }
}

impl AsyncRead for GrpcConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = self.unless_closed(read, cx);
        let Some(awaiting_preface) = &mut self.awaiting_preface else { return read };
        awaiting_preface.missing = awaiting_preface.missing.saturating_sub(buffer.filled().len() - before);
        if awaiting_preface.missing == 0 {
            self.awaiting_preface = None;
        } else if read.is_pending() && awaiting_preface.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for GrpcConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_closed(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_closed(flushed, cx)
    }

    /// Ends writing, and reads on until the client hangs up, though not for long: a socket that is closed over what was
    /// not read takes the last answers from the client, and one that publishes without a pause has always sent more.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection_io = &mut *self;
        if connection_io.lingering.is_none() {
            ready!(Pin::new(&mut connection_io.stream).poll_shutdown(cx))?;
        }
        let lingering = connection_io.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scrap = [0; 4096];
        while lingering.as_mut().poll(cx).is_pending() {
            let mut scrap = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut connection_io.stream).poll_read(cx, &mut scrap));
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
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.unless_closed(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
