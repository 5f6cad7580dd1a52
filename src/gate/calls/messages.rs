//! The body of a gRPC request, message by message: what is too long, too slow or too much is refused before it is kept.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};

use crate::{
    domain::Code,
    gate::{
        Caller, Charge, Error,
        calls::{
            framing::{Framing, TooLong},
            methods::Form,
            patience::Patience,
            strangers::Stay,
            unpack::{Packed, UnpackFault as Unreadable},
        },
    },
    wire::status::{Limit, grpc_status, grpc_too_large, grpc_too_late},
};

/// What is too large.
const A_MESSAGE: &str = "a message of this method";

/// What a body ended with, for an answer whose handler does not pass it on.
pub(super) type ToldFault = Arc<Mutex<Option<Status>>>;

/// The body, as the handler reads it.
#[derive(Debug)]
pub(super) struct Messages {
    body: Body,
    form: Form,
    limit: Limit,
    framing: Framing,
    patience: Patience,
    caller: Caller,
    /// Of a client that compresses: what has come, until it is unpacked.
    packed: Option<Packed>,
    /// What is held of a message that is not complete.
    charge: Option<Charge>,
    /// What ends the body, behind what was complete before.
    fault: Option<Status>,
    /// Where that is told besides.
    told: ToldFault,
    /// Says that the place of this call, whose caller has no credential, is needed for another.
    ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Messages {
    pub(super) fn new(body: Body, (form, limit): (Form, Limit), patience: Patience, caller: Caller) -> Self {
        let (framing, told) = (Framing::default(), ToldFault::default());
        let (packed, charge, fault, ended) = (None, None, None, None);
        Self { body, form, limit, framing, patience, caller, packed, charge, fault, told, ended }
    }

    /// Follows the messages of a body likewise, and unpacks those that are compressed.
    pub(super) fn packed(mut self) -> Self {
        self.packed = Some(Packed::default());
        self
    }

    /// Ends the body when the place of its call is needed for another.
    pub(super) fn with_stay(mut self, stay: Option<&Stay>) -> Self {
        self.ended = stay.map(|stay| Box::pin(stay.over()));
        self
    }

    /// What it ends with, once it has.
    pub(super) fn told(&self) -> ToldFault {
        Arc::clone(&self.told)
    }

    /// Ends the body: nothing more is to come, and nothing that came is kept.
    fn end(&mut self, fault: Status) -> Status {
        self.body = Body::empty();
        self.packed = None;
        self.charge = None;
        self.framing = Framing::default();
        *self.told.lock() = Some(fault.clone());
        fault
    }

    /// Why it must end while the rest is waited for.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        if self.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
            self.ended = None;
            return Poll::Ready(Error::StrangerCalls.into());
        }
        let over = self.patience.poll_over(cx, self.framing.held() > 0);
        over.map(|over| grpc_too_late(over.setting, over.time))
    }

    /// The next message of those that came compressed.
    fn poll_unpacked(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(packed) = &mut self.packed else { return Poll::Ready(None) };
        let Some(unpacked) = std::task::ready!(packed.poll_next(cx, self.limit.bytes)) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(unpacked.map(Frame::data).map_err(|fault| {
            let fault = match fault {
                Unreadable::TooLong => grpc_too_large(A_MESSAGE, self.limit, Some("")),
                Unreadable::NotGzip => {
                    let message = "a message cannot be unpacked; compress it as `grpc-encoding` says, or not at all";
                    grpc_status(Code::Malformed, message, None)
                }
            };
            self.end(fault)
        })))
    }

    /// What of a piece may be read.
    fn take(&mut self, mut piece: Bytes) -> Result<Bytes, Status> {
        let before = self.framing.complete();
        let checked = self.check(&piece);
        let completed = self.framing.complete() > before;
        match checked {
            Ok(()) => {}
            Err((whole, fault)) => {
                let fault = self.end(fault);
                if whole == 0 {
                    return Err(fault);
                }
                piece.truncate(whole);
                self.fault = Some(fault);
            }
        }
        if completed {
            self.patience.complete();
        }
        Ok(piece)
    }

    /// Whether a piece may be kept; if not, how much of it belongs to messages that are complete, and what is wrong with the rest.
    fn check(&mut self, piece: &Bytes) -> Result<(), (usize, Status)> {
        let whole = match self.framing.follow(piece, self.limit.bytes) {
            Ok(whole) => whole,
            Err(TooLong { whole }) => {
                return Err((whole, grpc_too_large(A_MESSAGE, self.limit, Some(""))));
            }
        };
        let held = self.framing.held();
        if self.form == Form::One && (self.framing.complete() > 1 || self.framing.complete() == 1 && held > 0) {
            let message = "a call of this method has one message; begin another call for the next";
            return Err((0, grpc_status(Code::Malformed, message, None)));
        }
        if held == 0 {
            self.charge = None;
            return Ok(());
        }
        let charge = self.charge.get_or_insert_with(|| self.caller.charge());
        charge.set_came(held).map_err(|denied| (whole, denied.into()))
    }
}

impl hyper::body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(frame) = std::task::ready!(this.poll_unpacked(cx)) {
            return Poll::Ready(Some(frame));
        }
        if let Some(fault) = this.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => this.poll_over(cx).map(|fault| Some(Err(this.end(fault)))),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data().map(|piece| this.take(piece)) {
                Ok(Ok(piece)) => match &mut this.packed {
                    Some(packed) => {
                        packed.push(&piece);
                        Pin::new(this).poll_frame(cx)
                    }
                    None => Poll::Ready(Some(Ok(Frame::data(piece)))),
                },
                Ok(Err(fault)) => Poll::Ready(Some(Err(fault))),
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) if this.framing.held() > 0 => {
                let message = "the body ended in the middle of a message; send all of it";
                Poll::Ready(Some(Err(this.end(grpc_status(Code::Malformed, message, None)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.fault.is_none() && self.packed.is_none() && self.framing.held() == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
