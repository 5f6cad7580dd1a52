//! A wire between a proxy and the service that tells which of the two hangs up.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::support::within;

/// An end of the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Side {
    Proxy,
    Service,
}

/// Passes on each connection to a service.
pub(super) struct Watched {
    /// Where the proxy is to find the service.
    pub(super) address: SocketAddr,
    hung_up: mpsc::UnboundedReceiver<Side>,
}

impl Watched {
    pub(super) async fn before(service: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, hung_up) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((proxy, _)) = listener.accept().await {
                let service = TcpStream::connect(service).await.expect("the service listens");
                let sender = sender.clone();
                // Nobody may ask any more.
                tokio::spawn(async move { drop(sender.send(pass_on(proxy, service).await)) });
            }
        });
        Self { address, hung_up }
    }

    /// Waits until a connection ends, and says who was the first to end it.
    pub(super) async fn first_to_hang_up(&mut self) -> Side {
        within("an end", self.hung_up.recv()).await.expect("the wire is there")
    }
}

async fn pass_on(mut proxy: TcpStream, mut service: TcpStream) -> Side {
    let (mut request, mut answer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let (to, bytes, side) = tokio::select! {
            read = proxy.read(&mut request) => (&mut service, &request[..read.unwrap_or(0)], Side::Proxy),
            read = service.read(&mut answer) => (&mut proxy, &answer[..read.unwrap_or(0)], Side::Service),
        };
        // Whom it cannot be passed on to has hung up, which is read next.
        if bytes.is_empty() || to.write_all(bytes).await.is_err() {
            return side;
        }
    }
}
