//! The bodies of answers over gRPC, where they are more than what a handler made.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};

use crate::gate::{
    Caller, Error,
    answers::held,
    calls::{messages::ToldFault, strangers::Stay},
};

/// The end of an answer to `caller` that is refused after its head is out.
fn refusal(caller: &Caller, denied: Error) -> Frame<Bytes> {
    end(&caller.refuse(denied))
}

/// The end of an answer.
fn end(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // A status without its text and details is a status all the same.
    let _ = status.add_header(&mut trailers);
    Frame::trailers(trailers)
}

/// An answer whose bytes are counted until the transport has taken them. When they are too many, a refusal goes out in
/// their place.
#[derive(Debug)]
pub(super) struct Unread {
    body: Body,
    caller: Caller,
}

impl Unread {
    pub(super) fn new(body: Body, caller: Caller) -> Self {
        Self { body, caller }
    }
}

impl hyper::body::Body for Unread {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        frame.map_ok(|frame| {
            let bytes = match frame.into_data() {
                Ok(bytes) => bytes,
                Err(trailers) => return trailers,
            };
            match self.caller.charge_answer(bytes.len()) {
                Ok(Some(charge)) => Frame::data(held(bytes, charge)),
                Ok(None) => Frame::data(bytes),
                Err(denied) => {
                    self.body = Body::empty();
                    refusal(&self.caller, denied)
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// An answer of fewer bytes than this is not counted: what health says has a few. There are no more of them than calls.
const COUNTED: usize = 1024;

/// An answer to health or reflection. It ends when the place of its call is needed for another, and with what its request ended
/// with, of which reflection does not tell. What its client does not take is counted, and keeps the place.
#[derive(Debug)]
pub(super) struct Passing {
    body: Body,
    caller: Caller,
    fault: ToldFault,
    stay: Option<(Arc<Stay>, Pin<Box<WaitForCancellationFutureOwned>>)>,
}

impl Passing {
    pub(super) fn new(body: Body, caller: Caller, fault: ToldFault, stay: Option<Arc<Stay>>) -> Self {
        let stay = stay.map(|stay| {
            let ended = Box::pin(stay.over());
            (stay, ended)
        });
        Self { body, caller, fault, stay }
    }

    /// What goes out of a piece of the answer.
    fn count(&mut self, bytes: Bytes) -> Frame<Bytes> {
        let mut charge = self.caller.charge();
        if bytes.len() >= COUNTED
            && let Err(denied) = charge.set(bytes.len())
        {
            self.body = Body::empty();
            return refusal(&self.caller, denied);
        }
        let stay = self.stay.as_ref().map(|(stay, _)| Arc::clone(stay));
        Frame::data(held(bytes, (charge, stay)))
    }
}

impl hyper::body::Body for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.stay.as_mut().is_some_and(|(_, ended)| ended.as_mut().poll(cx).is_ready()) {
            this.stay = None;
            this.body = Body::empty();
            return Poll::Ready(Some(Ok(refusal(&this.caller, Error::StrangerCalls))));
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        frame.map_ok(|frame| {
            let frame = match frame.into_data() {
                Ok(bytes) => return this.count(bytes),
                Err(trailers) => trailers,
            };
            let fault = if frame.is_trailers() { this.fault.lock().take() } else { None };
            let Some(fault) = fault else { return frame };
            this.caller.refused(&fault);
            end(&fault)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
