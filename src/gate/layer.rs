//! The tower layer that stands before gRPC and HTTP alike.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header::CACHE_CONTROL};
use tokio::sync::watch;
use tower::{Layer, Service};

use crate::{
    clock::Clock,
    domain::{Certificate, UserId},
    gate::{
        AnonymousAccess, Caller, Carriers, Charge, ConnectionPermit, Error, Expected, Grants, Identity, Options,
        Origins, PublishQuota, RejectionCounters, Revocations, Secret, SubscribeScope, TokenError, VerificationKeys,
        address::Proxies, auth_failures::AuthFailureLimiter, caller::Known, connection_limits::ConnectionLimits,
        presented::Presented, publish_quotas::PublishQuotas, standing::Granted, unfinished::Unfinished,
    },
};

/// The rules of the gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The static tokens, each with what it allows.
    tokens: Vec<(Secret, Arc<Identity>)>,
    keys: VerificationKeys,
    expected: Expected,
    open: AnonymousAccess,
    origins: Origins,
    proxies: Proxies,
    auth_failures: AuthFailureLimiter,
    publish_quotas: PublishQuotas,
    connection_limits: ConnectionLimits,
    unfinished: Unfinished,
    message_timeout: Duration,
    rejections: RejectionCounters,
    revocations: Revocations,
    /// What client certificates allow.
    grants: Option<watch::Receiver<Grants>>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// Makes a gate with `keys` for JWTs, and `grants` for client certificates. What is over, and what is not yet, `clock` says.
    pub fn new(
        options: &Options,
        keys: VerificationKeys,
        open: AnonymousAccess,
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
            auth_failures: AuthFailureLimiter::new(options.auth_failure_rate.0),
            publish_quotas: PublishQuotas::new(options.publish_rate.0),
            connection_limits: ConnectionLimits::new(
                options.max_connections_per_address,
                options.max_connections_per_user,
            ),
            unfinished: Unfinished::new(options.unfinished_bytes.get()),
            message_timeout: options.message_timeout,
            rejections: RejectionCounters::default(),
            revocations: Revocations::new(Arc::clone(&clock)),
            grants,
            clock,
        }))
    }

    /// Who sends a request, of which nothing is looked at before somebody asks for it.
    pub fn caller<B>(&self, request: &Request<B>, carriers: Carriers) -> Caller {
        Caller::new(Presented::of(request, carriers), self.0.proxies.client(request), self.clone())
    }

    /// Whoever is at `address` and has this permit; who has none yet is a stranger.
    pub fn holder(&self, permit: &SubscribeScope, address: IpAddr) -> Caller {
        Caller::known_as(permit.known(), address, self.clone())
    }

    /// Whom somebody at `address` presents; of several tokens one that is right is enough. Without any, the certificate counts
    /// that the connection was opened with; but it lends no right to a token that is wrong.
    pub(super) fn judge(&self, presented: &Presented, address: IpAddr) -> Result<Known, Error> {
        let tokens = presented.tokens().map_err(|error| Error::Unauthenticated(Some(error)))?;
        if !tokens.is_empty() {
            return self.identify_one(tokens, address).map(Known::by_token);
        }
        let certified = presented.certificate.as_ref().and_then(|certificate| self.certified(certificate));
        certified.ok_or(Error::Unauthenticated(None))
    }

    /// Whether it is clear at a glance that it is somebody, without a signature being checked.
    pub(super) fn recognises(&self, presented: &Presented) -> bool {
        match presented.tokens() {
            Ok([]) => presented.certificate.as_ref().is_some_and(|certificate| self.certified(certificate).is_some()),
            Ok(tokens) => tokens.iter().any(|token| self.known(token).is_some()),
            Err(_) => false,
        }
    }

    /// Whose certificate it is.
    fn certified(&self, certificate: &Arc<Certificate>) -> Option<Known> {
        let grants = self.0.grants.as_ref()?;
        // A connection may live longer than its certificate, or than its CA is believed.
        if certificate.expires_at <= self.0.clock.wall().timestamp() || !certificate.is_believed() {
            return None;
        }
        let identity = Arc::new(grants.borrow().identify(certificate));
        Some(Known::by_certificate(identity, Granted { certificate: Arc::clone(certificate), grants: grants.clone() }))
    }

    /// Whose token it is that came from `address`. Of an address that sent too many wrong ones a right one is still believed; but few
    /// signatures are checked, and a wrong one is not told from another, for a while.
    pub fn identify(&self, token: &str, address: IpAddr) -> Result<Arc<Identity>, Error> {
        self.identify_one(&[token], address)
    }

    /// Whose one of `tokens` is. Beside one that is right the others are no guesses: a browser sends the cookies of other
    /// applications along. Where none is, the first says what is wrong.
    fn identify_one(&self, tokens: &[impl AsRef<str>], address: IpAddr) -> Result<Arc<Identity>, Error> {
        if let Some(identity) = tokens.iter().find_map(|token| self.known(token.as_ref())) {
            return Ok(identity);
        }
        let (mut first, mut guesses, mut unchecked) = (None, 0, None);
        for token in tokens {
            if let Err(wait) = self.0.auth_failures.may_check(address) {
                unchecked = Some(wait);
                break;
            }
            match self.signed(token.as_ref()) {
                Ok(identity) => return Ok(identity),
                Err(error) => {
                    guesses += usize::from(error.may_be_a_guess());
                    first.get_or_insert(error);
                }
            }
        }
        for _ in 0..guesses {
            unchecked = self.0.auth_failures.count(address).err().or(unchecked);
        }
        Err(unchecked.map_or(Error::Unauthenticated(first), Error::AuthFailures))
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
    pub(super) fn open(&self) -> AnonymousAccess {
        self.0.open
    }

    /// Whether subscribers need a token, which says who they are.
    pub fn knows_subscribers(&self) -> bool {
        !self.0.open.subscribing
    }

    pub(super) fn publish_quota(&self, identity: &Identity) -> Option<PublishQuota> {
        let claimed = identity.grant.as_ref().and_then(|grant| grant.rate);
        self.0.publish_quotas.quota(&identity.credential, claimed)
    }

    pub(super) fn connection_permit(&self, address: IpAddr, user: Option<&UserId>) -> Result<ConnectionPermit, Error> {
        self.0.connection_limits.take(address, user)
    }

    /// What somebody at `address` holds of the bytes that are unfinished or unread, which is nothing yet.
    pub fn charge(&self, address: IpAddr, user: Option<&UserId>) -> Charge {
        self.0.unfinished.charge(address, user)
    }

    /// Whether `address` is that of a proxy that brings the requests of others.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.0.proxies.trusts(address.to_canonical())
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
    pub fn rejections(&self) -> &RejectionCounters {
        &self.0.rejections
    }

    /// What was revoked.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }
}

/// Puts the [`Caller`] of each request into its extensions, and notes it when the answer is a refusal.
#[derive(Debug, Clone)]
pub struct GateLayer {
    gate: Gate,
    carriers: Carriers,
}

impl GateLayer {
    /// The layer before the routes of HTTP.
    pub fn http(gate: Gate) -> Self {
        Self { gate, carriers: Carriers::Http }
    }

    /// The layer before the services of gRPC.
    pub fn grpc(gate: Gate) -> Self {
        Self { gate, carriers: Carriers::Metadata }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { layer: self.clone(), inner }
    }
}

/// A service behind the gate.
#[derive(Debug, Clone)]
pub struct Gated<S> {
    layer: GateLayer,
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
        let GateLayer { gate, carriers } = &self.layer;
        let (caller, carriers) = (gate.caller(&request, *carriers), *carriers);
        request.extensions_mut().insert(caller.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            caller.refused(&response);
            if carriers == Carriers::Http {
                keep_from_caches(&mut response, caller.presents_token());
            }
            Ok(response)
        })
    }
}

/// Lets no cache keep an answer that does not say that it may; nor one to a request with a token, which may be in its URL.
fn keep_from_caches<R>(response: &mut Response<R>, has_token: bool) {
    let says_nothing = !response.headers().contains_key(CACHE_CONTROL);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && (has_token || says_nothing) {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A gate that takes one wrong token an hour from an address.
    fn gate() -> Gate {
        let command = <Options as clap::Args>::augment_args(clap::Command::new("gate"));
        let arguments = ["gate", "--ws-token=dev,s3cr3t", "--auth-failure-rate=1/h"];
        let options = clap::FromArgMatches::from_arg_matches(&command.get_matches_from(arguments)).expect("settings");
        let open = AnonymousAccess { reading: false, subscribing: false };
        Gate::new(&options, VerificationKeys::new(Vec::new(), false), open, None, Arc::new(System::default()))
    }

    #[test]
    fn one_right_token_is_enough_and_the_others_are_no_guesses() {
        let gate = gate();
        for _ in 0..3 {
            let known = gate.identify_one(&["wrong", "s3cr3t", "wrong"], HERE).expect("somebody");
            assert_eq!(known.credential.to_string(), "token-2");
        }
        assert_eq!(gate.identify("wrong", HERE).err(), Some(Error::Unauthenticated(Some(TokenError::Unreadable))));
    }

    #[test]
    fn a_caller_that_nobody_asks_for_is_not_judged() {
        let gate = gate();
        let caller = || {
            let request = Request::builder().header("authorization", "Bearer wrong").body(()).expect("a request");
            gate.caller(&request, Carriers::Http)
        };
        for _ in 0..3 {
            drop(caller());
        }
        let asked = caller();
        for _ in 0..3 {
            let denied = asked.identity().err();
            assert_eq!(denied, Some(Error::Unauthenticated(Some(TokenError::Unreadable))), "it is counted once");
        }
        assert!(matches!(caller().identity(), Err(Error::AuthFailures(_))));
    }
}
