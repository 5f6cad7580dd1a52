//! Who is at the other end of a connection.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The other end of a connection; each request that comes by it is told.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// What it showed in the handshake, if it did.
    pub certificate: Option<Arc<Certificate>>,
}

/// What a certificate that was verified says of its owner.
#[derive(Debug)]
pub struct Certificate {
    /// Its common name, and its alternative names that are names: DNS, URI and e-mail.
    pub names: Box<[CertificateName]>,
    /// When it expires, in seconds since 1970.
    pub expires_at: i64,
    disbelieved: AtomicBool,
}

impl Certificate {
    /// Makes a certificate that is believed.
    pub fn new(names: Box<[CertificateName]>, expires_at: i64) -> Self {
        Self { names, expires_at, disbelieved: AtomicBool::new(false) }
    }

    /// Whether it still is. The CAs that clients are believed by may be replaced while its connection is open.
    pub fn is_believed(&self) -> bool {
        !self.disbelieved.load(Ordering::Relaxed)
    }

    /// It is believed no longer, wherever it is in use.
    pub fn disbelieve(&self) {
        self.disbelieved.store(true, Ordering::Relaxed);
    }
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateName {
    /// What it is a name of.
    pub kind: NameKind,
    /// The name itself.
    pub text: Box<str>,
}

/// What a name in a certificate is a name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// Whatever its CA lets somebody be called: the common name of the subject.
    Common,
    /// A host.
    Dns,
    /// A resource, or a service as SPIFFE names it.
    Uri,
    /// A mailbox.
    Email,
}

impl fmt::Display for CertificateName {
    /// The bare name; a common name that passes for a URI says what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passes_for_a_uri = self.kind == NameKind::Common && has_scheme(&self.text);
        write!(f, "{}{}", if passes_for_a_uri { "cn:" } else { "" }, self.text)
    }
}

/// Whether `text`, a name or a pattern with `*` and `?`, begins as a URI does (RFC 3986, 3.1).
pub fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    let wild = |c: char| matches!(c, '*' | '?');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic() || wild(c))
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.') || wild(c))
        // A text such as "Pedidos: PHP" is none.
        && !text.contains(char::is_whitespace)
}

/// Whom an address is counted as: with IPv6 a client has a whole /64 of them.
pub fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_that_passes_for_a_uri_says_what_it_is() {
        let shown = |kind, text: &str| CertificateName { kind, text: text.into() }.to_string();
        assert_eq!(shown(NameKind::Common, "presentaciones-php"), "presentaciones-php");
        assert_eq!(shown(NameKind::Common, "spiffe://exposia/admin"), "cn:spiffe://exposia/admin");
        assert_eq!(shown(NameKind::Uri, "spiffe://exposia/admin"), "spiffe://exposia/admin");
        assert_eq!(shown(NameKind::Email, "luz@example.com"), "luz@example.com");
    }

    #[test]
    fn a_scheme_is_what_the_standard_says() {
        for text in ["spiffe://exposia/php", "urn:exposia:php", "*://exposia/php", "s*:x", "a+b-c.1:x"] {
            assert!(has_scheme(text), "{text}");
        }
        for text in ["presentaciones-php", "*.example.com", "luz@example.com", "*", ":x", "1a:x", "Pedidos: PHP", ""] {
            assert!(!has_scheme(text), "{text}");
        }
    }

    #[test]
    fn ipv6_is_counted_by_its_64() {
        let counted = |address: &str| counted(address.parse().expect("an address")).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
    }
}
