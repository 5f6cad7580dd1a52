//! Places for connections: whoever says nothing, or has no right to be there, keeps nobody out.
//!
//! No time that the service knows ends a connection in these tests, unless the test is about that time: what is closed is
//! closed for a newcomer.

mod ages;
mod grpc;
mod http;
mod kept;

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use exposia_notifications::config::Config;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{TestApp, within};
pub(crate) use http::asks;

/// Longer than any test.
pub(crate) const NEVER: Duration = Duration::from_secs(60 * 60);

/// A service with so few places that a quarter of them are four, and that waits for nobody's head to be late.
pub(crate) fn sixteen(config: &mut Config) {
    few(config, 16);
}

/// A service with `places` of each kind.
pub(crate) fn few(config: &mut Config, places: usize) {
    let places = NonZeroUsize::new(places).expect("not zero");
    config.listen.max_http_connections = places;
    config.listen.max_grpc_connections = places;
    config.listen.handshake_timeout = NEVER;
    config.listen.idle_timeout = NEVER;
}

/// A connection that says nothing, from the `number`-th of two addresses of this machine.
pub(crate) async fn silent(address: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = if number.is_multiple_of(2) { [127, 0, 0, 1] } else { [127, 0, 0, 2] };
    socket.bind((own, 0).into()).expect("an address of this machine");
    within("a connection", socket.connect(address)).await.expect("a connection")
}

/// Waits until the service has hung up, with or without a last word.
pub(crate) async fn ends(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = within("the service hangs up", stream.read_to_end(&mut rest)).await;
}

/// Asserts that the service counts connections that found places taken.
async fn is_counted(app: &TestApp) {
    let counted = app.stats().await["refusals"]["connections"].as_u64();
    assert!(counted.is_some_and(|count| count > 0), "{counted:?}");
}
