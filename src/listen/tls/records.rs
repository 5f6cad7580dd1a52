//! TLS records of a connection that has no task of its own: reads and writes pass between plain text and the socket without
//! waiting.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};

use parking_lot::Mutex;
use rustls::ServerConnection;
use tokio::net::TcpStream;

/// How much may be encrypted and not be sent yet.
pub(super) const MAX_HELD: usize = 64 * 1024;

/// The records of a connection, both ways.
///
/// What was encrypted cannot be taken back, so it counts as written before it is sent: whoever writes has to come back until
/// nothing [is held](Self::is_flushed) any more.
#[derive(Debug)]
pub(in crate::listen) struct Records(Mutex<ServerConnection>);

impl Records {
    /// After the handshake.
    pub(in crate::listen) fn new(connection: ServerConnection) -> Self {
        Self(Mutex::new(connection))
    }

    /// Reads plain text; see [`Socket::try_read`](crate::listen::Socket::try_read).
    pub(in crate::listen) fn try_read(&self, tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tls = self.0.lock();
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            // At the end of the socket the next turn gives the end of the plain text, or says that it was cut off.
            tls.read_tls(&mut Now(tcp))?;
            let processed = tls.process_new_packets();
            // An answer to what came, or the reason why it is refused. What does not fit goes with the next write.
            let _ = send(&mut tls, tcp);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Whether there is something to read for which the socket need not be asked: plain text, or an end.
    pub(in crate::listen) fn has_read(&self) -> bool {
        !matches!(self.0.lock().reader().fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Takes plain text, once all that was taken before is sent. `Ok(0)`: only some of that was.
    pub(in crate::listen) fn try_write(&self, tcp: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut tls = self.0.lock();
        if tls.wants_write() {
            send(&mut tls, tcp)?;
        }
        if tls.wants_write() {
            return Ok(0);
        }
        let taken = tls.writer().write_vectored(slices)?;
        match send(&mut tls, tcp) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Whether all that was taken is sent.
    pub(in crate::listen) fn is_flushed(&self) -> bool {
        !self.0.lock().wants_write()
    }

    /// Says that no more will be written.
    pub(in crate::listen) fn close(&self) {
        self.0.lock().send_close_notify();
    }
}

/// Sends what is encrypted, as far as the socket takes it, and `WouldBlock` when it takes nothing.
fn send(tls: &mut ServerConnection, tcp: &TcpStream) -> io::Result<()> {
    let mut sent = false;
    while tls.wants_write() {
        match tls.write_tls(&mut Now(tcp)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => sent = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock && sent => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket for those who do not wait.
struct Now<'s>(&'s TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
