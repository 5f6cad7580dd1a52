//! Clients that mean no good, with TLS.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;

use super::{HTTP_1, HTTP_2, TlsApp, TlsClient, connect};
use crate::support::{drip, exchange, within};

/// How a handshake begins: a record of type handshake, for TLS 1.0 as all do, of 512 bytes.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

async fn impatient() -> (TlsApp, TlsClient) {
    let app = TlsApp::start_with(|config| config.listen.handshake_timeout = Duration::from_millis(500)).await;
    let luz = app.subscribe("luz").await;
    (app, luz)
}

async fn goes_on(app: &TlsApp, luz: &mut TlsClient) {
    luz.expect_nothing_before(app.publish(json!({})).await).await;
    assert_eq!(app.get("/health").await.1["status"], "healthy");
}

// whoever shakes hands byte by byte, never silent and never done, is hung up on; so is whoever says nothing
#[tokio::test]
async fn a_slow_loris_is_hung_up_on() {
    let (app, mut luz) = impatient().await;
    for address in [app.app.http(), app.app.grpc_address()] {
        for start in [CLIENT_HELLO, &CLIENT_HELLO[..1]] {
            drip(address, start).await;
            goes_on(&app, &mut luz).await;
        }
    }
}

// whoever shakes hands and then says nothing is hung up on, too
#[tokio::test]
async fn silence_after_the_handshake_is_hung_up_on() {
    let (app, mut luz) = impatient().await;
    let (http, grpc) = (app.app.http(), app.app.grpc_address());
    for (address, protocol) in [(http, HTTP_1), (http, HTTP_2), (grpc, HTTP_2)] {
        let mut silent = connect(address, app.authority.trusting(&[protocol])).await.expect("a handshake");
        let mut rest = Vec::new();
        let _ = within("the end", silent.read_to_end(&mut rest)).await;
        goes_on(&app, &mut luz).await;
    }
}

// what is no TLS after it began as such is answered with an alert (21), and with nothing of ours
#[tokio::test]
async fn rubbish_is_answered_with_an_alert() {
    let (app, mut luz) = impatient().await;
    for address in [app.app.http(), app.app.grpc_address()] {
        let answer = exchange(address, &[CLIENT_HELLO, &[0xff; 2_000]].concat()).await;
        assert_eq!(answer.as_bytes().first(), Some(&21), "{answer:?}");
        goes_on(&app, &mut luz).await;
    }
}
