//! Debian's redis-server that syncs before it answers, and clients that wait for each answer.

use std::{path::Path, process::Stdio, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    Result,
    publish::{Load, PAYLOAD},
};

const PORT: u16 = 47_379;

pub(crate) struct Redis(Child);

impl Redis {
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        let process = Command::new("redis-server")
            .args([
                "--port",
                &PORT.to_string(),
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--dir",
            ])
            .arg(dir)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        // It says nowhere but in its log that it listens.
        while TcpStream::connect(("127.0.0.1", PORT)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self(process))
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.0.kill().await?;
        Ok(())
    }
}

/// Sends `XADD`, waits for the answer, and again, until the load ends.
pub(crate) async fn publish(load: Load) -> Result<()> {
    let payload = PAYLOAD;
    let request =
        format!("*5\r\n$4\r\nXADD\r\n$6\r\nstream\r\n$1\r\n*\r\n$7\r\npayload\r\n${}\r\n{payload}\r\n", payload.len());
    let mut socket = TcpStream::connect(("127.0.0.1", PORT)).await?;
    socket.set_nodelay(true)?;
    let mut answer = Vec::new();
    while load.goes_on() {
        socket.write_all(request.as_bytes()).await?;
        answer.clear();
        // "$15\r\n1700000000000-0\r\n"
        while answer.iter().filter(|byte| **byte == b'\n').count() < 2 {
            if socket.read_buf(&mut answer).await? == 0 || answer[0] != b'$' {
                return Err(String::from_utf8_lossy(&answer).into());
            }
        }
        load.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
