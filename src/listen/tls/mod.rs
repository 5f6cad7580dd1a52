//! TLS on both listeners: whose certificate is shown, and the handshake. Without the settings for it, there is none.

mod files;
pub(super) mod peer;
mod records;
mod reminder;
mod tickets;
mod trust;
mod validity;

use std::{io, net::SocketAddr, num::NonZeroU32, sync::Arc};

use chrono::{DateTime, Utc};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{NoClientAuth, ProducesTickets, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::domain::Certificate;

pub use files::{Error, Options, TlsFiles, Version};
pub(super) use records::Records;
pub(super) use trust::Trust;
pub use validity::CertificateStanding;
use validity::{List, Validity};

/// What the listeners are to TLS clients.
#[derive(Debug, Clone)]
pub struct Tls {
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    pair: Pair,
    rest: Rest,
}

/// What the service shows.
#[derive(Debug, Clone)]
struct Pair {
    shown: Arc<SingleCertAndKey>,
    /// That of the certificate, where it can be told.
    validity: Option<Validity>,
}

/// What belongs to TLS besides what is shown.
#[derive(Debug, Clone)]
struct Rest {
    provider: Arc<CryptoProvider>,
    versions: &'static [&'static SupportedProtocolVersion],
    /// Who judges the certificates of gRPC's clients.
    clients: Arc<dyn ClientCertVerifier>,
    /// The lists by which some of them are revoked.
    lists: Vec<List>,
    /// The session tickets of HTTP and of gRPC.
    tickets: [Arc<dyn ProducesTickets>; 2],
}

/// The name of HTTP/2 in a handshake (RFC 9113, 3.2).
pub(super) const HTTP_2: &[u8] = b"h2";

/// The name of HTTP/1.1 in a handshake.
const HTTP_1: &[u8] = b"http/1.1";

impl Tls {
    fn new(pair: Pair, rest: Rest) -> Self {
        let config = |protocols: &[&[u8]], clients: Arc<dyn ClientCertVerifier>, tickets: &Arc<dyn ProducesTickets>| {
            let mut config = ServerConfig::builder_with_provider(Arc::clone(&rest.provider))
                .with_protocol_versions(rest.versions)
                .expect("the provider has suites for TLS 1.2 and 1.3")
                .with_client_cert_verifier(clients)
                .with_cert_resolver(Arc::clone(&pair.shown) as _);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.ticketer = Arc::clone(tickets);
            Arc::new(config)
        };
        let [http_tickets, grpc_tickets] = &rest.tickets;
        let http = config(&[HTTP_2, HTTP_1], Arc::new(NoClientAuth), http_tickets);
        let grpc = config(&[HTTP_2], Arc::clone(&rest.clients), grpc_tickets);
        Self { http, grpc, pair, rest }
    }

    /// Why clients refuse the certificate that is shown, if they do at `now`.
    pub fn fault(&self, now: DateTime<Utc>) -> Option<String> {
        let standing = self.pair.validity?.at(now);
        standing.is_bad().then(|| told(standing))
    }

    /// What should be known of the certificate and the lists at `now`.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        let standing = self.pair.validity.map_or(CertificateStanding::Good, |validity| validity.at(now));
        let shown = (standing != CertificateStanding::Good).then(|| told(standing));
        shown.into_iter().chain(self.rest.lists.iter().filter_map(|list| list.warning(now))).collect()
    }
}

fn told(standing: CertificateStanding) -> String {
    format!("TLS_CERT_FILE: the certificate {standing}")
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
pub(super) enum TlsRefusal {
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
    /// Makes an acceptor for HTTP and WebSocket.
    pub fn http(tls: watch::Receiver<Tls>) -> Self {
        Self::new(tls, |tls| &tls.http)
    }

    /// Makes an acceptor for gRPC.
    pub fn grpc(tls: watch::Receiver<Tls>) -> Self {
        Self::new(tls, |tls| &tls.grpc)
    }

    fn new(tls: watch::Receiver<Tls>, listener: fn(&Tls) -> &Arc<ServerConfig>) -> Self {
        Self { tls, listener, shown: Arc::new(RateLimiter::direct(Quota::per_second(SHOWN))) }
    }

    /// Shakes hands until `deadline`.
    pub(super) async fn accept(&self, tcp: TcpStream, deadline: Instant) -> Result<Encrypted, TlsRefusal> {
        let peer = tcp.peer_addr().ok();
        let accepted = timeout_at(deadline, self.shake_hands(tcp)).await.unwrap_or(Err(TlsRefusal::TooSlow));
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

    async fn shake_hands(&self, tcp: TcpStream) -> Result<Encrypted, TlsRefusal> {
        let mut first = [HANDSHAKE];
        tcp.peek(&mut first).await?;
        if first != [HANDSHAKE] {
            return Err(TlsRefusal::Plain(tcp));
        }
        let config = Arc::clone((self.listener)(&self.tls.borrow()));
        let accepting = TlsAcceptor::from(config).accept_with(tcp, |tls| tls.set_buffer_limit(Some(records::MAX_HELD)));
        Ok(Box::new(accepting.await?))
    }
}
