//! The settings of TLS, and the files that they name.

use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use rustls::{
    ALL_VERSIONS, CertRevocationListError, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, CertificateRevocationListDer},
    server::{NoClientAuth, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::{
    clock::{Clock, System},
    listen::tls::{
        Pair, Rest, Tls,
        reminder::Reminder,
        tickets::Tickets,
        validity::{self, CertificateStanding, List, Validity},
    },
    pem::{Pem, PemError},
    reload::Reloadable,
};

/// The settings of TLS.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "tls")]
#[command(next_help_heading = "TLS")]
pub struct Options {
    /// The file with the certificate in PEM, and those up to its CA behind it; both listeners speak TLS with it.
    #[arg(long, env = "TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,

    /// The file with the certificate's private key in PEM.
    #[arg(long, env = "TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// The file with the CAs, in PEM, whose client certificates are believed on the gRPC listener; needs MTLS_GRANTS.
    #[arg(long, env = "MTLS_CA_FILE", value_name = "FILE")]
    pub mtls_ca_file: Option<PathBuf>,

    /// The file with the lists, in PEM, of the certificates that those CAs revoked (CRLs); lists in MTLS_CA_FILE count, too.
    #[arg(long, env = "MTLS_CRL_FILE", value_name = "FILE")]
    pub mtls_crl_file: Option<PathBuf>,

    /// The oldest version of TLS that is spoken: 1.2 or 1.3.
    #[arg(long, env = "TLS_MIN_VERSION", default_value = "1.2", value_name = "VERSION")]
    pub tls_min_version: Version,

    /// For how long a browser that was here by https is to come by nothing else (HSTS); without, it is told nothing.
    #[arg(long, env = "HSTS_MAX_AGE", value_name = "TIME", value_parser = crate::domain::parse_duration)]
    pub hsts_max_age: Option<Duration>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Version {
    /// RFC 5246.
    #[value(name = "1.2", aliases = ["TLSv1.2", "TLS1.2"])]
    Tls12,
    /// RFC 8446.
    #[value(name = "1.3", aliases = ["TLSv1.3", "TLS1.3"])]
    Tls13,
}

/// The newest version alone.
static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];

impl Version {
    /// This and what is newer.
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => ALL_VERSIONS,
            Self::Tls13 => NEWEST,
        }
    }
}

/// Why there can be no TLS with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is useless without another.
    #[error("{0}: is of no use without {1}")]
    Alone(&'static str, &'static str),
    /// A file is not what the setting asks for.
    #[error("{0}: {1}")]
    File(&'static str, PemError),
    /// The two files do not belong together.
    #[error("TLS_KEY_FILE: the key does not fit the certificate in TLS_CERT_FILE: {0}")]
    Pair(rustls::Error),
    /// The CAs of clients cannot be used.
    #[error("MTLS_CA_FILE: a certificate is none of a CA: {0}")]
    Authorities(rustls::Error),
    /// A list of revoked certificates cannot be used.
    #[error("MTLS_CRL_FILE: a list cannot be used: {0:?}")]
    List(CertRevocationListError),
    /// The CAs of clients cannot be used together.
    #[error("MTLS_CA_FILE: {0}")]
    Verifier(VerifierBuilderError),
    /// There are no keys for the tickets of sessions.
    #[error("no random numbers for the keys of TLS session tickets: {0}")]
    Tickets(rustls::Error),
    /// The certificate that was read is not good at the time, and the one before it is.
    #[error("TLS_CERT_FILE: the certificate that was read {0}; the one from before is good and goes on being shown")]
    Worse(CertificateStanding),
}

impl From<VerifierBuilderError> for Error {
    fn from(error: VerifierBuilderError) -> Self {
        match error {
            VerifierBuilderError::InvalidCrl(error) => Self::List(error),
            error => Self::Verifier(error),
        }
    }
}

impl Options {
    /// Whether the listeners speak TLS.
    pub fn is_on(&self) -> bool {
        self.tls_cert_file.is_some()
    }

    /// The files that the settings name, judged by the time of `clock`; `None` without TLS.
    ///
    /// # Errors
    ///
    /// When a setting is of no use without another, or the system has no random numbers.
    pub fn files(&self, clock: Arc<dyn Clock>) -> Result<Option<TlsFiles>, Error> {
        if let Some(alone) = self.alone() {
            return Err(alone);
        }
        let (Some(certificate), Some(key)) = (self.tls_cert_file.clone(), self.tls_key_file.clone()) else {
            return Ok(None);
        };
        let tickets = Arc::new(Tickets::new().map_err(Error::Tickets)?);
        let (authorities, lists) = (self.mtls_ca_file.clone(), self.mtls_crl_file.clone());
        let (versions, reminder) = (self.tls_min_version.and_newer(), Reminder::new(Arc::clone(&clock)));
        Ok(Some(TlsFiles { certificate, key, authorities, lists, versions, tickets, clock, reminder }))
    }

    /// A setting that is of no use without another one.
    fn alone(&self) -> Option<Error> {
        let is_set = |file: &Option<PathBuf>| file.is_some();
        let pairs = [
            ("TLS_CERT_FILE", is_set(&self.tls_cert_file), "TLS_KEY_FILE", is_set(&self.tls_key_file)),
            ("TLS_KEY_FILE", is_set(&self.tls_key_file), "TLS_CERT_FILE", self.is_on()),
            ("MTLS_CA_FILE", is_set(&self.mtls_ca_file), "TLS_CERT_FILE", self.is_on()),
            ("MTLS_CRL_FILE", is_set(&self.mtls_crl_file), "MTLS_CA_FILE", is_set(&self.mtls_ca_file)),
            ("HSTS_MAX_AGE", self.hsts_max_age.is_some(), "TLS_CERT_FILE", self.is_on()),
        ];
        let alone = pairs.into_iter().find(|(_, is_set, _, has_other)| *is_set && !has_other);
        alone.map(|(setting, _, other, _)| Error::Alone(setting, other))
    }

    /// What is wrong with the settings and the files.
    pub fn fault(&self) -> Option<Error> {
        self.read().err()
    }

    /// What should be known at `now` of files that are not wrong.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        self.read().ok().flatten().map(|tls| tls.warnings(now)).unwrap_or_default()
    }

    fn read(&self) -> Result<Option<Tls>, Error> {
        // No time is asked for where nothing is followed.
        let files = self.files(Arc::new(System::default()))?;
        files.map(|files| files.read()).transpose()
    }
}

/// Where certificate and key are, and the CAs of clients and their lists; and what outlives their contents.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    authorities: Option<PathBuf>,
    lists: Option<PathBuf>,
    versions: &'static [&'static SupportedProtocolVersion],
    tickets: Arc<Tickets>,
    clock: Arc<dyn Clock>,
    reminder: Reminder,
}

/// Who signs the certificates of clients, and which of those are revoked.
#[derive(Debug, Default)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Authorities {
    /// Who says which clients' certificates are believed. A CA without a list revokes none: its clients would all be refused
    /// otherwise, and so would be those of a CA below it.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        if self.certificates.is_empty() {
            return Ok(Arc::new(NoClientAuth));
        }
        let mut roots = RootCertStore::empty();
        for authority in &self.certificates {
            roots.add(authority.clone()).map_err(Error::Authorities)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = builder.with_crls(self.lists.iter().cloned()).allow_unknown_revocation_status();
        // Whoever has none may still have a token.
        Ok(builder.allow_unauthenticated().build()?)
    }
}

impl TlsFiles {
    /// The CAs of clients and their lists; none without files for them.
    fn authorities(&self) -> Result<Authorities, Error> {
        let mut read = Authorities::default();
        if let Some(path) = &self.authorities {
            let wrong = |error| Error::File("MTLS_CA_FILE", error);
            let pem = Pem::read(path).map_err(wrong)?;
            read.certificates = pem.certificates().map_err(wrong)?;
            read.lists = pem.lists().map_err(wrong)?;
        }
        if let Some(path) = &self.lists {
            let wrong = |error| Error::File("MTLS_CRL_FILE", error);
            let pem = Pem::read(path).map_err(wrong)?;
            let lists = pem.lists().map_err(wrong)?;
            if lists.is_empty() {
                return Err(wrong(pem.no_list()));
            }
            read.lists.extend(lists);
        }
        // Of several lists that are for a certificate the first one counts.
        read.lists.sort_by_key(|list| Reverse(validity::issued(list)));
        Ok(read)
    }

    fn pair(&self, provider: &CryptoProvider) -> Result<Pair, Error> {
        let chain = Pem::read(&self.certificate).and_then(|pem| pem.certificates());
        let chain = chain.map_err(|error| Error::File("TLS_CERT_FILE", error))?;
        let key = Pem::read(&self.key).and_then(|pem| pem.private_key());
        let key = key.map_err(|error| Error::File("TLS_KEY_FILE", error))?;
        let validity = chain.first().and_then(Validity::of);
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(Error::Pair)?;
        Ok(Pair { shown: Arc::new(pair.into()), validity })
    }
}

impl Reloadable for TlsFiles {
    const NAME: &'static str = "TLS";
    type Value = Tls;
    type Error = Error;

    fn files(&self) -> Vec<&Path> {
        let files = [&self.certificate, &self.key].into_iter().chain(&self.authorities).chain(&self.lists);
        files.map(PathBuf::as_path).collect()
    }

    fn read(&self) -> Result<Tls, Error> {
        let provider = Arc::new(ring::default_provider());
        let pair = self.pair(&provider)?;
        let authorities = self.authorities()?;
        let clients = authorities.verifier(&provider)?;
        let grpc_tickets = self.tickets.grpc(&authorities.certificates).map_err(Error::Tickets)?;
        let tickets = [self.tickets.http(), grpc_tickets];
        let lists = authorities.lists.iter().filter_map(|list| List::of(list, &authorities.certificates)).collect();
        Ok(Tls::new(pair, Rest { provider, versions: self.versions, clients, lists, tickets }))
    }

    /// A certificate that clients refuse does not take the place of one that they believe. The CAs of clients and their lists do.
    fn settle(&self, read: Tls, current: &Tls) -> (Tls, Option<Error>) {
        let now = self.clock.wall();
        let standing = |tls: &Tls| tls.pair.validity.map_or(CertificateStanding::Good, |validity| validity.at(now));
        if standing(&read).is_bad() && !standing(current).is_bad() {
            let worse = Error::Worse(standing(&read));
            (Tls::new(current.pair.clone(), read.rest), Some(worse))
        } else {
            (read, None)
        }
    }

    fn look(&mut self, current: &Tls) {
        for warning in self.reminder.due(current.warnings(self.clock.wall())) {
            tracing::warn!("{warning}");
        }
    }
}
