//! What the log says of handshakes that fail.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Authority, Files};
use crate::support::Server;

// SECURITY.md: a handshake that fails is logged with its reason and address
#[tokio::test]
async fn a_handshake_that_fails_is_logged_with_its_address() {
    let files = Files::with(&Authority::new().server());
    let mut server = Server::start(&files.settings()).await;
    let mut plain = TcpStream::connect(server.grpc()).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("the server listens");
    let line = server.line_with("a TLS handshake failed").await;
    let address = plain.local_addr().expect("an address").to_string();
    assert!(line.contains("WARN") && line.contains("does not speak TLS") && line.contains(&address), "{line}");
}
