//! The issuer whose keys change: they are fetched again and again, and early when a token was signed with one that is not
//! known. While the issuer cannot be reached, those that it had stay in force.

use std::{error::Error as _, io, sync::Arc, time::Duration};

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

use crate::gate::{Keys, Options, jwks, jwks::KeySetError};

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

/// Where keys come from.
#[derive(Debug)]
pub struct Issuer {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    interval: Duration,
    cooldown: Duration,
    keys: Keys,
}

impl Issuer {
    /// The issuer of the settings, if they name one; its keys go into `keys`.
    pub fn new(options: &Options, keys: Keys) -> io::Result<Option<Self>> {
        let Some(uri) = options.jwt_jwks_url.clone() else { return Ok(None) };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match uri.scheme() == Some(&Scheme::HTTPS) {
            true => config.with_native_roots()?,
            false => config.with_root_certificates(RootCertStore::empty()),
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth()).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector.build());
        let (interval, cooldown) = (options.jwt_jwks_refresh, options.jwt_jwks_cooldown);
        Ok(Some(Self { uri, client, interval, cooldown, keys }))
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
        let response: Response<Incoming> = self.client.request(request).await?;
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
