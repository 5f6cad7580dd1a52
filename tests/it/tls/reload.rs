//! Certificates that are replaced under a running service.

use std::fs;

use serde_json::json;
use tokio_tungstenite::client_async;

use super::{Authority, Files, HTTP_1, TlsApp, connect, shown_on};
use crate::support::{Client, Server, eventually, within};

// new connections get the new certificate, on both listeners; old ones live on
#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    let app = TlsApp::start().await;
    let mut ana = app.subscribe("ana").await;
    let renewed = app.authority.server();
    renewed.write(&app.files.certificate, &app.files.key);
    for (address, protocol) in [(app.app.http(), HTTP_1), (app.app.grpc_address(), "h2")] {
        eventually("the new certificate", async || {
            let stream = connect(address, app.authority.trusting(&[protocol])).await.expect("a handshake");
            (shown_on(&stream) == renewed.der()).then_some(())
        })
        .await;
    }
    ana.expect_nothing_before(app.publish(json!({})).await).await;
}

// files that are of no use change nothing, and the log says why
#[tokio::test]
async fn a_broken_certificate_changes_nothing() {
    let authority = Authority::new();
    let pair = authority.server();
    let files = Files::with(&pair);
    let mut server = Server::start(&files.settings()).await;
    let shown = async |server: &Server| {
        let stream = connect(server.http(), authority.trusting(&[HTTP_1])).await.expect("a handshake");
        let shown = shown_on(&stream);
        let (socket, _) =
            within("a handshake", Box::pin(client_async("wss://localhost/ws/ana", stream))).await.expect("a WebSocket");
        Client::over(socket).await.close().await;
        shown
    };
    let key = &authority.server().key;
    fs::write(&files.key, key).expect("written");
    let line = server.line_with("of no use").await;
    assert!(line.contains("TLS_KEY_FILE") && line.contains("does not fit"), "{line}");
    assert_eq!(shown(&server).await, pair.der());
    fs::remove_file(&files.certificate).expect("removed");
    let line = server.line_with("of no use").await;
    assert!(line.contains("TLS_CERT_FILE") && line.contains("cannot be read"), "{line}");
    assert_eq!(shown(&server).await, pair.der());
    let renewed = authority.server();
    renewed.write(&files.certificate, &files.key);
    server.line_with("were read again").await;
    assert_eq!(shown(&server).await, renewed.der());
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}
