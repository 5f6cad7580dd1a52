//! The layer before the services of gRPC: a call is judged by its head, before a byte of a message is kept.
//!
//! What the method asks of its caller stands in one table. A request that may come is followed message by message, so that
//! what is too long, too slow or too much is refused as it comes, and what is unfinished is counted. Whoever has no credential
//! may ask for health, and where reading is open for reflection, a few calls at a time.

mod answer;
mod framing;
mod head;
mod messages;
mod methods;
mod patience;
mod protocol;
mod strangers;
mod transit;
mod unpack;

use std::{
    convert::Infallible,
    net::{Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::{
    domain::{Code, Peer},
    gate::{
        Caller, Error, Gate, HangUp,
        calls::{
            answer::{Passing, Unread},
            messages::Messages,
            methods::{Method, Size},
            patience::Patience,
            strangers::{Origin, Stay, Strangers},
            transit::Followed,
        },
    },
    wire::status::{Limit, grpc_plain, grpc_too_large},
};

pub use head::Deadline;
pub use transit::Transit;

/// The largest message of whoever asks for health or reflection: names are no longer.
const SMALL: usize = 4 * 1024;

/// What the requests of gRPC may be.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// The largest message, in bytes.
    pub max_message_bytes: usize,
    /// The largest message of a stream, in bytes: what is between the two is rejected singly.
    pub max_streamed_bytes: usize,
    /// The largest head, in bytes.
    pub max_head_bytes: usize,
    /// How long a request with one message may take.
    pub body_timeout: Duration,
}

/// Judges each call by its head. It stands behind [`GateLayer`](crate::gate::GateLayer), which knows the caller.
#[derive(Debug, Clone)]
pub struct CallLayer {
    limits: CallLimits,
    gate: Gate,
    strangers: Strangers,
}

impl CallLayer {
    /// Makes the layer with these limits, and the times of `gate`.
    pub fn new(gate: &Gate, limits: CallLimits) -> Self {
        Self { limits, gate: gate.clone(), strangers: Strangers::default() }
    }

    /// Where a call of `caller` comes from.
    fn origin<B>(&self, request: &Request<B>, caller: &Caller) -> Origin {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.map_or(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), |peer| peer.address);
        let connection = (!self.gate.is_proxy(peer.ip())).then_some(peer);
        Origin { connection, address: caller.address(), hang_up: request.extensions().get::<HangUp>().cloned() }
    }

    fn limit(&self, size: Size) -> Limit {
        let (bytes, name) = match size {
            Size::Small => (SMALL, "the limit of health and reflection"),
            Size::Request => (self.limits.max_message_bytes, "MAX_BODY_BYTES"),
            Size::InStream => (self.limits.max_streamed_bytes, "four times MAX_BODY_BYTES"),
        };
        Limit { bytes, name }
    }

    /// Whose call it is, and what of; or why it is none.
    fn judge<B>(&self, request: &Request<B>) -> Result<(Caller, Method, Option<Arc<Stay>>), Status> {
        let limit = Limit { bytes: self.limits.max_head_bytes, name: "MAX_HEADER_BYTES" };
        if head::size(request) > limit.bytes {
            return Err(grpc_too_large("the metadata of a call", limit, None));
        }
        // A request that did not come through the gate may do nothing.
        let caller: Option<&Caller> = request.extensions().get();
        let caller = caller.ok_or(Error::Unauthenticated(None))?;
        let method = methods::judge(request.uri().path(), caller)?.ok_or_else(|| {
            let message = "there is no such method; the proto file and reflection list those that there are";
            grpc_plain(Code::Unimplemented, message)
        })?;
        let is_stranger = !caller.is_recognised();
        let stay = is_stranger.then(|| Arc::new(self.strangers.enter(self.origin(request, caller))));
        Ok((caller.clone(), method, stay))
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Judged<S>;

    fn layer(&self, inner: S) -> Judged<S> {
        Judged { layer: self.clone(), inner }
    }
}

/// A service behind [`CallLayer`].
#[derive(Debug, Clone)]
pub struct Judged<S> {
    layer: CallLayer,
    inner: S,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Judged<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        if let Some(refusal) = protocol::refusal(&request) {
            return Box::pin(async move { Ok(refusal) });
        }
        // The time is taken before anything else, so that it is over before tonic's own.
        let deadline = Deadline::of(request.headers());
        let judged = self.layer.judge(&request).and_then(|judged| Ok((judged, head::take_is_packed(&mut request)?)));
        let ((caller, method, stay), is_packed) = match judged {
            Ok(judged) => judged,
            Err(refused) => return Box::pin(async move { Ok(refused.into_http()) }),
        };
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let patience = Patience::new(method.form, self.layer.limits.body_timeout, self.layer.gate.message_timeout());
        let limit = self.layer.limit(method.size);
        let transit = method.follows_answer.then(|| Transit::new(self.layer.origin(&request, &caller).closer()));
        let (mut head, body) = request.into_parts();
        let messages = Messages::new(body, (method.form, limit), patience, caller.clone()).with_stay(stay.as_deref());
        let messages = if is_packed { messages.packed() } else { messages };
        let fault = messages.told();
        let aboard = transit.map(|(transit, aboard)| {
            head.extensions.insert(transit);
            aboard
        });
        let answering = self.inner.call(Request::from_parts(head, Body::new(messages)));
        let is_small = method.size == Size::Small;
        if !is_small && !method.counts_answer && deadline.is_none() && aboard.is_none() {
            return Box::pin(answering);
        }
        Box::pin(async move {
            let answer = match deadline {
                Some(deadline) => deadline.keep(answering).await,
                None => Some(answering.await),
            };
            let Some(response) = answer.transpose()? else { return Ok(head::too_late().into_http()) };
            Ok(response.map(|body| match method {
                _ if is_small => Body::new(Passing::new(body, caller, fault, stay)),
                Method { counts_answer: true, .. } => Body::new(Unread::new(body, caller)),
                Method { counts_answer: false, .. } => match aboard {
                    Some(aboard) => Body::new(Followed::new(body, aboard)),
                    None => body,
                },
            }))
        })
    }
}
