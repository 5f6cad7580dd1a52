//! The settings of the gate, and what they say together.

use std::{fs, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::ValueEnum;
use http::{Uri, uri::Scheme};
use ipnet::IpNet;

use crate::{
    gate::{
        AnonymousAccess, Expected, GrantsFile, Key, OriginPattern, RateLimit, Roots, Secret, VerificationKeys, address,
        issuer,
    },
    reload::Reloadable,
};

/// The settings of the gate.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "gate")]
#[command(next_help_heading = "Access")]
pub struct Options {
    /// The tokens that publishers present, separated by commas: while one is replaced, both are good.
    #[arg(
        long = "ws-token",
        env = "WS_TOKEN",
        default_value = "dev",
        value_name = "TOKENS",
        value_delimiter = ',',
        hide_env_values = true,
        hide_default_value = false
    )]
    pub tokens: Vec<Secret>,

    /// The secret that JWTs are signed with (HS256, HS384, HS512).
    #[arg(long, env = "JWT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,

    /// The file with the public key, in PEM, that JWTs are signed for (RS*, PS*, ES256, ES384, EdDSA).
    #[arg(long, env = "JWT_PUBLIC_KEY_FILE", value_name = "FILE")]
    pub jwt_public_key_file: Option<PathBuf>,

    /// Where the issuer of JWTs publishes its public keys, as a JSON Web Key Set.
    #[arg(long, env = "JWT_JWKS_URL", value_name = "URL", value_parser = web_address)]
    pub jwt_jwks_url: Option<Uri>,

    /// The file with the CAs, in PEM, that vouch for an https issuer in place of the system's.
    #[arg(long, env = "JWT_JWKS_CA_FILE", value_name = "FILE")]
    pub jwt_jwks_ca_file: Option<PathBuf>,

    /// How often they are fetched.
    #[arg(long, env = "JWT_JWKS_REFRESH", default_value = "5m", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub jwt_jwks_refresh: Duration,

    /// How long after a fetch the next one may be that a token with an unknown key, or a failure, asks for.
    #[arg(long, env = "JWT_JWKS_COOLDOWN", default_value = "10s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub jwt_jwks_cooldown: Duration,

    /// What the iss of a JWT must be, separated by commas; without, any.
    #[arg(long, env = "JWT_ISSUER", value_name = "ISSUERS", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,

    /// What the aud of a JWT must have one of, separated by commas; without, any.
    #[arg(long, env = "JWT_AUDIENCE", value_name = "AUDIENCES", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,

    /// How much the issuer's clock may differ, for `exp` and `nbf`.
    #[arg(long, env = "JWT_LEEWAY", default_value = "30s", value_name = "TIME",
        value_parser = crate::domain::parse_duration)]
    pub jwt_leeway: Duration,

    /// The file with what client certificates may do (TOML); needs MTLS_CA_FILE.
    #[arg(long, env = "MTLS_GRANTS", value_name = "FILE")]
    pub mtls_grants: Option<PathBuf>,

    /// Whether subscribers need a token; without this, they do as soon as there is a key for JWTs.
    #[arg(long, env = "SUBSCRIBER_AUTH", value_name = "HOW")]
    pub subscriber_auth: Option<SubscriberAuth>,

    /// The origins whose pages may connect and ask, separated by commas: `https://example.com`, `https://*.example.com`, `null` for
    /// pages without an address, or `*` for any; without, any in development.
    #[arg(long, env = "ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<OriginPattern>,

    /// The networks of the proxies in front, separated by commas; a client's address is taken from their Forwarded or
    /// X-Forwarded-For.
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',',
        value_parser = address::parse_network)]
    pub trusted_proxies: Vec<IpNet>,

    /// How many wrong tokens may come from one address (one /64 of IPv6) before a wrong one gets 429 and few signatures are checked
    /// for a while; off for any number.
    #[arg(long, env = "AUTH_FAILURE_RATE", default_value = "1000/m", value_name = "RATE")]
    pub auth_failure_rate: RateLimit,

    /// How fast each credential may publish; off for as fast as it can. The claim rate of a JWT goes before.
    #[arg(long, env = "PUBLISH_RATE", default_value = "off", value_name = "RATE")]
    pub publish_rate: RateLimit,

    /// How many subscriptions may be open from one address (one /64 of IPv6); without, any number.
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    pub max_connections_per_address: Option<NonZeroUsize>,

    /// How many subscriptions a user may have open, by the sub of its tokens.
    #[arg(long, env = "MAX_CONNECTIONS_PER_USER", default_value = "1000", value_name = "N")]
    pub max_connections_per_user: NonZeroUsize,

    /// How many bytes may be held of requests and messages that are unfinished, and of answers that nobody takes; one address has
    /// at most half of them, a user a quarter.
    #[arg(long, env = "UNFINISHED_BYTES", default_value = "134217728", value_name = "BYTES")]
    pub unfinished_bytes: NonZeroUsize,

    /// How long a message of gRPC or WebSocket may take from its first byte to its last.
    #[arg(long, env = "MESSAGE_TIMEOUT", default_value = "30s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub message_timeout: Duration,

    /// Where the CAs of the machine are, by the two variables of OpenSSL.
    #[arg(skip)]
    pub roots: Roots,
}

/// Whether subscribers need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SubscriberAuth {
    /// Anybody may subscribe, as any user, to any room.
    Open,
    /// A token says who it is and which rooms it may join.
    Token,
}

fn web_address(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "expected an address such as https://issuer/jwks.json".to_owned())?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => Ok(uri),
        _ => Err("expected http:// or https:// and a host, without a user".to_owned()),
    }
}

/// How many characters a static token has, at the least, that nobody can guess.
const LONG_TOKEN: usize = 20;

/// The shortest secret for production: as long as the hash of HS256 (RFC 7518, 3.2).
const MIN_SECRET_BYTES: usize = 32;

impl Options {
    /// Whether there is a key for JWTs.
    pub fn has_keys(&self) -> bool {
        self.jwt_secret.is_some() || self.jwt_public_key_file.is_some() || self.jwt_jwks_url.is_some()
    }

    /// The publishers' token that everybody knows, where it is good; never in `production`.
    pub fn known_token(&self, production: bool) -> Option<&'static str> {
        let is_good = !production && self.tokens.iter().any(|token| token.is(Secret::KNOWN));
        is_good.then_some(Secret::KNOWN)
    }

    /// What may be done without a credential.
    pub fn open(&self, production: bool) -> AnonymousAccess {
        let subscribers = self.subscriber_auth.unwrap_or(match self.has_keys() {
            true => SubscriberAuth::Token,
            false => SubscriberAuth::Open,
        });
        AnonymousAccess { reading: !production && !self.has_keys(), subscribing: subscribers == SubscriberAuth::Open }
    }

    /// Where it is said what client certificates may do.
    pub fn grants(&self) -> Option<GrantsFile> {
        self.mtls_grants.clone().map(GrantsFile)
    }

    pub(super) fn expected(&self) -> Expected {
        Expected::new(&self.jwt_issuer, &self.jwt_audience, self.jwt_leeway.as_secs())
    }

    /// Reads the keys that do not change.
    pub fn keys(&self) -> Result<VerificationKeys, String> {
        let secrets = self.jwt_secret.iter().flat_map(|secret| secret.forms().map(Key::from_secret));
        let public = self.jwt_public_key_file.as_ref().map(|path| {
            let shown = path.display();
            let pem = fs::read(path).map_err(|error| format!("JWT_PUBLIC_KEY_FILE: {shown} cannot be read: {error}"))?;
            Key::from_pem(&pem).ok_or_else(|| {
                format!("JWT_PUBLIC_KEY_FILE: {shown} is no public key of RSA, EC or Ed25519 in PEM; make one with `openssl pkey -pubout`")
            })
        });
        let fixed = secrets.chain(public.transpose()?).collect();
        Ok(VerificationKeys::new(fixed, self.jwt_jwks_url.is_some()))
    }

    /// What should be known of settings that are not wrong.
    pub fn warnings(&self, production: bool) -> Vec<&'static str> {
        let open = self.open(production).subscribing;
        let short = production && self.tokens.iter().any(|token| token.len() < LONG_TOKEN);
        let plain = production && self.jwt_jwks_url.as_ref().is_some_and(|url| url.scheme_str() == Some("http"));
        [
            (
                self.tokens.iter().any(Secret::is_wrapped),
                "WS_TOKEN: a token comes with quotation marks, blanks or a line break around it, and is believed with and without them; write it without",
            ),
            (
                self.jwt_secret.as_ref().is_some_and(Secret::is_wrapped),
                "JWT_SECRET: it comes with quotation marks, blanks or a line break around it, and tokens that are signed with and without them are believed; write it without",
            ),
            (
                short,
                "WS_TOKEN: a token of fewer than 20 characters can be guessed in time; take a longer one, such as `openssl rand -hex 32` makes",
            ),
            (open, "subscribers need no token: anybody may read anything as anybody; set JWT_SECRET to change that"),
            (plain, "JWT_JWKS_URL is not https: whoever can change what comes over the network can sign tokens"),
        ]
        .into_iter()
        .filter_map(|(given, warning)| given.then_some(warning))
        .collect()
    }

    /// What is wrong with the settings together.
    pub fn faults(&self, production: bool) -> Vec<String> {
        let mut faults: Vec<_> = self.keys().err().into_iter().collect();
        faults.extend(self.grants().and_then(|grants| grants.read().err()).map(|error| error.to_string()));
        let is_https = self.jwt_jwks_url.as_ref().is_some_and(|url| url.scheme() == Some(&Scheme::HTTPS));
        match &self.jwt_jwks_ca_file {
            Some(_) if !is_https => {
                faults
                    .push("JWT_JWKS_CA_FILE: is of no use without a JWT_JWKS_URL that begins with https://".to_owned());
            }
            _ => faults.extend(issuer::check(self).err().map(|error| error.to_string())),
        }
        if self.subscriber_auth == Some(SubscriberAuth::Token) && !self.has_keys() {
            faults.push(
                "SUBSCRIBER_AUTH: `token` needs a key to check tokens with: set JWT_SECRET, JWT_PUBLIC_KEY_FILE or JWT_JWKS_URL"
                    .to_owned(),
            );
        }
        if self.jwt_secret.as_ref().is_some_and(Secret::is_empty) {
            faults.push("JWT_SECRET: must not be empty, or anybody could sign with it".to_owned());
        }
        if !production {
            return faults;
        }
        if self.allowed_origins.is_empty() {
            faults.push(
                "ALLOWED_ORIGINS: ENVIRONMENT=production needs the origins of the pages that connect, such as https://example.com, or * for any".to_owned(),
            );
        }
        if self.tokens.iter().any(Secret::is_weak) {
            faults.push(
                "WS_TOKEN: ENVIRONMENT=production needs a token of its own; it must not be empty or `dev`".to_owned(),
            );
        }
        if self.jwt_secret.as_ref().is_some_and(|secret| secret.bare().len() < MIN_SECRET_BYTES) {
            faults.push(format!("JWT_SECRET: ENVIRONMENT=production needs at least {MIN_SECRET_BYTES} bytes"));
        }
        if self.subscriber_auth.is_none() && !self.has_keys() {
            faults.push(
                "SUBSCRIBER_AUTH: ENVIRONMENT=production needs a key for subscribers' tokens (JWT_SECRET, JWT_PUBLIC_KEY_FILE or JWT_JWKS_URL), or SUBSCRIBER_AUTH=open".to_owned(),
            );
        }
        faults
    }
}
