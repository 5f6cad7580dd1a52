//! The tower layer that stands before gRPC and HTTP alike.

use std::{
    borrow::Cow,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, Method, Request, Response, Uri,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};
use tokio::sync::watch;
use tower::{Layer, Service};

use crate::{
    clock::Clock,
    domain::{Peer, UserId},
    gate::{
        Budget, Caller, Charge, Denied, Expected, Grants, Identity, Keys, Open, Options, Origins, Place, Refusals,
        Revocations, Secret, TokenError, address::Proxies, budgets::Budgets, extract::denial_of, failures::Failures,
        places::Places, standing::Granted, unfinished::Unfinished,
    },
};

/// The rules of the gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The static tokens, each with what it allows.
    tokens: Vec<(Secret, Arc<Identity>)>,
    keys: Keys,
    expected: Expected,
    open: Open,
    origins: Origins,
    proxies: Proxies,
    failures: Failures,
    budgets: Budgets,
    places: Places,
    unfinished: Unfinished,
    message_timeout: Duration,
    refusals: Refusals,
    revocations: Revocations,
    /// What client certificates allow.
    grants: Option<watch::Receiver<Grants>>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// With `keys` for JWTs, and `grants` for client certificates. What is over, and what is not yet, `clock` says.
    pub fn new(
        options: &Options,
        keys: Keys,
        open: Open,
        grants: Option<watch::Receiver<Grants>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let tokens = options.tokens.iter().cloned().zip(1..);
        let tokens = tokens.map(|(secret, number)| (secret, Arc::new(Identity::of_token(number)))).collect();
        Self(Arc::new(Inner {
            tokens,
            keys,
            expected: options.expected(),
            open,
            origins: Origins::new(&options.allowed_origins),
            proxies: Proxies::new(&options.trusted_proxies),
            failures: Failures::new(options.auth_failure_rate.0),
            budgets: Budgets::new(options.publish_rate.0),
            places: Places::new(options.max_connections_per_address, options.max_connections_per_user),
            unfinished: Unfinished::new(options.unfinished_bytes.get()),
            message_timeout: options.message_timeout,
            refusals: Refusals::default(),
            revocations: Revocations::new(Arc::clone(&clock)),
            grants,
            clock,
        }))
    }

    /// Who sends a request; of the tokens that it has, one that is right is enough. Without any, the certificate counts
    /// that its connection was opened with.
    pub fn caller<B>(&self, request: &Request<B>) -> Caller {
        let address = self.0.proxies.client(request);
        let mut identity = Err(Denied::Unauthenticated(None));
        for token in tokens(request.method(), request.uri(), request.headers()) {
            identity = self.identify(&token, address);
            if identity.is_ok() {
                break;
            }
        }
        let certified = if identity.is_err() { self.certified(request) } else { None };
        let caller = Caller::new(identity, address, self.clone());
        match certified {
            Some((known, granted)) => caller.with_certificate(known, granted),
            None => caller,
        }
    }

    /// Whose certificate it is.
    fn certified<B>(&self, request: &Request<B>) -> Option<(Arc<Identity>, Granted)> {
        let grants = self.0.grants.as_ref()?;
        let certificate = request.extensions().get::<Peer>()?.certificate.as_ref()?;
        // A connection may live longer than its certificate, or than its CA is believed.
        if certificate.expires_at <= self.0.clock.wall().timestamp() || !certificate.is_believed() {
            return None;
        }
        let identity = Arc::new(grants.borrow().identify(certificate));
        Some((identity, Granted { certificate: Arc::clone(certificate), grants: grants.clone() }))
    }

    /// Whose token it is that came from `address`. Of an address that sent too many wrong ones a right one is still believed; but few
    /// signatures are checked, and a wrong one is not told from another, for a while.
    pub fn identify(&self, token: &str, address: IpAddr) -> Result<Arc<Identity>, Denied> {
        if let Some(identity) = self.known(token) {
            return Ok(identity);
        }
        self.0.failures.may_check(address).map_err(Denied::AuthFailures)?;
        self.signed(token).map_err(|error| match error.may_be_a_guess().then(|| self.0.failures.count(address)) {
            Some(Err(wait)) => Denied::AuthFailures(wait),
            Some(Ok(())) | None => Denied::Unauthenticated(Some(error)),
        })
    }

    /// Whose token it is, wherever it came from.
    pub(super) fn verify(&self, token: &str) -> Result<Arc<Identity>, TokenError> {
        self.known(token).map_or_else(|| self.signed(token), Ok)
    }

    /// Whose static token it is.
    fn known(&self, token: &str) -> Option<Arc<Identity>> {
        // All are compared, so that the time does not tell which one it was.
        let known = self.0.tokens.iter().fold(
            None,
            |known, (secret, identity)| {
                if secret.is(token) { Some(identity) } else { known }
            },
        );
        known.cloned()
    }

    /// Whose JWT it is.
    fn signed(&self, token: &str) -> Result<Arc<Identity>, TokenError> {
        let identity = self.0.keys.verify(token, &self.0.expected, self.0.clock.wall())?;
        if self.0.revocations.has(&identity) { Err(TokenError::Revoked) } else { Ok(Arc::new(identity)) }
    }

    /// What may be done without a credential.
    pub(super) fn open(&self) -> Open {
        self.0.open
    }

    /// Whether subscribers need a token, which says who they are.
    pub fn knows_subscribers(&self) -> bool {
        !self.0.open.subscribing
    }

    pub(super) fn budget(&self, identity: &Identity) -> Option<Budget> {
        let claimed = identity.grant.as_ref().and_then(|grant| grant.rate);
        self.0.budgets.budget(&identity.credential, claimed)
    }

    pub(super) fn place(&self, address: IpAddr, user: Option<&UserId>) -> Result<Place, Denied> {
        self.0.places.take(address, user)
    }

    /// What somebody at `address` holds of the bytes that are unfinished or unread, which is nothing yet.
    pub fn charge(&self, address: IpAddr, user: Option<&UserId>) -> Charge {
        self.0.unfinished.charge(address, user)
    }

    /// How long a message may take from its first byte to its last.
    pub fn message_timeout(&self) -> Duration {
        self.0.message_timeout
    }

    /// The origins that are allowed.
    pub fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// What was refused.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
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

/// Puts the [`Caller`] of each request into its extensions, and notes it when the answer is a refusal.
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

impl<S, B, R> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let caller = self.gate.caller(&request);
        request.extensions_mut().insert(caller.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            if let Some(denied) = denial_of(&response) {
                caller.refused(&denied);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::System, domain::Code};

    fn gate() -> Gate {
        let command = <Options as clap::Args>::augment_args(clap::Command::new("gate"));
        let matches = command.get_matches_from(["gate", "--ws-token=dev,s3cr3t ñ"]);
        let options = clap::FromArgMatches::from_arg_matches(&matches).expect("settings");
        let open = Open { reading: false, subscribing: false };
        Gate::new(&options, Keys::new(Vec::new(), false), open, None, Arc::new(System::default()))
    }

    /// The credential of a request, or why there is none.
    fn credential(method: &Method, uri: &'static str, headers: &[(&'static str, &'static str)]) -> String {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let caller = gate().caller(&request.body(()).expect("a request"));
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
