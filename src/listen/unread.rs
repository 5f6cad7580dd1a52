//! What of a request's body nobody reads: it is taken within bounds and dropped.
//!
//! An answer may be ready before the request has come whole. A socket that is closed over what its client still sends loses
//! the answer on its way, and so does a stream of HTTP/2 that is reset: proxies make 502 of it, and simple clients an error. So
//! the answer goes out, and the rest is read and thrown away until it ends, or is more than it is worth.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, header::EXPECT};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore, task::yield_now, time::timeout};
use tokio_util::task::TaskTracker;

/// How long a client may send nothing of the rest.
const SILENCE: Duration = Duration::from_secs(2);

/// How many rests are read at a time, each through a buffer of its connection. Whoever comes on top is hung up on.
const RESTS: usize = 1_000;

/// How much may come before the answer goes out, if it comes at once.
const AT_ONCE: usize = 64 * 1024;

/// How often the connection has its turn before what is not there counts as still to come: it hands on one piece in each, and
/// notices the end of a body in another.
const MAX_IDLE_POLLS: usize = 2;

/// Reads what is left of requests, so much and for so long.
#[derive(Debug, Clone)]
pub struct Taker {
    max_bytes: usize,
    patience: Duration,
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Taker {
    /// Reads at most `max_bytes` of each rest for at most `patience`, on `tasks`.
    pub fn new(max_bytes: usize, patience: Duration, tasks: TaskTracker) -> Self {
        Self { max_bytes, patience, tasks, room: Arc::new(Semaphore::new(RESTS)) }
    }

    /// Takes what is left of `body` whenever it is let go.
    pub fn of<B: Whole>(&self, body: B) -> DrainedBody<B> {
        DrainedBody { body: Some(body), hand: None, taker: self.clone() }
    }

    /// The same for a request that is yet to be answered: its rest is asked for then.
    pub(super) fn watch<B: Whole>(&self, request: Request<B>) -> (Request<DrainedBody<B>>, Option<Rest<B>>) {
        if request.body().is_end_stream() {
            return (request.map(|body| self.of(body)), None);
        }
        let hand = Arc::new(Mutex::new(Hand::Reads));
        let waits = request.headers().contains_key(EXPECT);
        let rest = Rest { hand: Arc::clone(&hand), waits, taker: self.clone() };
        (request.map(|body| DrainedBody { body: Some(body), hand: Some(hand), taker: self.clone() }), Some(rest))
    }

    /// Begins to read what is left.
    fn take<B: Whole>(&self, body: B) {
        // At the end of the process there is nobody to read.
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return };
        let (max_bytes, patience) = (self.max_bytes, self.patience);
        let reading = async move {
            let _room = room;
            // Where time runs out, the rest is more than it is worth.
            let _ = timeout(patience, discard(body, max_bytes)).await;
        };
        self.tasks.spawn_on(reading, &runtime);
    }
}

async fn discard<B: Whole>(mut body: B, max_bytes: usize) {
    let mut discarded = 0;
    while let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > max_bytes {
            return;
        }
    }
}

/// A body as servers give it.
pub trait Whole: Body<Data = Bytes> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Whole for B {}

/// Who has the body of a request.
#[derive(Debug)]
enum Hand<B> {
    /// Whoever answers it.
    Reads,
    /// Nobody, before its end.
    LetGo(B),
    /// Nobody any more.
    Ended,
    /// Whoever has it, while the answer is out.
    Answered,
}

/// The body of a request, of which what is not read is taken.
#[derive(Debug)]
pub struct DrainedBody<B: Whole> {
    body: Option<B>,
    /// Where the body is put while there is no answer.
    hand: Option<Arc<Mutex<Hand<B>>>>,
    taker: Taker,
}

impl<B: Whole> Body for DrainedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B: Whole> Drop for DrainedBody<B> {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        let Some(hand) = &self.hand else { return body.into_iter().for_each(|body| self.taker.take(body)) };
        let mut hand = hand.lock();
        match (body, &*hand) {
            (Some(body), Hand::Answered) => {
                drop(hand);
                self.taker.take(body);
            }
            (Some(body), _) => *hand = Hand::LetGo(body),
            (None, _) => *hand = Hand::Ended,
        }
    }
}

/// What is left of a request when its answer is ready.
#[derive(Debug)]
pub(super) struct Rest<B> {
    hand: Arc<Mutex<Hand<B>>>,
    /// The client sends its body only once it is asked for it.
    waits: bool,
    taker: Taker,
}

impl<B: Whole> Rest<B> {
    /// Whether some of the body is still to come. That is read from now on; what has come is dropped.
    pub(super) async fn still_comes(self) -> bool {
        let hand = mem::replace(&mut *self.hand.lock(), Hand::Answered);
        let mut body = match hand {
            Hand::LetGo(body) => body,
            Hand::Ended => return false,
            Hand::Reads | Hand::Answered => return true,
        };
        // To read it would ask for it.
        if !self.waits && has_come(&mut body).await {
            return false;
        }
        self.taker.take(body);
        true
    }
}

/// Whether all of a body is there, and not much.
async fn has_come<B: Whole>(body: &mut B) -> bool {
    let (mut read, mut idle_polls) = (0, 0);
    while !body.is_end_stream() {
        match body.frame().now_or_never() {
            Some(Some(Ok(frame))) => {
                idle_polls = 0;
                read += frame.data_ref().map_or(0, Bytes::len);
            }
            Some(_) => return true,
            None => idle_polls += 1,
        }
        if read > AT_ONCE || idle_polls > MAX_IDLE_POLLS {
            return false;
        }
        if idle_polls > 0 {
            yield_now().await;
        }
    }
    true
}
