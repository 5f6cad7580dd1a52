//! The issuer whose keys change: they are fetched again and again, and early when a token was signed with one that is not
//! known. While the issuer cannot be reached, those that it had stay in force.

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    Response, StatusCode, Uri,
    header::{ACCEPT, CONTENT_ENCODING},
    uri::Scheme,
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::time::{error::Elapsed, sleep, timeout};

use crate::{
    gate::{Options, Roots, VerificationKeys, jwks, jwks::KeySetError},
    pem::{Pem, PemError},
};

/// How long the issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read.
const MAX_DOCUMENT_BYTES: usize = 262_144;

/// Why the keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It cannot be reached.
    #[error("it cannot be reached")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// It answers something else. Where it sends us instead is not followed.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The answer broke off, or is too long.
    #[error("its answer could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is compressed, and was not to be.
    #[error("its answer is compressed ({0}), which was not asked for")]
    Compressed(String),
    /// It takes too long.
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Slow(#[from] Elapsed),
    /// The answer is not what it should be.
    #[error("its answer cannot be used")]
    KeySet(#[from] KeySetError),
    /// Its CA cannot be read any more.
    #[error("nobody can vouch for it")]
    Trust(#[from] TrustError),
}

/// Why nobody can vouch for the issuer.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with its CA is of no use.
    #[error("JWT_JWKS_CA_FILE: {0}")]
    File(#[from] PemError),
    /// There is something else in it.
    #[error("JWT_JWKS_CA_FILE: a certificate is none of a CA: {0}")]
    Authority(rustls::Error),
    /// The machine knows no CA.
    #[error(
        "JWT_JWKS_URL: nobody can vouch for an https issuer, since {0}; name the issuer's CA in JWT_JWKS_CA_FILE, or install those of the system"
    )]
    Nobody(String),
    /// There is no TLS.
    #[error("JWT_JWKS_URL: no TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// An error with all that caused it, in one line for either format of the log.
fn causes(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Asks an issuer.
type Asking = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Where keys come from.
#[derive(Debug)]
pub struct Issuer {
    uri: Uri,
    client: Asking,
    /// The file with the CAs that vouch for it, in place of the machine's.
    authorities: Option<PathBuf>,
    machine: Roots,
    interval: Duration,
    cooldown: Duration,
    keys: VerificationKeys,
}

/// What asks the issuer at `uri`, which `authorities` vouch for if it speaks TLS, or else those of the `machine`.
fn asking(uri: &Uri, authorities: Option<&Path>, machine: &Roots) -> Result<Asking, TrustError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    let mut roots = RootCertStore::empty();
    let config = match authorities {
        _ if uri.scheme() != Some(&Scheme::HTTPS) => config.with_root_certificates(roots),
        Some(path) => {
            for authority in Pem::read(path)?.certificates()? {
                roots.add(authority).map_err(TrustError::Authority)?;
            }
            config.with_root_certificates(roots)
        }
        None if machine.are_named() => {
            let (added, _) = roots.add_parsable_certificates(machine.load());
            if added == 0 {
                return Err(TrustError::Nobody(machine.why_nobody()));
            }
            config.with_root_certificates(roots)
        }
        None => config.with_native_roots().map_err(|_| TrustError::Nobody(machine.why_nobody()))?,
    };
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth()).https_or_http().enable_http1();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector.build()))
}

/// Whether somebody can vouch for the issuer of the settings.
pub(super) fn check(options: &Options) -> Result<(), TrustError> {
    let uri = options.jwt_jwks_url.as_ref();
    uri.map_or(Ok(()), |uri| asking(uri, options.jwt_jwks_ca_file.as_deref(), &options.roots).map(drop))
}

impl Issuer {
    /// The issuer of the settings, if they name one; its keys go into `keys`.
    ///
    /// # Errors
    ///
    /// When nobody can vouch for it.
    pub fn new(options: &Options, keys: VerificationKeys) -> Result<Option<Self>, TrustError> {
        let Some(uri) = options.jwt_jwks_url.clone() else { return Ok(None) };
        let authorities = options.jwt_jwks_ca_file.clone();
        let machine = options.roots.clone();
        let client = asking(&uri, authorities.as_deref(), &machine)?;
        let (interval, cooldown) = (options.jwt_jwks_refresh, options.jwt_jwks_cooldown);
        Ok(Some(Self { uri, client, authorities, machine, interval, cooldown, keys }))
    }

    /// Fetches the keys and puts them in force.
    pub async fn refresh(&self) -> Result<(), FetchError> {
        let document = timeout(TIMEOUT, self.fetch()).await??;
        let keys = jwks::read(&document)?;
        tracing::debug!(url = %self.uri, keys = keys.len(), "fetched the issuer's keys");
        self.keys.replace(keys);
        Ok(())
    }

    async fn fetch(&self) -> Result<Bytes, FetchError> {
        let request = http::Request::get(&self.uri).header(ACCEPT, "application/jwk-set+json, application/json");
        let request = request.body(Empty::new()).expect("the URL was parsed before");
        // A file may have another CA in it by now.
        let client = match self.authorities.as_deref() {
            Some(path) => asking(&self.uri, Some(path), &self.machine)?,
            None => self.client.clone(),
        };
        let response: Response<Incoming> = client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        // Nothing compressed was asked for.
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            return Err(FetchError::Compressed(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await;
        Ok(body.map_err(FetchError::Body)?.to_bytes())
    }

    /// Tries to, and says so when it fails. Gives whether it worked.
    pub async fn try_refresh(&self) -> bool {
        let outcome = self.refresh().await;
        if let Err(error) = &outcome {
            tracing::warn!(url = %self.uri, error = causes(error), "JWT_JWKS_URL: no keys were fetched; those that are known stay in force");
        }
        outcome.is_ok()
    }

    /// Goes on fetching, when it is time or a key is missed; `fetched` says whether it worked the last time.
    pub async fn follow(self, mut fetched: bool) {
        loop {
            // Whatever is missed, and however it fails, the issuer is not asked more often than this.
            sleep(self.cooldown).await;
            if fetched {
                let due = sleep(self.interval.saturating_sub(self.cooldown));
                tokio::select! {
                    () = due => {}
                    () = self.keys.missed() => {}
                }
            }
            fetched = self.try_refresh().await;
        }
    }
}
