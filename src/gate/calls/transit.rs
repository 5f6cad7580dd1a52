//! What becomes of an answer that its handler gave: it may wait long for a client that does not read, and cannot be taken back.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, body::Body};

use crate::gate::{HangUp, answers::held};

/// A piece of fewer bytes than this is not followed.
const FOLLOWED: usize = 4 * 1024;

/// Follows an answer through the transport.
#[derive(Debug, Clone)]
pub struct Transit {
    bytes: Arc<AtomicUsize>,
    gone: CancellationToken,
    hang_up: Option<HangUp>,
}

impl Transit {
    /// The answer to a call, and how its connection is closed if no others share that.
    pub(super) fn new(hang_up: Option<HangUp>) -> (Self, Aboard) {
        let (bytes, gone) = (Arc::default(), CancellationToken::new());
        let aboard = Aboard(Arc::new(Inner { bytes: Arc::clone(&bytes), _gone: gone.clone().drop_guard() }));
        (Self { bytes, gone, hang_up }, aboard)
    }

    /// How many bytes the client has not taken, without small pieces.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until nothing is left of the answer.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Closes the connection, unless it is that of a proxy, which brings the calls of others as well.
    pub fn hang_up(&self) {
        if let Some(hang_up) = &self.hang_up {
            hang_up.hang_up();
        }
    }
}

/// The part that goes with the answer.
#[derive(Debug, Clone)]
pub(super) struct Aboard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Arc<AtomicUsize>,
    _gone: DropGuard,
}

/// A piece of an answer, until the transport has taken it.
struct Piece(Aboard, usize);

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.0.bytes.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// An answer that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    body: Body,
    aboard: Aboard,
}

impl Followed {
    pub(super) fn new(body: Body, aboard: Aboard) -> Self {
        Self { body, aboard }
    }
}

impl hyper::body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        frame.map_ok(|frame| {
            frame.map_data(|bytes| {
                if bytes.len() < FOLLOWED {
                    return bytes;
                }
                let length = bytes.len();
                self.aboard.0.bytes.fetch_add(length, Ordering::Relaxed);
                held(bytes, Piece(self.aboard.clone(), length))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
