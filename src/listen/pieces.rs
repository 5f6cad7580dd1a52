//! The answers of an HTTP/2 connection, handed out in pieces, so that it is known which of them the client takes.
//!
//! hyper hands a body on as soon as the client's window is open by a byte, and h2 keeps what does not fit. So a body is no sign
//! of what was sent: each piece has the turn, which ends when the last of them was written.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HyperBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::listen::{
    http::WRITE_TIMEOUT,
    places::{ConnectionStanding, Turn},
    speaking::Spoken,
};

/// How large a piece is, in bytes: what a frame has at the most, unless the client asks for more.
const PIECE: usize = 16 * 1024;

/// How long answers may be left alone, at the most, before the connection gives way to a newcomer.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// What of a connection's answers was handed out and is not written yet.
#[derive(Debug)]
pub(super) struct Untaken {
    standing: ConnectionStanding,
    out: Mutex<Out>,
    /// Is told when there is a piece again.
    begins: Notify,
}

#[derive(Debug)]
struct Out {
    pieces: usize,
    /// When one of them was last taken, or the first of them handed out.
    moved: Instant,
    yields: bool,
}

impl Untaken {
    /// Makes a count of a connection that has sent nothing yet.
    pub(super) fn new(standing: ConnectionStanding) -> Arc<Self> {
        let out = Mutex::new(Out { pieces: 0, moved: Instant::now(), yields: false });
        Arc::new(Self { standing, out, begins: Notify::new() })
    }

    /// The body of an answer, in pieces.
    pub(super) fn pieces(self: &Arc<Self>, spoken: Spoken) -> Pieces {
        let (body, turn) = spoken.into_parts();
        Pieces { body, rest: Bytes::new(), turn: Arc::new(turn), untaken: Arc::clone(self) }
    }

    /// Lets the connection give way to newcomers while none of its pieces is taken for `patience`, or a few seconds. Completes
    /// when none was for [`WRITE_TIMEOUT`].
    pub(super) async fn abandoned(&self, patience: Duration) {
        let patience = patience.min(LEFT_ALONE);
        loop {
            let Some(moved) = self.waits_since() else {
                self.begins.notified().await;
                continue;
            };
            let waited = moved.elapsed();
            if waited >= WRITE_TIMEOUT {
                return;
            }
            if waited < patience {
                sleep(patience - waited).await;
            } else {
                self.give_way(moved);
                // A piece may be taken meanwhile, and none after it.
                sleep(patience.min(WRITE_TIMEOUT - waited)).await;
            }
        }
    }

    fn waits_since(&self) -> Option<Instant> {
        let out = self.out.lock();
        (out.pieces > 0).then_some(out.moved)
    }

    /// Lets the connection give way, unless a piece was taken since `moved`.
    fn give_way(&self, moved: Instant) {
        let mut out = self.out.lock();
        if out.pieces > 0 && out.moved == moved && !out.yields {
            out.yields = true;
            self.standing.give_way();
        }
    }

    fn hand_out(self: &Arc<Self>, bytes: Bytes, turn: &Arc<Turn>) -> Bytes {
        let mut out = self.out.lock();
        if out.pieces == 0 {
            out.moved = Instant::now();
            self.begins.notify_one();
        }
        out.pieces += 1;
        Bytes::from_owner(Piece { bytes, untaken: Arc::clone(self), _turn: Arc::clone(turn) })
    }

    fn taken(&self) {
        let mut out = self.out.lock();
        out.pieces -= 1;
        out.moved = Instant::now();
        if out.yields {
            out.yields = false;
            self.standing.stay();
        }
    }
}

/// A piece of an answer. It is dropped when it was written, or with its stream.
struct Piece {
    bytes: Bytes,
    untaken: Arc<Untaken>,
    /// Ends behind what [`Untaken`] is told.
    _turn: Arc<Turn>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.untaken.taken();
    }
}

/// A body in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Body,
    /// What the body gave already.
    rest: Bytes,
    turn: Arc<Turn>,
    untaken: Arc<Untaken>,
}

impl HyperBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(this.untaken.hand_out(piece, &this.turn)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use futures_util::poll;
    use http_body_util::BodyExt;
    use tokio::time::advance;

    use super::*;
    use crate::listen::{
        OnFull,
        places::{Place, Places},
    };

    /// The one place that there is, for an answer of so many bytes.
    fn answer(bytes: usize) -> (Places, Place, Arc<Untaken>, Pieces) {
        let places = Places::http(NonZeroUsize::MIN, &[], &OnFull::new(|_, _| {}));
        let place = places.take([127, 0, 0, 1].into()).expect("it is free");
        let turn = place.standing().begin(true).expect("it is open");
        let untaken = Untaken::new(place.standing().clone());
        let pieces = untaken.pieces(Spoken::new(Body::from(vec![b'x'; bytes]), turn));
        (places, place, untaken, pieces)
    }

    async fn next(pieces: &mut Pieces) -> Bytes {
        let frame = pieces.frame().await.expect("a piece").expect("no error");
        frame.into_data().expect("a piece")
    }

    #[tokio::test]
    async fn a_turn_ends_with_the_last_piece() {
        let (_places, place, _untaken, mut pieces) = answer(2 * PIECE + 1);
        assert_eq!(pieces.size_hint().exact(), Some(2 * PIECE as u64 + 1));
        let all = [next(&mut pieces).await, next(&mut pieces).await];
        assert_eq!((all[0].len(), all[1].len(), pieces.is_end_stream()), (PIECE, PIECE, false));
        assert_eq!(pieces.size_hint().exact(), Some(1));
        let last = next(&mut pieces).await;
        assert_eq!((last.len(), pieces.is_end_stream()), (1, true));
        drop((all, pieces));
        assert!(place.standing().is_busy(), "the last is not written");
        drop(last);
        assert!(!place.standing().is_busy());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_gives_way_and_ends() {
        let (places, place, untaken, mut pieces) = answer(2 * PIECE);
        let abandoned = untaken.abandoned(Duration::MAX);
        tokio::pin!(abandoned);
        assert!(poll!(abandoned.as_mut()).is_pending());
        let first = next(&mut pieces).await;
        assert!(poll!(abandoned.as_mut()).is_pending());
        advance(LEFT_ALONE - Duration::from_millis(1)).await;
        assert!(poll!(abandoned.as_mut()).is_pending());
        assert!(places.take([127, 0, 0, 1].into()).is_none(), "it is busy");
        advance(Duration::from_millis(1)).await;
        assert!(poll!(abandoned.as_mut()).is_pending());
        let second = next(&mut pieces).await;
        drop(first);
        assert!(places.take([127, 0, 0, 1].into()).is_none(), "one was taken");
        advance(LEFT_ALONE).await;
        assert!(poll!(abandoned.as_mut()).is_pending());
        advance(WRITE_TIMEOUT - LEFT_ALONE).await;
        assert!(poll!(abandoned.as_mut()).is_ready());
        let _newcomer = places.take([127, 0, 0, 1].into()).expect("it gives way");
        assert!(place.standing().is_closed());
        drop(second);
    }
}
