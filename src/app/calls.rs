//! The calls of a gRPC connection: whether one was accepted, how many are in progress, and their end when it is too old.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tower::{Layer, Service};

use crate::{
    domain::Code,
    gate::{Caller, HangUp, Refusal},
    listen::{GrpcConnectInfo, Turn},
    wire::status::grpc_status,
};

/// Tells the gate who is at the other end of the connection that a call comes by, and how it is closed.
pub(super) fn with_peer<B>(mut request: Request<B>) -> Request<B> {
    let connection: Option<&GrpcConnectInfo> = request.extensions().get();
    let told = connection.map(|connection| (connection.peer().clone(), HangUp::new(connection.ending())));
    if let Some((peer, hang_up)) = told {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(hang_up);
    }
    request
}

/// Stands behind the gate and tells each connection of its calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallsLayer;

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls(inner)
    }
}

/// A service whose calls are told to their connections.
#[derive(Debug, Clone)]
pub(super) struct Calls<S>(S);

impl<S, B, R> Service<Request<B>> for Calls<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
    R: Default,
{
    type Response = Response<InProgress<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let connection = request.extensions().get::<GrpcConnectInfo>().cloned();
        let caller = request.extensions().get::<Caller>().cloned();
        let answering = self.0.call(request);
        // By now the caller was asked for its credential, if the method asks for one.
        let is_good = caller.is_some_and(|caller| caller.is_recognised());
        let turn = connection.as_ref().and_then(|connection| connection.begin(is_good));
        let mut cut = connection.as_ref().and_then(GrpcConnectInfo::cut).map(Box::pin);
        Box::pin(async move {
            let answer = match &mut cut {
                None => answering.await?,
                Some(cut) => tokio::select! {
                    answer = answering => answer?,
                    () = cut => too_old().into_http(),
                },
            };
            if let Some(turn) = turn.as_ref().filter(|_| is_good && !is_refused(&answer)) {
                turn.accept();
            }
            Ok(answer.map(|body| InProgress { body, cut, is_over: false, _turn: turn }))
        })
    }
}

/// Whether the credential of a call does not allow it. One that failed for another reason comes from somebody who is known.
fn is_refused<B>(answer: &Response<B>) -> bool {
    let status: Option<&Status> = answer.extensions().get();
    let denied = status.and_then(Refusal::denied);
    denied.is_some_and(|denied| matches!(denied.code(), Code::Unauthenticated | Code::Forbidden))
}

fn too_old() -> Status {
    let message = "this connection is as old as GRPC_MAX_AGE allows; connect again, and resume with the position you hold, or \
                   publish what has no result under the same idempotency keys";
    grpc_status(Code::Unavailable, message, None)
}

/// The body of an answer, with which its call ends; it ends with a status of its own when the connection is too old.
#[derive(Debug)]
pub(super) struct InProgress<B> {
    body: B,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    is_over: bool,
    _turn: Option<Turn>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for InProgress<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if this.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(cx).is_ready()) {
            this.is_over = true;
            let mut trailers = HeaderMap::new();
            // Headers that were made from a status can be written.
            let _ = too_old().add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
