//! The CAs of the machine that the service runs on.

use std::{env, ffi::OsString, path::PathBuf};

use rustls::pki_types::CertificateDer;
use rustls_native_certs::load_certs_from_paths;

use crate::pem::Pem;

/// The CAs of the machine: where they are, if they are not where the system keeps them.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    file: Option<PathBuf>,
    /// Several may be named, as in a search path.
    folders: Option<OsString>,
}

impl Roots {
    /// What the two variables name that OpenSSL has for it.
    pub fn named_by(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self { file: variable("SSL_CERT_FILE").map(PathBuf::from), folders: variable("SSL_CERT_DIR") }
    }

    /// The folders that are named, with `:` between them.
    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty())
    }

    /// Whether a file or a folder takes the place of the system's.
    pub(super) fn are_named(&self) -> bool {
        self.file.is_some() || self.folders().next().is_some()
    }

    /// The certificates in them; what is none is passed over.
    pub(super) fn load(&self) -> Vec<CertificateDer<'static>> {
        let folders = self.folders().flat_map(|folder| load_certs_from_paths(None, Some(&folder)).certs);
        load_certs_from_paths(self.file.as_deref(), None).certs.into_iter().chain(folders).collect()
    }

    /// Why the machine knows no CA.
    pub(super) fn why_nobody(&self) -> String {
        if let Some(path) = &self.file {
            let wrong = Pem::read(path).and_then(|pem| pem.certificates()).err();
            let wrong = wrong
                .map_or_else(|| format!("{} has no certificate of a CA", path.display()), |wrong| wrong.to_string());
            return format!("SSL_CERT_FILE is set and {wrong}");
        }
        match &self.folders {
            Some(path) => format!("SSL_CERT_DIR is set and {} has no certificate of a CA", path.display()),
            None => "this system has no certificates of CAs".to_owned(),
        }
    }
}
