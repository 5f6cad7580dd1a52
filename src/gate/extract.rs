//! What handlers ask for instead of checking credentials: an argument of one of these types.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{domain::Principal, wire::problem::Problem};

/// The request may publish.
#[derive(Debug, Clone, Copy)]
pub struct Publisher;

/// The request may read what was published and who is connected.
#[derive(Debug, Clone, Copy)]
pub struct Reader;

impl<S: Sync> FromRequestParts<S> for Publisher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check(parts, |principal| principal.may_publish).map(|()| Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check(parts, |principal| principal.may_read).map(|()| Self)
    }
}

/// A request that did not come through the gate has no principal, and may do nothing.
fn check(parts: &Parts, may: impl FnOnce(&Principal) -> bool) -> Result<(), Problem> {
    if parts.extensions.get::<Principal>().is_some_and(may) { Ok(()) } else { Err(Problem::bad_token()) }
}
