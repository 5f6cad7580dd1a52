//! What handlers ask for instead of checking credentials: an argument of one of these types.

use std::{borrow::Cow, error::Error as _, sync::Arc};

use axum::extract::FromRequestParts;
use http::request::Parts;
use tonic::Status;

use crate::{
    domain::Code,
    gate::{Caller, Error, Unserved},
    wire::{
        problem::Problem,
        status::{grpc_code, grpc_status, grpc_status_after, http_status, unreadable},
    },
};

/// Whoever sends the request; the handler decides what it may do.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A request that did not come through the gate may do nothing.
        parts.extensions.get().cloned().ok_or_else(|| Error::Unauthenticated(None).into())
    }
}

/// A caller that may publish something, if not everything.
#[derive(Debug, Clone)]
pub struct PublisherCaller(pub Caller);

/// A caller that may see who is connected.
#[derive(Debug, Clone)]
pub struct Observer(pub Caller);

impl<S: Sync> FromRequestParts<S> for PublisherCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.check_publisher()?;
        Ok(Self(caller))
    }
}

impl<S: Sync> FromRequestParts<S> for Observer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.check_observer()?;
        Ok(Self(caller))
    }
}

/// The caller of a gRPC method.
#[allow(clippy::result_large_err, reason = "a status is what tonic takes")]
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Error::Unauthenticated(None).into())
}

/// What somebody gets that may be a refusal.
pub trait Refusal {
    /// The denial that made it what it is, if it is one.
    fn denied(&self) -> Option<Cow<'_, Error>>;
}

impl Refusal for Error {
    fn denied(&self) -> Option<Cow<'_, Error>> {
        Some(Cow::Borrowed(self))
    }
}

impl Refusal for Status {
    fn denied(&self) -> Option<Cow<'_, Error>> {
        denial_in(self).map(Cow::Borrowed)
    }
}

/// An answer that says no more than that something failed is a fault of ours.
impl<B> Refusal for http::Response<B> {
    fn denied(&self) -> Option<Cow<'_, Error>> {
        denial_of(self)
    }
}

fn denial_of<B>(response: &http::Response<B>) -> Option<Cow<'_, Error>> {
    let extensions = response.extensions();
    let denied = extensions.get().or_else(|| extensions.get().and_then(denial_in));
    let failed = response.status() == http_status(Code::Internal) || extensions.get().is_some_and(is_our_fault);
    let unknown = || Error::Unserved(Unserved::Internal, "an answer without a reason".into());
    denied.map(Cow::Borrowed).or_else(|| failed.then(|| Cow::Owned(unknown())))
}

/// Whether a call that tonic answered itself failed through us: INTERNAL, which it also says of messages that it cannot read.
fn is_our_fault(status: &Status) -> bool {
    let is_unreadable = || unreadable(status).is_some() || status.message().starts_with("protocol error: ");
    status.code() == grpc_code(Code::Internal) && !is_unreadable()
}

/// The denial that made a status what it is, however deep: an error of a request's body comes wrapped in those of the layers
/// that it passed.
fn denial_in(status: &Status) -> Option<&Error> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(denied) = error.downcast_ref() {
            return Some(denied);
        }
        source = error.source();
    }
    None
}

impl From<Error> for Problem {
    fn from(denied: Error) -> Self {
        let problem = match denied {
            Error::Unauthenticated(_) => Self::bad_token(),
            _ => Self::new(denied.code(), denied.to_string()),
        };
        let problem = match denied.retry_after() {
            Some(wait) => problem.with_retry_after(wait),
            None => problem,
        };
        problem.with_quota(denied.quota()).with_extension(denied)
    }
}

impl From<Error> for Status {
    fn from(denied: Error) -> Self {
        let mut status = match denied.retry_after() {
            Some(wait) => grpc_status_after(denied.code(), denied.to_string(), wait),
            None => grpc_status(denied.code(), denied.to_string(), None),
        };
        status.set_source(Arc::new(denied));
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::RejectionReason;

    fn reason(status: Status) -> Option<RejectionReason> {
        denial_of(&status.into_http::<()>()).map(|denied| denied.reason())
    }

    // HTTP says 200 of all of them
    #[test]
    fn a_call_that_fails_through_us_is_told_from_one_that_fails_through_its_caller() {
        assert_eq!(reason(Status::internal("cannot be encoded")), Some(RejectionReason::Internal));
        assert_eq!(reason(Error::Unauthenticated(None).into()), Some(RejectionReason::NoToken));
        for status in [
            Status::internal("failed to decode Protobuf message: invalid tag value: 0"),
            Status::not_found("no such thing"),
            Status::unimplemented("no such method"),
        ] {
            assert_eq!(reason(status), None);
        }
    }
}
