//! The tower layer that stands before gRPC and HTTP alike.

use std::{
    borrow::Cow,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Uri, header::AUTHORIZATION};
use tower::{Layer, Service};

use crate::{
    domain::Principal,
    gate::{Options, Secret},
};

/// The rules of the gate.
#[derive(Debug, Clone)]
pub struct Gate {
    token: Secret,
    open_reading: bool,
}

impl Gate {
    /// With `open_reading`, history and statistics need no token.
    pub fn new(options: &Options, open_reading: bool) -> Self {
        Self { token: options.token.clone(), open_reading }
    }

    /// Who sends a request with this address and these headers.
    ///
    /// The token may come as `?token=`, as `Authorization: Bearer` or as `X-Token`; one that is right is enough.
    pub fn principal(&self, uri: &Uri, headers: &HeaderMap) -> Principal {
        let header = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let bearer = header(AUTHORIZATION.as_str()).and_then(bearer_token).map(Cow::Borrowed);
        let custom = header("x-token").map(Cow::Borrowed);
        let query = uri.query().and_then(query_token).map(Cow::Owned);
        let known = [bearer, custom, query].into_iter().flatten().any(|token| self.token.is(&token));
        Principal { may_publish: known, may_read: known || self.open_reading }
    }
}

fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn query_token(query: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Token {
        token: String,
    }
    serde_urlencoded::from_str::<Token>(query).ok().map(|Token { token }| token)
}

/// Puts the [`Principal`] of each request into its extensions.
#[derive(Debug, Clone)]
pub struct GateLayer(pub Gate);

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.0.clone(), inner }
    }
}

/// A service behind the gate.
#[derive(Debug, Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Gated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let principal = self.gate.principal(request.uri(), request.headers());
        request.extensions_mut().insert(principal);
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(open_reading: bool) -> Gate {
        Gate { token: "s3cr3t ñ".parse().expect("a secret"), open_reading }
    }

    fn principal(uri: &'static str, headers: &[(&'static str, &'static str)]) -> Principal {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        gate(false).principal(&Uri::from_static(uri), &headers.collect())
    }

    // wire-contract, HTTP: the token comes as `?token=`, as `Authorization: Bearer <token>` or as `X-Token`
    #[test]
    fn the_token_comes_in_one_of_three_ways() {
        let plain = Gate { token: "dev".parse().expect("a secret"), open_reading: false };
        let with = |name: &'static str, value: &'static str| {
            let header = (http::HeaderName::from_static(name), http::HeaderValue::from_static(value));
            plain.principal(&Uri::from_static("/notify"), &[header].into_iter().collect()).may_publish
        };
        assert!(with("authorization", "Bearer dev") && with("authorization", "bearer dev") && with("x-token", "dev"));
        assert!(!with("authorization", "Basic dev") && !with("authorization", "dev") && !with("x-token", "Dev"));
        assert!(principal("/notify?a=b&token=s3cr3t+%C3%B1", &[]).may_publish);
        assert!(!principal("/notify?token=", &[]).may_publish);
        assert!(!principal("/notify", &[]).may_publish);
    }

    #[test]
    fn one_right_token_is_enough_and_reading_may_be_open() {
        assert!(principal("/x?token=s3cr3t+%C3%B1", &[("x-token", "wrong")]).may_publish);
        assert!(!principal("/x", &[]).may_read);
        let anyone = gate(true).principal(&Uri::from_static("/x"), &HeaderMap::new());
        assert_eq!(anyone, Principal { may_publish: false, may_read: true });
    }
}
