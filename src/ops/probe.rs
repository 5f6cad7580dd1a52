//! Asking a running service for its health, for container platforms that start a command for it.

use std::{io, time::Duration};

use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

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

/// Asks the service on `address`, a host and a port, whether it is healthy.
pub async fn probe(address: &str) -> Result<(), ProbeError> {
    timeout(PATIENCE, ask(address)).await.unwrap_or(Err(ProbeError::Timeout))
}

async fn ask(address: &str) -> Result<(), ProbeError> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|source| ProbeError::Connect { address: address.to_owned(), source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/health").header("host", address).body(Empty::<bytes::Bytes>::new());
    let request = request.expect("the request is well formed");
    let response = tokio::select! {
        response = sender.send_request(request) => response?,
        ended = connection => return Err(ended.err().map_or(ProbeError::Timeout, ProbeError::Http)),
    };
    if response.status().is_success() { Ok(()) } else { Err(ProbeError::Unhealthy(response.status())) }
}
