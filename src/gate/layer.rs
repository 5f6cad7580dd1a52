//! The tower layer that stands before gRPC and HTTP alike.

use std::{
    borrow::Cow,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderName, Method, Request, Uri,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};
use tower::{Layer, Service};

use crate::gate::{Caller, Expected, Identity, Key, Open, Options, Revocations, Secret, TokenError};

/// The rules of the gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The static tokens, each with what it allows.
    tokens: Vec<(Secret, Arc<Identity>)>,
    keys: Vec<Key>,
    expected: Expected,
    open: Open,
    revocations: Revocations,
}

impl Gate {
    /// With `keys` for JWTs.
    pub fn new(options: &Options, keys: Vec<Key>, open: Open) -> Self {
        let tokens = options.tokens.iter().cloned().zip(1..);
        let tokens = tokens.map(|(secret, number)| (secret, Arc::new(Identity::of_token(number)))).collect();
        let (expected, revocations) = (options.expected(), Revocations::default());
        Self(Arc::new(Inner { tokens, keys, expected, open, revocations }))
    }

    /// Who sends a request; of the tokens that it has, one that is right is enough.
    pub fn caller(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Caller {
        let mut identity = Err(None);
        for token in tokens(method, uri, headers) {
            match self.identify(&token) {
                Ok(known) => {
                    identity = Ok(known);
                    break;
                }
                Err(error) => identity = Err(Some(error)),
            }
        }
        Caller::new(identity, self.0.open)
    }

    /// Whose token it is.
    pub fn identify(&self, token: &str) -> Result<Arc<Identity>, TokenError> {
        // All are compared, so that the time does not tell which one it was.
        let known = self.0.tokens.iter().fold(
            None,
            |known, (secret, identity)| {
                if secret.is(token) { Some(identity) } else { known }
            },
        );
        match known {
            Some(identity) => Ok(Arc::clone(identity)),
            None => {
                let identity = self.0.expected.verify(token, &self.0.keys)?;
                if self.0.revocations.has(&identity) { Err(TokenError::Revoked) } else { Ok(Arc::new(identity)) }
            }
        }
    }

    /// What was revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }
}

/// The WebSocket protocol whose name stands before a token.
pub const BEARER_PROTOCOL: &str = "bearer";

/// The cookie that a page's own backend may put a token into.
const TOKEN_COOKIE: &str = "token";

/// The tokens of a request: `Authorization: Bearer`, `X-Token` and `?token=`. A request that only reads, as a WebSocket's
/// handshake does, may have one where a browser can put it, too: in `Sec-WebSocket-Protocol: bearer, <token>` and in a
/// cookie. A cookie comes along whoever's page makes the request, so none of them lets anybody publish.
fn tokens<'r>(method: &Method, uri: &'r Uri, headers: &'r HeaderMap) -> impl Iterator<Item = Cow<'r, str>> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(bearer_token);
    let custom = text(HeaderName::from_static("x-token"));
    let reads = method == Method::GET;
    let protocol = text(SEC_WEBSOCKET_PROTOCOL).filter(|_| reads).and_then(protocol_token);
    let cookie = text(COOKIE).filter(|_| reads).and_then(cookie_token);
    let query = uri.query().and_then(query_token);
    [bearer, custom, protocol]
        .into_iter()
        .flatten()
        .map(Cow::Borrowed)
        .chain(query.map(Cow::Owned))
        .chain(cookie.map(Cow::Borrowed))
}

/// The token behind the word `bearer` in a list of protocols.
fn protocol_token(value: &str) -> Option<&str> {
    let mut protocols = value.split(',').map(str::trim);
    protocols.find(|protocol| *protocol == BEARER_PROTOCOL)?;
    protocols.next()
}

fn cookie_token(value: &str) -> Option<&str> {
    let cookies = value.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    cookies.into_iter().find(|(name, _)| *name == TOKEN_COOKIE).map(|(_, token)| token)
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

/// Puts the [`Caller`] of each request into its extensions.
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
        let caller = self.gate.caller(request.method(), request.uri(), request.headers());
        request.extensions_mut().insert(caller);
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;

    fn gate(tokens: &[&str]) -> Gate {
        let tokens = tokens
            .iter()
            .zip(1..)
            .map(|(token, number)| (token.parse().expect("a secret"), Arc::new(Identity::of_token(number))));
        let open = Open { reading: false, subscribing: false };
        let expected = Expected::new(&[], &[], 0);
        Gate(Arc::new(Inner {
            tokens: tokens.collect(),
            keys: Vec::new(),
            expected,
            open,
            revocations: Revocations::default(),
        }))
    }

    /// The credential of a request, or why there is none.
    fn credential(method: &Method, uri: &'static str, headers: &[(&'static str, &'static str)]) -> String {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        let caller = gate(&["dev", "s3cr3t ñ"]).caller(method, &Uri::from_static(uri), &headers.collect());
        caller.identity().map_or_else(|denied| format!("{:?}", denied.code()), |known| known.credential.to_string())
    }

    // wire-contract, HTTP: the token comes as `?token=`, as `Authorization: Bearer <token>` or as `X-Token`
    #[test]
    fn the_token_comes_in_one_of_three_ways() {
        let with = |name, value| credential(&Method::POST, "/notify", &[(name, value)]);
        let none = format!("{:?}", Code::Unauthenticated);
        for (name, value) in [("authorization", "Bearer dev"), ("authorization", "bearer dev"), ("x-token", "dev")] {
            assert_eq!(with(name, value), "token-1", "{name}: {value}");
        }
        for (name, value) in [("authorization", "Basic dev"), ("authorization", "dev"), ("x-token", "Dev")] {
            assert_eq!(with(name, value), none, "{name}: {value}");
        }
        assert_eq!(credential(&Method::POST, "/notify?a=b&token=s3cr3t+%C3%B1", &[]), "token-2");
        assert_eq!(credential(&Method::POST, "/notify?token=", &[]), none);
        assert_eq!(credential(&Method::POST, "/notify", &[]), none);
    }

    #[test]
    fn one_right_token_is_enough() {
        assert_eq!(credential(&Method::POST, "/x?token=dev", &[("x-token", "wrong")]), "token-1");
    }

    // where a browser can put a token it counts for what only reads, and never for publishing
    #[test]
    fn what_a_browser_sends_by_itself_never_publishes() {
        let ways = [
            ("sec-websocket-protocol", "bearer, dev"),
            ("sec-websocket-protocol", "chat,bearer,dev"),
            ("cookie", "a=b; token=dev"),
        ];
        for (name, value) in ways {
            assert_eq!(credential(&Method::GET, "/ws/x", &[(name, value)]), "token-1", "{name}: {value}");
            assert_eq!(credential(&Method::POST, "/notify", &[(name, value)]), "Unauthenticated", "{name}: {value}");
        }
        assert_eq!(credential(&Method::GET, "/ws/x", &[("sec-websocket-protocol", "dev")]), "Unauthenticated");
    }
}
