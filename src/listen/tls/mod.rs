//! TLS on both listeners: whose certificate is shown, and the handshake. Without the settings for it, there is none.

pub(super) mod peer;
mod pem;
mod records;
mod tickets;
mod trust;

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    server::{NoClientAuth, ProducesTickets, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{domain::Certificate, reload::Source};

pub use pem::PemError;
pub(super) use records::Records;
use tickets::Tickets;
pub(super) use trust::Trust;

/// The settings of TLS.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "tls")]
#[command(next_help_heading = "TLS")]
pub struct Options {
    /// The file with the certificate in PEM, and those up to its CA behind it; both listeners speak TLS with it.
    #[arg(long, env = "TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,

    /// The file with the certificate's private key in PEM.
    #[arg(long, env = "TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// The file with the CAs, in PEM, whose client certificates are believed on the gRPC listener; needs MTLS_GRANTS.
    #[arg(long, env = "MTLS_CA_FILE", value_name = "FILE")]
    pub mtls_ca_file: Option<PathBuf>,
}

/// Why there can be no TLS with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is useless without another.
    #[error("{0}: is of no use without {1}")]
    Alone(&'static str, &'static str),
    /// A file is not what the setting asks for.
    #[error("{0}: {1}")]
    File(&'static str, PemError),
    /// The two files do not belong together.
    #[error("TLS_KEY_FILE: the key does not fit the certificate in TLS_CERT_FILE: {0}")]
    Pair(rustls::Error),
    /// The CAs of clients cannot be used.
    #[error("MTLS_CA_FILE: a certificate is none of a CA: {0}")]
    Authorities(rustls::Error),
    /// The CAs of clients cannot be used together.
    #[error("MTLS_CA_FILE: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// There are no keys for the tickets of sessions.
    #[error("no random numbers for the keys of TLS session tickets: {0}")]
    Tickets(rustls::Error),
}

impl Options {
    /// Whether the listeners speak TLS.
    pub fn is_on(&self) -> bool {
        self.tls_cert_file.is_some()
    }

    /// The files that the settings name; `None` without TLS.
    pub fn files(&self) -> Result<Option<Files>, Error> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (None, None) if self.mtls_ca_file.is_some() => Err(Error::Alone("MTLS_CA_FILE", "TLS_CERT_FILE")),
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let (certificate, key, authorities) = (certificate.clone(), key.clone(), self.mtls_ca_file.clone());
                let tickets = Arc::new(Tickets::new().map_err(Error::Tickets)?);
                Ok(Some(Files { certificate, key, authorities, tickets }))
            }
            (Some(_), None) => Err(Error::Alone("TLS_CERT_FILE", "TLS_KEY_FILE")),
            (None, Some(_)) => Err(Error::Alone("TLS_KEY_FILE", "TLS_CERT_FILE")),
        }
    }

    /// What is wrong with the settings and the files.
    pub fn fault(&self) -> Option<Error> {
        self.files().and_then(|files| files.map(|files| files.read()).transpose()).err()
    }
}

/// Where certificate and key are, and the CAs of clients; and what outlives their contents.
#[derive(Debug, Clone)]
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    authorities: Option<PathBuf>,
    tickets: Arc<Tickets>,
}

impl Files {
    /// The CAs of clients; none without a file for them.
    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let authorities = self.authorities.as_deref().map(pem::certificates).transpose();
        Ok(authorities.map_err(|error| Error::File("MTLS_CA_FILE", error))?.unwrap_or_default())
    }
}

/// Who says which clients' certificates are believed: those of `authorities`.
fn verifier(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    if authorities.is_empty() {
        return Ok(Arc::new(NoClientAuth));
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(Error::Authorities)?;
    }
    // Whoever has none may still have a token.
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    Ok(builder.allow_unauthenticated().build()?)
}

impl Source for Files {
    const NAME: &'static str = "TLS";
    type Value = Tls;
    type Error = Error;

    fn files(&self) -> Vec<&Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.authorities).map(PathBuf::as_path).collect()
    }

    fn read(&self) -> Result<Tls, Error> {
        let chain = pem::certificates(&self.certificate).map_err(|error| Error::File("TLS_CERT_FILE", error))?;
        let key = pem::private_key(&self.key).map_err(|error| Error::File("TLS_KEY_FILE", error))?;
        let provider = Arc::new(ring::default_provider());
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(Error::Pair)?;
        let authorities = self.authorities()?;
        let clients = verifier(&authorities, &provider)?;
        let tickets = [self.tickets.http(), self.tickets.grpc(&authorities).map_err(Error::Tickets)?];
        Ok(Tls::new(&provider, pair, clients, tickets))
    }
}

/// What the listeners are to TLS clients.
#[derive(Debug, Clone)]
pub struct Tls {
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    /// Who judges the certificates of gRPC's clients.
    clients: Arc<dyn ClientCertVerifier>,
}

/// The name of HTTP/2 in a handshake (RFC 9113, 3.2).
pub(super) const HTTP_2: &[u8] = b"h2";

/// The name of HTTP/1.1 in a handshake.
const HTTP_1: &[u8] = b"http/1.1";

impl Tls {
    /// With the keys of tickets for HTTP and for gRPC.
    fn new(
        provider: &Arc<CryptoProvider>,
        pair: CertifiedKey,
        clients: Arc<dyn ClientCertVerifier>,
        [http_tickets, grpc_tickets]: [Arc<dyn ProducesTickets>; 2],
    ) -> Self {
        let pair = Arc::new(SingleCertAndKey::from(pair));
        let config = |protocols: &[&[u8]], clients: Arc<dyn ClientCertVerifier>, tickets| {
            let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
                .with_safe_default_protocol_versions()
                .expect("the provider has suites for TLS 1.2 and 1.3")
                .with_client_cert_verifier(clients)
                .with_cert_resolver(Arc::clone(&pair) as _);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.ticketer = tickets;
            Arc::new(config)
        };
        let http = config(&[HTTP_2, HTTP_1], Arc::new(NoClientAuth), http_tickets);
        Self { http, grpc: config(&[HTTP_2], Arc::clone(&clients), grpc_tickets), clients }
    }
}

/// Shakes hands on one of the listeners, as the settings are at the time.
#[derive(Debug, Clone)]
pub struct Acceptor {
    tls: watch::Receiver<Tls>,
    listener: fn(&Tls) -> &Arc<ServerConfig>,
    /// How many failures are logged where everybody sees them.
    shown: Arc<DefaultDirectRateLimiter>,
}

/// How many failed handshakes a second are logged for whoever runs the service; further ones for whoever looks for them.
const SHOWN: NonZeroU32 = NonZeroU32::new(1).expect("not zero");

/// A connection that is encrypted.
pub(super) type Encrypted = Box<TlsStream<TcpStream>>;

/// Why there was no handshake.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the client does not speak TLS")]
    Plain(TcpStream),
    #[error("the client took too long")]
    TooSlow,
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// What a connection that begins with TLS begins with: a record of type handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

impl Acceptor {
    /// For HTTP and WebSocket.
    pub fn http(tls: watch::Receiver<Tls>) -> Self {
        Self::new(tls, |tls| &tls.http)
    }

    /// For gRPC.
    pub fn grpc(tls: watch::Receiver<Tls>) -> Self {
        Self::new(tls, |tls| &tls.grpc)
    }

    fn new(tls: watch::Receiver<Tls>, listener: fn(&Tls) -> &Arc<ServerConfig>) -> Self {
        Self { tls, listener, shown: Arc::new(RateLimiter::direct(Quota::per_second(SHOWN))) }
    }

    /// Shakes hands until `deadline`.
    pub(super) async fn accept(&self, tcp: TcpStream, deadline: Instant) -> Result<Encrypted, Refusal> {
        let peer = tcp.peer_addr().ok();
        let accepted = timeout_at(deadline, self.shake_hands(tcp)).await.unwrap_or(Err(Refusal::TooSlow));
        if let Err(refusal) = &accepted {
            if self.shown.check().is_ok() {
                tracing::warn!(%refusal, peer = peer.map(tracing::field::display), "a TLS handshake failed");
            } else {
                tracing::debug!(%refusal, peer = peer.map(tracing::field::display), "a TLS handshake failed");
            }
        }
        accepted
    }

    /// Watches over a connection that was opened with `certificate`, by `peer`.
    pub(super) fn trust(&self, connection: &Encrypted, certificate: &Arc<Certificate>, peer: SocketAddr) -> Trust {
        let chain = connection.get_ref().1.peer_certificates().unwrap_or_default();
        let (tls, shown) = (self.tls.clone(), Arc::clone(&self.shown));
        let told = move |error| match shown.check() {
            Ok(()) => {
                tracing::warn!(%error, %peer, "a connection ends: its client's certificate is believed no longer")
            }
            Err(_) => {
                tracing::debug!(%error, %peer, "a connection ends: its client's certificate is believed no longer")
            }
        };
        Trust::new(tls, chain, Arc::clone(certificate), told)
    }

    async fn shake_hands(&self, tcp: TcpStream) -> Result<Encrypted, Refusal> {
        let mut first = [HANDSHAKE];
        tcp.peek(&mut first).await?;
        if first != [HANDSHAKE] {
            return Err(Refusal::Plain(tcp));
        }
        let config = Arc::clone((self.listener)(&self.tls.borrow()));
        let accepting = TlsAcceptor::from(config).accept_with(tcp, |tls| tls.set_buffer_limit(Some(records::MAX_HELD)));
        Ok(Box::new(accepting.await?))
    }
}
