//! A publish that takes as long as the test wants.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// The publish without its last byte, which is a brace.
const BEGINNING: &str = r#"{"event":"e","payload":{}"#;

/// A publish whose last byte is still to come.
pub(crate) struct InHand<S = TcpStream>(S);

impl InHand {
    /// Begins one; the service has read its head.
    pub(crate) async fn begin(http: SocketAddr) -> Self {
        Self::over(TcpStream::connect(http).await.expect("a connection")).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> InHand<S> {
    /// The same on a connection that is there.
    pub(crate) async fn over(mut stream: S) -> Self {
        let length = BEGINNING.len() + 1;
        let head = format!("POST /notify?token=dev HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        // The server asks for the body when it has read the head.
        let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a head");
        let mut go_on = [0; 25];
        within("100 Continue", stream.read_exact(&mut go_on)).await.expect("an interim answer");
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(BEGINNING.as_bytes()).await.expect("a part of the body");
        Self(stream)
    }

    /// Sends the rest and gives the status line of the answer.
    pub(crate) async fn finish(mut self) -> String {
        self.0.write_all(b"}").await.expect("the server waits for it");
        let mut answer = String::new();
        within("an answer", self.0.read_to_string(&mut answer)).await.expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}
