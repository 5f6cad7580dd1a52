//! The socket of a connection that was upgraded: no longer HTTP's, and read from and written to without waiting.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};
use tokio_util::either::Either;

use crate::listen::{Stream, kept::Kept, tls::Records};

/// A client's socket. Several may use it at a time; what is written by two at once is mixed.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    /// In a box, so that a plain socket is no larger for it.
    tls: Option<Box<Records>>,
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        match stream {
            Either::Left(tcp) => Self { tcp, tls: None },
            Either::Right(encrypted) => {
                let (tcp, tls) = encrypted.into_inner();
                Self { tcp, tls: Some(Box::new(Records::new(tls))) }
            }
        }
    }
}

impl Socket {
    /// Takes the socket out of HTTP, with what was read already; `None` when the connection is none of this listener's.
    pub fn of_upgraded(upgraded: Upgraded) -> Option<(Self, Vec<u8>)> {
        let parts = upgraded.downcast::<TokioIo<Kept>>().ok()?;
        // The head is copied: what it was read into is much larger.
        Some((parts.io.into_inner().into_stream().into(), parts.read_buf.to_vec()))
    }

    /// Reads what is there; 0 at the end, and `WouldBlock` when nothing is there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.tcp.try_read(buffer),
            Some(tls) => tls.try_read(&self.tcp, buffer),
        }
    }

    /// Writes as much as fits, and `WouldBlock` when nothing does. 0 says that only what was written before moved on, which
    /// then [holds](Self::is_flushed) it up.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match (&self.tls, slices) {
            (Some(tls), slices) => return tls.try_write(&self.tcp, slices),
            (None, [slice]) => self.tcp.try_write(slice),
            (None, slices) => self.tcp.try_write_vectored(slices),
        };
        if matches!(written, Ok(0)) { Err(ErrorKind::WriteZero.into()) } else { written }
    }

    /// Whether the system has all that was written. While it has not, somebody must go on writing, if only nothing.
    pub fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_flushed())
    }

    /// Whether there may be something to read.
    ///
    /// This is polled, and not awaited: polling takes the socket's one place for a reader's waker, in which hyper's task
    /// would otherwise be kept alive for as long as the connection.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            Some(tls) if tls.has_read() => Poll::Ready(Ok(())),
            _ => self.tcp.poll_read_ready(cx),
        }
    }

    /// Whether the client hung up, and will say no more than what is here already.
    pub fn has_hung_up(&self) -> bool {
        let ready = self.tcp.ready(Interest::READABLE).now_or_never();
        ready.and_then(Result::ok).is_some_and(|ready| ready.is_read_closed())
    }

    /// Whether something may fit, as far as is known now. Unlike polling, asking this wakes nobody later and displaces nobody's waker.
    pub fn is_writable(&self) -> bool {
        self.tcp.try_io(Interest::WRITABLE, || Ok(())).is_ok()
    }

    /// Whether something may fit.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Tells the client that nothing more will be written, behind all that was.
    pub async fn shut_down(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            tls.close();
        }
        while !self.is_flushed() {
            match self.try_write(&[]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => poll_fn(|cx| self.poll_write_ready(cx)).await?,
                outcome => drop(outcome?),
            }
        }
        SockRef::from(&self.tcp).shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::ServerName};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

    use super::*;

    /// A socket that speaks TLS, and the client at its other end.
    async fn pair() -> (Socket, TlsStream<TcpStream>) {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(key.cert.der().clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], key.signing_key.into())
            .expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let accept = async {
            let (tcp, _) = listener.accept().await.expect("a connection");
            TlsAcceptor::from(Arc::new(server)).accept(tcp).await.expect("a handshake")
        };
        let connect = async {
            let tcp = TcpStream::connect(address).await.expect("a connection");
            let name = ServerName::try_from("localhost").expect("a name");
            TlsConnector::from(Arc::new(client)).connect(name, tcp).await.expect("a handshake")
        };
        let (server, client) = tokio::join!(accept, connect);
        (Stream::Right(Box::new(server)).into(), client)
    }

    // What is decrypted already the socket below does not announce.
    #[tokio::test]
    async fn what_is_decrypted_counts_as_readable() {
        let (socket, mut client) = pair().await;
        client.write_all(b"one record").await.expect("the connection is open");
        let mut text = String::new();
        while text != "one record" {
            poll_fn(|cx| socket.poll_read_ready(cx)).await.expect("the connection is open");
            let mut byte = [0];
            match socket.try_read(&mut byte) {
                Ok(1) => text.push(byte[0].into()),
                outcome => assert_eq!(outcome.expect_err("not the end").kind(), ErrorKind::WouldBlock),
            }
        }
        client.shutdown().await.expect("the connection is open");
        loop {
            poll_fn(|cx| socket.poll_read_ready(cx)).await.expect("the connection is open");
            match socket.try_read(&mut [0; 8]) {
                Ok(bytes) => return assert_eq!(bytes, 0, "the end"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }

    // A client that does not read makes the socket block, with little held; when it reads on, it gets every byte in order.
    #[tokio::test]
    async fn what_is_held_when_it_blocks_is_sent_later() {
        let (socket, mut client) = pair().await;
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(1_000_003).collect();
        let mut sent: Vec<u8> = Vec::new();
        loop {
            match socket.try_write(&[IoSlice::new(&bytes[..7]), IoSlice::new(&bytes)]) {
                Ok(taken) => {
                    assert!(taken <= 64 * 1024, "no more is taken than may be held");
                    sent.extend(bytes[..7].iter().chain(&bytes).take(taken));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!socket.is_flushed(), "somebody must come back");
        let mut received = Vec::new();
        let (flushed, read) = tokio::join!(socket.shut_down(), client.read_to_end(&mut received));
        flushed.expect("the client reads");
        read.expect("the end is said, and not only there");
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    }
}
