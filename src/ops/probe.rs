//! Asking a running service for its health, for container platforms that start a command for it.

use std::{io, sync::Arc, time::Duration};

use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::ops::stranger;

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

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
    /// The answer took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// The service says that it is not healthy.
    #[error("not healthy: status {0}")]
    Unhealthy(StatusCode),
}

/// Asks the service on `address`, a host and a port, whether it is healthy; over TLS, if it speaks that.
pub async fn probe(address: &str, tls: bool) -> Result<(), ProbeError> {
    timeout(PATIENCE, ask(address, tls)).await.unwrap_or(Err(ProbeError::Timeout))
}

async fn ask(address: &str, tls: bool) -> Result<(), ProbeError> {
    let connect = |source| ProbeError::Connect { address: address.to_owned(), source };
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
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/health").header("host", address).body(Empty::<bytes::Bytes>::new());
    let request = request.expect("the request is well formed");
    let response = tokio::select! {
        response = sender.send_request(request) => response?,
        ended = connection => return Err(ended.err().map_or(ProbeError::Timeout, ProbeError::Http)),
    };
    if response.status().is_success() { Ok(()) } else { Err(ProbeError::Unhealthy(response.status())) }
}
