//! Asking a running service for its health, for container platforms that start a command for it.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::ops::stranger;

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long it is left alone after it hung up without an answer.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a service is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Whoever listens there does not speak HTTP.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Whoever listens there hangs up.
    #[error("the service hung up without an answer")]
    HungUp,
    /// The answer took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// The service says that it is not healthy.
    #[error("not healthy: status {0}")]
    Unhealthy(StatusCode),
}

/// Asks the service on `address`, a host and a port, whether it is healthy; over TLS, if it speaks that.
pub async fn probe(address: &str, tls: bool) -> Result<(), ProbeError> {
    let mut last = ProbeError::Timeout;
    let asking = async {
        loop {
            match ask(address, tls).await {
                // In a flood of connections the service may close one before it has read the request.
                Err(ProbeError::HungUp) => last = ProbeError::HungUp,
                outcome => return outcome,
            }
            sleep(PAUSE).await;
        }
    };
    let outcome = timeout(PATIENCE, asking).await;
    outcome.unwrap_or(Err(last))
}

async fn ask(address: &str, tls: bool) -> Result<(), ProbeError> {
    let connect = |source: io::Error| match source.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => ProbeError::HungUp,
        _ => ProbeError::Connect { address: address.to_owned(), source },
    };
    let stream = TcpStream::connect(address).await.map_err(connect)?;
    if tls {
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(stranger::trusting())).connect(name, stream).await.map_err(connect)?;
        ask_over(stream, address).await
    } else {
        ask_over(stream, address).await
    }
}

async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
) -> Result<(), ProbeError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(without_answer)?;
    let request = Request::get("/health").header("host", address).body(Empty::<bytes::Bytes>::new());
    let request = request.expect("the request is well formed");
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(without_answer)?,
        ended = connection => return Err(ended.err().map_or(ProbeError::HungUp, without_answer)),
    };
    if response.status().is_success() { Ok(()) } else { Err(ProbeError::Unhealthy(response.status())) }
}

/// Why there is no answer: what came is none, or nothing came.
fn without_answer(error: hyper::Error) -> ProbeError {
    let lost = error.source().and_then(|source| source.downcast_ref()).is_some_and(|source: &io::Error| {
        matches!(source.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    });
    let hung_up = lost || error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    if hung_up { ProbeError::HungUp } else { ProbeError::Http(error) }
}
