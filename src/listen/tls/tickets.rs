//! The keys of session tickets (RFC 5077; RFC 8446, 2.2).
//!
//! A ticket is a session that the client keeps, sealed with a key of the service, so that there may be any number of them and none
//! takes memory here. rustls makes a new key every six hours and gives up an old one six hours after that, whenever it is next
//! asked; what a certificate in an older ticket is worth is [judged](super::trust) on every connection.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{crypto::ring::Ticketer, pki_types::CertificateDer, server::ProducesTickets};

/// Seals the tickets of one listener.
type Sealer = Arc<dyn ProducesTickets>;

/// The keys of both listeners. They outlive a new certificate of the service, so that clients resume behind it.
#[derive(Debug)]
pub(super) struct Tickets {
    http: Sealer,
    grpc: Mutex<Believed>,
}

/// The keys of tickets that have certificates of clients in them, and the CAs by which those were believed.
#[derive(Debug)]
struct Believed {
    authorities: Vec<CertificateDer<'static>>,
    sealer: Sealer,
}

impl Tickets {
    /// New keys; an error when the system has no random numbers.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let grpc = Believed { authorities: Vec::new(), sealer: Ticketer::new()? };
        Ok(Self { http: Ticketer::new()?, grpc: Mutex::new(grpc) })
    }

    /// Gives the tickets of the HTTP listener.
    pub(super) fn http(&self) -> Sealer {
        Arc::clone(&self.http)
    }

    /// Gives the tickets of the gRPC listener, whose clients `authorities` vouch for: when they change, all tickets end.
    pub(super) fn grpc(&self, authorities: &[CertificateDer<'static>]) -> Result<Sealer, rustls::Error> {
        let mut grpc = self.grpc.lock();
        if grpc.authorities != authorities {
            *grpc = Believed { authorities: authorities.to_vec(), sealer: Ticketer::new()? };
        }
        Ok(Arc::clone(&grpc.sealer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_end_with_the_authorities_that_they_were_made_under() {
        let tickets = Tickets::new().expect("keys");
        let authority = |byte: u8| [CertificateDer::from(vec![byte])];
        let first = tickets.grpc(&authority(1)).expect("keys");
        let sealed = first.encrypt(b"a session").expect("sealed");
        let same = tickets.grpc(&authority(1)).expect("keys");
        assert_eq!(same.decrypt(&sealed).as_deref(), Some(&b"a session"[..]));
        assert_eq!(tickets.grpc(&authority(2)).expect("keys").decrypt(&sealed), None);
        assert_eq!(tickets.http().decrypt(&sealed), None, "each listener has keys of its own");
    }
}
