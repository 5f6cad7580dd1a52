//! Tokens at the command line: minted for development, and looked at as the gate does.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use crate::{
    clock::Clock,
    gate::{FetchError, Gate, Identity, Issuer, Options, Patterns, TokenError, TrustError},
};

/// How much is read of what should be a token.
const MAX_TOKEN_BYTES: u64 = 65_536;

/// What can be done with tokens.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum TokenTool {
    /// Sign a token with JWT_SECRET (HS256) and print it.
    Mint(Mint),
    /// Say whose token it is, what it may do and until when; exit code 0, or 1 with the reason why it is refused.
    Verify {
        /// The token; `-` reads it from standard input.
        token: String,
    },
}

/// The claims of a token that is minted.
#[derive(Debug, Clone, clap::Args)]
pub struct Mint {
    /// Whose it is: the user id.
    #[arg(long, value_name = "USER")]
    sub: Option<String>,

    /// The rooms that may be joined, as patterns, separated by commas; without, `general` and `tema_*`.
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    rooms: Option<Vec<String>>,

    /// The events that may be published, as patterns, separated by commas; without, none.
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    publish: Option<Vec<String>>,

    /// Whom the events may be for, as patterns, separated by commas: `everyone`, `user:*`, `room:tema_*`; without, anybody.
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    audiences: Option<Vec<String>>,

    /// It may revoke users and disconnect clients.
    #[arg(long)]
    admin: bool,

    /// How long it is good.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = crate::domain::parse_positive_duration)]
    expires: Duration,

    /// The issuer; without, the first of JWT_ISSUER.
    #[arg(long, value_name = "ISSUER")]
    iss: Option<String>,

    /// Whom it is for; without, the first of JWT_AUDIENCE.
    #[arg(long, value_name = "AUDIENCE")]
    aud: Option<String>,
}

/// Why there is nothing to say of a token, or nothing good.
#[derive(Debug, thiserror::Error)]
pub enum TokenToolError {
    /// There is nothing to sign with.
    #[error("JWT_SECRET: tokens are minted with it, and it is not set")]
    NoSecret,
    /// The signature could not be made.
    #[error("the token cannot be signed")]
    Signing(#[from] jsonwebtoken::errors::Error),
    /// The gate would not let it in.
    #[error("the token is refused")]
    Refused(#[from] TokenError),
    /// The keys cannot be read.
    #[error("{0}")]
    Keys(String),
    /// The issuer's keys cannot be fetched.
    #[error("JWT_JWKS_URL: the issuer's keys cannot be fetched")]
    Issuer(#[from] FetchError),
    /// Nobody can vouch for the issuer.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing can be read, or nobody reads what is said.
    #[error(transparent)]
    Stream(#[from] io::Error),
}

impl TokenTool {
    /// Does the work with the keys of the settings and the time of `clock`; what there is to say goes to `out`.
    pub async fn run(
        &self,
        options: &Options,
        clock: Arc<dyn Clock>,
        input: &mut impl Read,
        out: &mut impl Write,
    ) -> Result<(), TokenToolError> {
        let keys = options.keys().map_err(TokenToolError::Keys)?;
        if matches!(self, Self::Verify { .. })
            && let Some(issuer) = Issuer::new(options, keys.clone())?
        {
            issuer.refresh().await?;
        }
        let now = clock.wall();
        let gate = Gate::new(options, keys, options.open(true), None, clock);
        match self {
            Self::Mint(claims) => {
                let token = claims.sign(options, now)?;
                // A token that the service would refuse is of no use to anybody.
                gate.verify(&token)?;
                writeln!(out, "{token}")?;
            }
            Self::Verify { token } if token == "-" => {
                let mut token = String::new();
                input.take(MAX_TOKEN_BYTES).read_to_string(&mut token)?;
                describe(&*gate.verify(token.trim())?, out)?;
            }
            Self::Verify { token } => describe(&*gate.verify(token)?, out)?,
        }
        Ok(())
    }
}

impl Mint {
    fn sign(&self, options: &Options, now: DateTime<Utc>) -> Result<String, TokenToolError> {
        let secret =
            options.jwt_secret.as_ref().and_then(|secret| secret.forms().next()).ok_or(TokenToolError::NoSecret)?;
        let now = now.timestamp();
        let lifetime = i64::try_from(self.expires.as_secs()).unwrap_or(i64::MAX);
        let claims = [
            ("sub", json!(self.sub)),
            ("rooms", json!(self.rooms)),
            ("publish", json!(self.publish)),
            ("audiences", json!(self.audiences)),
            ("admin", json!(self.admin.then_some(true))),
            ("iss", json!(self.iss.as_ref().or(options.jwt_issuer.first()))),
            ("aud", json!(self.aud.as_ref().or(options.jwt_audience.first()))),
            ("iat", json!(now)),
            ("exp", json!(now.saturating_add(lifetime))),
        ];
        let claims: BTreeMap<_, _> = claims.into_iter().filter(|(_, claim)| !claim.is_null()).collect();
        Ok(encode(&Header::default(), &claims, &EncodingKey::from_secret(secret))?)
    }
}

/// A line for each thing to know of a token.
fn describe(identity: &Identity, out: &mut impl Write) -> io::Result<()> {
    let grant = identity.grant.as_ref();
    let publish =
        grant.and_then(|grant| grant.publish.as_ref()).map_or_else(|| "nothing".to_owned(), Patterns::to_string);
    let rooms: Vec<_> = [identity.rooms.to_string()].into_iter().chain(identity.own_room()).collect();
    let until = identity.expires_at.map(|exp| match DateTime::from_timestamp(exp, 0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => exp.to_string(),
    });
    writeln!(out, "subject    {}", identity.credential)?;
    writeln!(out, "may hear   {}", rooms.join(", "))?;
    writeln!(out, "publishes  {publish}")?;
    if let Some(audiences) = grant.and_then(|grant| grant.audiences.as_ref()) {
        writeln!(out, "only for   {audiences}")?;
    }
    writeln!(out, "admin      {}", if grant.is_some_and(|grant| grant.admin) { "yes" } else { "no" })?;
    writeln!(out, "until      {}", until.as_deref().unwrap_or("it is taken out of WS_TOKEN"))
}
