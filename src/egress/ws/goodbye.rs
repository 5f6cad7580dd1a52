//! The last a client hears, behind which it is hung up on.

use std::{future::poll_fn, time::Duration};

use tokio::{task::yield_now, time::timeout};

use crate::{
    egress::ws::{Connection, connection::Todo},
    rooms::Member,
};

/// How long a closing connection may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a client is read whose connection is closing. One that sends so much behind its end does not listen.
const READS_OF_SCRAP: usize = 2_048;

/// Writes what is left, up to the close frame, and waits for the client to hang up; not for long.
pub(super) async fn say(connection: &Connection) {
    let socket = connection.socket();
    let goodbye = async {
        while !connection.is_drained() {
            if connection.todo() == Todo::Stop || poll_fn(|cx| socket.poll_write_ready(cx)).await.is_err() {
                return;
            }
            connection.flush();
        }
        // Nothing more will be written. The client sees the end even if it never answers the close frame.
        if socket.shut_down().await.is_err() {
            return;
        }
        let mut scrap = [0; 512];
        for _ in 0..READS_OF_SCRAP {
            if poll_fn(|cx| socket.poll_read_ready(cx)).await.is_err() {
                return;
            }
            match socket.try_read(&mut scrap) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                // A client that floods is read no faster than others get their turn, and hung up on in time.
                _ => yield_now().await,
            }
        }
    };
    // A client that does not hang up is hung up on.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}
