//! Asks a running service for its health, for container platforms that start a command for it.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::ops::insecure_tls;

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long it is left alone after it hung up without an answer.
const PAUSE: Duration = Duration::from_millis(50);

/// How much of an answer is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What a service says of its health.
#[derive(Debug, Default, Deserialize)]
pub struct Said {
    status: Option<String>,
    detail: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [&self.status, &self.detail].into_iter().flatten();
        let said: Vec<_> = said.map(String::as_str).collect();
        f.write_str(&said.join(": "))
    }
}

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
    #[error("not healthy: status {0}: {1}")]
    Unhealthy(StatusCode, Said),
}

/// Asks the service on `address`, a host and a port, for its health; over TLS, if it speaks that. One that is degraded serves,
/// and is no error.
pub async fn probe(address: &str, tls: bool) -> Result<Said, ProbeError> {
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

async fn ask(address: &str, tls: bool) -> Result<Said, ProbeError> {
    let connect = |source: io::Error| match source.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => ProbeError::HungUp,
        _ => ProbeError::Connect { address: address.to_owned(), source },
    };
    let stream = TcpStream::connect(address).await.map_err(connect)?;
    if tls {
        let name = ServerName::try_from("localhost").expect("a name");
        let stream =
            TlsConnector::from(Arc::new(insecure_tls::trusting())).connect(name, stream).await.map_err(connect)?;
        ask_over(stream, address).await
    } else {
        ask_over(stream, address).await
    }
}

async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &str,
) -> Result<Said, ProbeError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(without_answer)?;
    let request = Request::get("/health").header("host", address).body(Empty::<bytes::Bytes>::new());
    let request = request.expect("the request is well formed");
    let answering = async {
        let response = sender.send_request(request).await.map_err(without_answer)?;
        let status = response.status();
        Ok::<_, ProbeError>((status, said(response.into_body()).await))
    };
    tokio::pin!(answering);
    let (status, said) = tokio::select! {
        biased;
        answered = answering.as_mut() => answered?,
        ended = connection => match (answering.as_mut().now_or_never(), ended) {
            // The connection ended behind the answer.
            (Some(answered), _) => answered?,
            (None, ended) => return Err(ended.err().map_or(ProbeError::HungUp, without_answer)),
        },
    };
    if status.is_success() { Ok(said) } else { Err(ProbeError::Unhealthy(status, said)) }
}

/// What an answer says; nothing, when it is not ours.
async fn said(body: Incoming) -> Said {
    let Ok(body) = Limited::new(body, MAX_ANSWER).collect().await else { return Said::default() };
    serde_json::from_slice(&body.to_bytes()).unwrap_or_default()
}

/// Why there is no answer: what came is none, or nothing came.
fn without_answer(error: hyper::Error) -> ProbeError {
    let lost = error.source().and_then(|source| source.downcast_ref()).is_some_and(|source: &io::Error| {
        matches!(source.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    });
    let hung_up = lost || error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    if hung_up { ProbeError::HungUp } else { ProbeError::Http(error) }
}
