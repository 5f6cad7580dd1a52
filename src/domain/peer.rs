//! Who is at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

/// The other end of a connection; each request that comes by it is told.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// What it showed in the handshake, if it did.
    pub certificate: Option<Arc<Certificate>>,
}

/// What a certificate that was verified says of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its common name, and its alternative names that are names: DNS, URI and e-mail.
    pub names: Box<[Box<str>]>,
    /// When it expires, in seconds since 1970.
    pub expires_at: i64,
}
