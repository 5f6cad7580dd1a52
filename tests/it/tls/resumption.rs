//! Sessions that are resumed.

use std::{fs, net::SocketAddr};

use rustls::{
    ClientConfig, HandshakeKind,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::{Authority, HTTP_1, HTTP_2, TlsApp, connect, mtls, shown_on};
use crate::support::{eventually, scratch, within};

/// More clients than a table of sessions in the service would have places by default.
const CLIENTS: usize = 300;

/// Shakes hands and stays until the server has said something, before which it sends its tickets.
async fn visit(address: SocketAddr, config: &ClientConfig) -> std::io::Result<HandshakeKind> {
    let mut stream = connect(address, config.clone()).await?;
    let kind = stream.get_ref().1.handshake_kind().expect("a handshake");
    if config.alpn_protocols == [HTTP_1.as_bytes()] {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    }
    within("something from the server", stream.read_u8()).await?;
    Ok(kind)
}

/// How many of `clients`, each of which has a store of its own, resumed a session.
async fn resumed(address: SocketAddr, clients: &[ClientConfig]) -> usize {
    let mut visits = JoinSet::new();
    for config in clients {
        let config = config.clone();
        visits.spawn(async move { visit(address, &config).await.expect("a handshake") });
    }
    visits.join_all().await.into_iter().filter(|kind| *kind == HandshakeKind::Resumed).count()
}

// SECURITY.md: sessions are resumed by any number of clients, for the clients keep them; in both versions, on both listeners
#[tokio::test]
async fn hundreds_of_clients_resume_their_sessions() {
    let app = TlsApp::start().await;
    for (address, protocol) in [(app.app.http(), HTTP_1), (app.app.grpc_address(), HTTP_2)] {
        for version in [&TLS12, &TLS13] {
            let client = || app.authority.trusting_in(&[version], &[protocol]);
            let clients: Vec<_> = std::iter::repeat_with(client).take(CLIENTS).collect();
            assert_eq!(resumed(address, &clients).await, 0, "they have no tickets yet");
            assert_eq!(resumed(address, &clients).await, CLIENTS, "{protocol} {version:?}");
        }
    }
}

// a new certificate of the service does not end the tickets; new CAs of clients end those with certificates in them
#[tokio::test]
async fn tickets_outlive_a_certificate_and_not_the_authorities_of_clients() {
    let (old, new, folder) = (Authority::new(), Authority::new(), scratch());
    let app = mtls::start(&[&old, &new], &folder).await;
    let http = app.authority.trusting(&[HTTP_1]);
    // In TLS 1.3 the client is through before the server has looked at its certificate.
    let showing = |clients: &Authority| {
        app.authority.showing(&[&TLS12], &[HTTP_2], &clients.client("presentaciones-php", vec![]))
    };
    let (forsaken, kept) = (showing(&old), showing(&new));
    let grpc = app.app.grpc_address();
    for (address, config) in [(app.app.http(), &http), (grpc, &forsaken), (grpc, &kept)] {
        assert_eq!(visit(address, config).await.expect("a handshake"), HandshakeKind::Full);
        assert_eq!(visit(address, config).await.expect("a handshake"), HandshakeKind::Resumed);
    }
    let renewed = app.authority.server();
    renewed.write(&app.files.certificate, &app.files.key);
    eventually("the new certificate", async || {
        let stream = connect(grpc, app.authority.trusting(&[HTTP_2])).await.expect("a handshake");
        (shown_on(&stream) == renewed.der()).then_some(())
    })
    .await;
    for (address, config) in [(app.app.http(), &http), (grpc, &forsaken), (grpc, &kept)] {
        assert_eq!(visit(address, config).await.expect("a handshake"), HandshakeKind::Resumed);
    }
    fs::write(folder.path().join("clients.pem"), new.pem()).expect("written");
    // A client without a ticket, and then those with one.
    eventually("the new CAs", async || visit(grpc, &showing(&old)).await.err()).await;
    visit(grpc, &forsaken).await.expect_err("a ticket does not stand for a certificate that is believed no longer");
    assert_eq!(visit(grpc, &kept).await.expect("a handshake"), HandshakeKind::Full);
    assert_eq!(visit(app.app.http(), &http).await.expect("a handshake"), HandshakeKind::Resumed);
}
