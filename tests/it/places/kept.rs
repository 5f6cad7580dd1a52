//! How long a kept HTTP connection may say nothing.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{NEVER, ends, http::asks, silent};
use crate::support::TestApp;

const SHORT: Duration = Duration::from_millis(100);

// a kept connection that asks for nothing any more is hung up on after IDLE_TIMEOUT
#[tokio::test]
async fn an_idle_connection_is_hung_up_on() {
    let app = TestApp::start_with(|config| {
        config.listen.handshake_timeout = NEVER;
        config.listen.idle_timeout = SHORT;
    })
    .await;
    let mut idle = TcpStream::connect(app.http()).await.expect("a connection");
    asks(&mut idle).await;
    ends(&mut idle).await;
}

// the time for a head does not run while none has begun; once it has, it does
#[tokio::test]
async fn the_time_for_a_head_begins_with_it() {
    let app = TestApp::start_with(|config| {
        config.listen.handshake_timeout = SHORT;
        config.listen.idle_timeout = NEVER;
    })
    .await;
    let mut kept = TcpStream::connect(app.http()).await.expect("a connection");
    asks(&mut kept).await;
    // Whoever came later and never asked had its time.
    ends(&mut silent(app.http(), 0).await).await;
    asks(&mut kept).await;
    kept.write_all(b"GET /health HTTP/1.1\r\n").await.expect("the connection is open");
    ends(&mut kept).await;
}
