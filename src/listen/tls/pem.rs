//! Reading PEM files (RFC 7468).

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It is not there, or not for this process.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It has no certificate in it.
    #[error("{0} has no certificate in PEM in it; it must have `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(PathBuf),
    /// It has no private key in it.
    #[error(
        "{0} has no private key in PEM in it; it must have `-----BEGIN PRIVATE KEY-----`, without a passphrase: \
         `openssl pkey` makes one of another form"
    )]
    NoKey(PathBuf),
    /// It is broken.
    #[error("{0} is no good PEM: {1}")]
    Malformed(PathBuf, Error),
}

/// The certificates in a file, in their order.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let none = || PemError::NoCertificate(path.into());
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| told(path, error, none()))?;
    if certificates.is_empty() { Err(none()) } else { Ok(certificates) }
}

/// The first private key in a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| told(path, error, PemError::NoKey(path.into())))
}

fn told(path: &Path, error: Error, none: PemError) -> PemError {
    match error {
        Error::Io(error) => PemError::Unreadable(path.into(), error),
        Error::NoItemsFound => none,
        error => PemError::Malformed(path.into(), error),
    }
}
