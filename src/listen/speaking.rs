//! The requests of a connection, each a turn that lasts until its answer is taken.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header::CONNECTION};
use hyper::{
    body::{Body as HyperBody, Frame, Incoming, SizeHint},
    service::{Service as HyperService, service_fn},
};
use tower::ServiceExt;

use crate::listen::{
    http::Service,
    places::{ConnectionStanding, Turn},
    unread::Taker,
};

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed for a newcomer")]
pub(super) struct Closed;

/// Answers each request by `service` in a turn that `begin` begins; none on a connection that was closed before. An answer to
/// a request whose body is still coming says that the connection ends with it, and `taker` reads the rest.
pub(super) fn speaking(
    service: Service,
    standing: ConnectionStanding,
    taker: Taker,
    begin: fn(&ConnectionStanding, bool) -> Option<Turn>,
) -> impl HyperService<
    Request<Incoming>,
    Response = Response<Spoken>,
    Error = Closed,
    Future = impl Future<Output = Result<Response<Spoken>, Closed>> + Send + use<>,
> + Send
+ use<> {
    service_fn(move |request: Request<Incoming>| {
        let ends = request.version() <= Version::HTTP_11;
        // Whoever sent a whole head is known.
        let begun = begin(&standing, true).map(|turn| {
            let (request, rest) = taker.watch(request);
            (turn, service.clone().oneshot(request), rest)
        });
        async move {
            let (turn, answer, rest) = begun.ok_or(Closed)?;
            let Ok(mut answer) = answer.await;
            if let Some(rest) = rest
                && rest.still_comes().await
                && ends
            {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| Spoken { body, _turn: turn }))
        }
    })
}

/// The body of an answer, whose turn ends with it.
#[derive(Debug)]
pub(super) struct Spoken {
    body: Body,
    _turn: Turn,
}

impl Spoken {
    /// Both, for whoever knows better when the answer is taken.
    pub(super) fn into_parts(self) -> (Body, Turn) {
        (self.body, self._turn)
    }

    #[cfg(test)]
    pub(super) fn new(body: Body, turn: Turn) -> Self {
        Self { body, _turn: turn }
    }
}

impl HyperBody for Spoken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
