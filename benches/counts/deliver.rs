//! From `POST /notify` to the sockets of a hundred clients: the whole service, in one thread with its clients.
//!
//! A delivery thus carries a hundredth of a publish, and what it takes a client to read it. One notification is on its way at a time,
//! so that each delivery is a write of its own.

use std::future;

use exposia_notifications::{app::App, config::Config, journal::Engine};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
};

use crate::{MEMBERS, Result, acts};

/// Publishes so many notifications to everybody.
pub(crate) fn run(notifications: usize) -> Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut config = Config::defaults();
        (config.listen.port, config.listen.grpc_port) = (0, 0);
        config.journal.engine = Engine::Memory;
        let app = App::build(config).await?;
        let address = app.http_address();
        tokio::select! {
            ended = app.run(future::pending()) => Ok(ended?),
            published = async {
                let mut clients = Vec::new();
                for number in 0..MEMBERS {
                    clients.push(Client::connect(address, number).await?);
                }
                publish(TcpStream::connect(address).await?, &mut clients, notifications).await
            } => published,
        }
    })
}

async fn publish(mut publisher: TcpStream, clients: &mut [Client], notifications: usize) -> Result<()> {
    let body = acts::body();
    let head = format!(
        "POST /notify HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer dev\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let mut answer = [0; 1_024];
    for _ in 0..notifications {
        publisher.write_all(&request).await?;
        let length = publisher.read(&mut answer).await?;
        if !answer[..length].starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer[..length]).into());
        }
        for client in &mut *clients {
            client.read_until(b"tema.creado").await?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Client(TcpStream);

impl Client {
    async fn connect(address: std::net::SocketAddr, number: usize) -> Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!(
            "GET /ws/c{number}?room=tema_7 HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut client = Self(socket);
        client.read_until(b"connection_established").await?;
        Ok(client)
    }

    /// Reads until something came that has `word` in it.
    async fn read_until(&mut self, word: &[u8]) -> Result<()> {
        let mut buffer = [0; 4_096];
        loop {
            let length = self.0.read(&mut buffer).await?;
            if length == 0 {
                return Err("the service hung up".into());
            }
            if memchr::memmem::find(&buffer[..length], word).is_some() {
                return Ok(());
            }
        }
    }
}
