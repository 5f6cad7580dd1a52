//! The sockets that the service listens on, with or without TLS, and the HTTP server behind one of them.

mod descriptors;
mod grpc;
mod http;
mod http2;
mod kept;
mod pieces;
mod places;
mod socket;
mod speaking;
mod tally;
mod tls;
mod unread;

use std::{io, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio_util::either::Either;

pub use grpc::{GrpcConnectInfo, GrpcConnection, serve as serve_grpc};
pub use http::serve as serve_http;
pub use places::{OnFull, Turn};
pub use socket::Socket;
pub use tls::{
    Acceptor, CertificateStanding, Error as TlsError, Options as TlsOptions, Tls, TlsFiles, Version as TlsVersion,
};
pub use unread::{DrainedBody, Taker, Whole};

/// The settings of the listeners.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "listen")]
#[command(next_help_heading = "Listening")]
pub struct Options {
    /// The address to listen on.
    #[arg(long, env = "HOST", default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub host: String,

    /// The port of HTTP and WebSocket; 0 takes a free one.
    #[arg(long, env = "PORT", default_value = "9000", value_name = "PORT")]
    pub port: u16,

    /// The port of gRPC; 0 takes a free one.
    #[arg(long, env = "GRPC_PORT", default_value = "50051", value_name = "PORT")]
    pub grpc_port: u16,

    /// The largest request head.
    #[arg(long, env = "MAX_HEADER_BYTES", default_value = "65536", value_name = "BYTES",
        value_parser = at_least_8192)]
    pub max_header_bytes: usize,

    /// How many HTTP connections may be open besides those that became WebSockets; a quarter of them may have sent no request
    /// yet, and one address has half. A new one takes the place of the oldest that asks for nothing, or over HTTP/2 takes
    /// nothing of its answers; while all are busy it gets 503, or with TLS is closed.
    #[arg(long, env = "MAX_HTTP_CONNECTIONS", default_value = "10000", value_name = "N")]
    pub max_http_connections: NonZeroUsize,

    /// How many gRPC connections may be open, half of them from one address. A new one takes the place of the one that has had
    /// no call in progress for longest; while all have one, it waits to be accepted, or is closed if its address has its half.
    /// A quarter of them may have made no call that was accepted, an eighth for one address: the oldest such one is closed for
    /// a new one.
    #[arg(long, env = "MAX_GRPC_CONNECTIONS", default_value = "1000", value_name = "N")]
    pub max_grpc_connections: NonZeroUsize,

    /// How long a client may take for the TLS handshake, and to send a request head; over gRPC, three times that for the first
    /// call that is accepted.
    #[arg(long, env = "HANDSHAKE_TIMEOUT", default_value = "10s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub handshake_timeout: Duration,

    /// How long a kept HTTP connection may ask for nothing.
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "75s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub idle_timeout: Duration,

    /// How long a gRPC connection may have no call in progress before the client is told to open another for its next.
    #[arg(long, env = "GRPC_IDLE_TIMEOUT", default_value = "15m", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub grpc_idle_timeout: Duration,

    /// How old a gRPC connection may become, give or take a tenth, before the client is told to open another; without, any
    /// age.
    #[arg(long, env = "GRPC_MAX_AGE", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub grpc_max_age: Option<Duration>,

    /// How long its calls in progress may take then; streams end with UNAVAILABLE and a hint to connect again.
    #[arg(long, env = "GRPC_MAX_AGE_GRACE", default_value = "10s", value_name = "TIME",
        value_parser = crate::domain::parse_duration)]
    pub grpc_max_age_grace: Duration,

    /// TLS.
    #[command(flatten)]
    pub tls: TlsOptions,
}

impl Options {
    /// Whether HOST is an address of this machine, or a name of one. Takes no port that another process may have.
    pub fn check_host(&self) -> Result<(), String> {
        let bound = std::net::TcpListener::bind((self.host.as_str(), 0));
        bound.map(drop).map_err(|error| format!("HOST: cannot listen on {}: {error}", self.host))
    }

    /// What should be known of settings that are not wrong, where there may be `sockets` WebSockets.
    pub fn warning(&self, sockets: NonZeroUsize) -> Option<String> {
        descriptors::warning(self, sockets)
    }

    /// Where a process on this machine reaches the HTTP listener.
    pub fn local_address(&self) -> String {
        let host = match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "[::1]",
            host => host,
        };
        format!("{host}:{}", self.port)
    }
}

fn at_least_8192(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|_| "expected a number of bytes".to_owned())?;
    if bytes < 8192 { Err("must be at least 8192".to_owned()) } else { Ok(bytes) }
}

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 8192;

/// A port that is listened on, and how clients speak there.
#[derive(Debug)]
pub struct Listener {
    /// The port.
    pub socket: TcpListener,
    /// Without, they speak in plain text.
    pub tls: Option<Acceptor>,
    /// The proxies in front, behind whose addresses many clients stand.
    pub proxies: Vec<IpNet>,
    /// Is told of newcomers that find places taken.
    pub on_full: OnFull,
    /// What those get that are not served.
    pub partings: Arc<Partings>,
}

/// The whole answers of HTTP/1.1 to clients that are hung up on; an empty one says nothing.
#[derive(Debug, Clone, Default)]
pub struct Partings {
    /// For a connection that is one too many. It is not asked what it wants.
    pub too_many: Bytes,
    /// For a client that speaks plain HTTP where TLS is expected.
    pub not_tls: Bytes,
}

impl Listener {
    /// Plain text, without proxies, and nobody to tell.
    pub fn plain(socket: TcpListener) -> Self {
        let (on_full, partings) = (OnFull::new(|_, _| {}), Arc::default());
        Self { socket, tls: None, proxies: Vec::new(), on_full, partings }
    }
}

/// A client's connection, plain or encrypted.
type Stream = Either<TcpStream, tls::Encrypted>;

/// Listens on a port of `host`.
pub async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = None;
    for address in lookup_host((host, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
