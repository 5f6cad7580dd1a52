//! The certificates of clients whose connections are open: judged again when the CAs change that they are believed by, or what
//! those revoked.

use std::{
    future::pending,
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use crate::{domain::Certificate, listen::tls::Tls};

/// Watches over a connection that was opened with a certificate, and fails it when that is believed no longer.
pub(in crate::listen) struct Trust {
    /// Ends when the certificate is not believed.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    certificate: Arc<Certificate>,
}

impl Trust {
    /// Watches the `chain` that was shown, whose first is `certificate`. It is judged at once, too: the handshake may have begun under
    /// other CAs, and a session that was resumed shows what was judged long ago. `told` is told why it ends.
    pub(super) fn new(
        tls: watch::Receiver<Tls>,
        chain: &[CertificateDer<'static>],
        certificate: Arc<Certificate>,
        told: impl FnOnce(rustls::Error) + Send + 'static,
    ) -> Self {
        let chain = chain.to_vec();
        let over = async move { told(disbelieved(tls, chain).await) };
        Self { over: Box::pin(over), certificate }
    }

    /// Fails when the certificate is not believed any more. Whoever asks is woken when that changes.
    pub(in crate::listen) fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.certificate.is_believed() {
            match self.over.as_mut().poll(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) => self.certificate.disbelieve(),
            }
        }
        Err(io::Error::new(ErrorKind::PermissionDenied, "the client's certificate is believed no longer"))
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Waits until the `chain` of a client is not believed, and gives the reason.
async fn disbelieved(mut tls: watch::Receiver<Tls>, chain: Vec<CertificateDer<'static>>) -> rustls::Error {
    let Some((first, others)) = chain.split_first() else { return pending().await };
    loop {
        // Not judged under the lock of the value, for there may be a thousand of these.
        let clients = Arc::clone(&tls.borrow_and_update().rest.clients);
        if let Err(error) = clients.verify_client_cert(first, others, UnixTime::now()) {
            return error;
        }
        if tls.changed().await.is_err() {
            // Nobody follows the files any more: the service ends.
            return pending().await;
        }
    }
}
