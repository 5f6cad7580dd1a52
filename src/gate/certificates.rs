//! What clients may do by their certificates: the table in the file of `MTLS_GRANTS`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    domain::{Certificate, KeyOwner},
    gate::{Credential, Grant, Identity, Patterns, Rate, subject::Subject},
    reload::Reloadable,
};

/// How many rows the table may have: they are tried one by one.
const MAX_GRANTS: usize = 1_000;

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The file is not there, or not for this process.
    #[error("MTLS_GRANTS: {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is no table of grants.
    #[error("MTLS_GRANTS: {}: {}", .0.display(), .1.message())]
    Malformed(PathBuf, toml::de::Error),
    /// It has more rows, or a row more patterns, than are tried.
    #[error(
        "MTLS_GRANTS: {0}: at most {MAX_GRANTS} grants with 64 patterns each; let one pattern stand for several names"
    )]
    TooLong(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    grants: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    subject: String,
    publish: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    #[serde(default, deserialize_with = "rate")]
    rate: Option<Rate>,
    #[serde(default)]
    admin: bool,
    rooms: Option<Vec<String>>,
}

/// The grants, in the order of the table.
#[derive(Debug, Clone)]
pub struct Grants(Arc<[Entry]>);

#[derive(Debug)]
struct Entry {
    subject: Subject,
    key_owner: KeyOwner,
    grant: Grant,
    rooms: Patterns,
}

/// Whose the idempotency keys are of the certificates that a row is for: what one row is for is one publisher.
fn key_owner(subject: &str) -> KeyOwner {
    KeyOwner::named("certificate", &[subject])
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

impl Row {
    fn entry(self) -> Option<Entry> {
        let patterns = |patterns: Option<Vec<String>>| patterns.map(|patterns| Patterns::new(&patterns).ok_or(()));
        let publish = patterns(self.publish).transpose().ok()?;
        let audiences = patterns(self.audiences).transpose().ok()?;
        let rooms = patterns(self.rooms).transpose().ok()?.unwrap_or_else(Patterns::open_rooms);
        let key_owner = key_owner(&self.subject);
        let subject = Subject::new(&self.subject);
        let grant = Grant { publish, audiences, rate: self.rate, admin: self.admin };
        Some(Entry { subject, key_owner, grant, rooms })
    }
}

impl Grants {
    /// Who the owner of a certificate is: the first row counts that fits one of its names. A certificate that none fits is
    /// known, and may do nothing that needs a grant.
    pub(super) fn identify(&self, certificate: &Arc<Certificate>) -> Identity {
        let fitting = self.0.iter().find_map(|entry| {
            let name = certificate.names.iter().find(|name| entry.subject.fits(name))?;
            Some((name, entry))
        });
        let name = fitting.map(|(name, _)| name).or(certificate.names.first());
        let name = name.map_or_else(String::new, ToString::to_string);
        Identity {
            key_owner: fitting.map_or_else(|| key_owner(&name), |(_, entry)| entry.key_owner),
            credential: Credential::Certificate(name.into()),
            grant: fitting.map(|(_, entry)| Box::new(entry.grant.clone())),
            rooms: fitting.map_or_else(Patterns::open_rooms, |(_, entry)| entry.rooms.clone()),
            expires_at: Some(certificate.expires_at),
            certificate: Some(Arc::clone(certificate)),
            issued_at: None,
            token_id: None,
        }
    }
}

/// Where the table is.
#[derive(Debug, Clone)]
pub struct GrantsFile(pub PathBuf);

impl Reloadable for GrantsFile {
    const NAME: &'static str = "MTLS_GRANTS";
    type Value = Grants;
    type Error = GrantsError;

    fn files(&self) -> Vec<&Path> {
        vec![&self.0]
    }

    fn read(&self) -> Result<Grants, GrantsError> {
        let path = || self.0.clone();
        let text = fs::read_to_string(&self.0).map_err(|error| GrantsError::Unreadable(path(), error))?;
        let table: Table = toml::from_str(&text).map_err(|error| GrantsError::Malformed(path(), error))?;
        if table.grants.len() > MAX_GRANTS {
            return Err(GrantsError::TooLong(path()));
        }
        let entries: Option<Vec<_>> = table.grants.into_iter().map(Row::entry).collect();
        Ok(Grants(entries.ok_or_else(|| GrantsError::TooLong(path()))?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CertificateName, NameKind};

    fn grants(text: &str) -> Result<Grants, GrantsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grants.toml");
        fs::write(&path, text).expect("written");
        GrantsFile(path).read()
    }

    /// A certificate with DNS names, and such as are URIs.
    fn certificate(names: &[&str]) -> Arc<Certificate> {
        let kind = |name: &str| if name.contains("://") { NameKind::Uri } else { NameKind::Dns };
        let names = names.iter().map(|name| CertificateName { kind: kind(name), text: (*name).into() });
        Arc::new(Certificate::new(names.collect(), i64::MAX))
    }

    const TABLE: &str = r#"
        [[grants]]
        subject = "spiffe://exposia/php"
        publish = ["presentacion.*"]
        rate = "100/s"

        [[grants]]
        subject = "*.exposia.example"
        admin = true
        rooms = ["*"]
    "#;

    #[test]
    fn the_first_row_that_fits_a_name_counts() {
        let grants = grants(TABLE).expect("a table");
        let php = grants.identify(&certificate(&["php", "a.exposia.example", "spiffe://exposia/php"]));
        assert_eq!(php.credential.to_string(), "cert:spiffe://exposia/php");
        let grant = php.grant.expect("a grant");
        assert_eq!(grant.rate, "100/s".parse().ok());
        assert!(!grant.admin && grant.publish.is_some_and(|publish| publish.matches("presentacion.creada")));
        let admin = grants.identify(&certificate(&["a.exposia.example"]));
        assert!(admin.rooms.is_all() && admin.grant.is_some_and(|grant| grant.admin && grant.publish.is_none()));
        let stranger = grants.identify(&certificate(&["stranger"]));
        assert_eq!((stranger.credential.to_string().as_str(), stranger.grant.is_none()), ("cert:stranger", true));
        assert!(!stranger.rooms.matches("admin"));
    }

    #[test]
    fn a_faulty_table_is_refused() {
        for text in [
            "grants = 1",
            "[[grants]]",
            "[[grants]]\nsubject = \"a\"\npublsh = []",
            "[[grants]]\nsubject = \"a\"\nrate = \"fast\"",
            "x = 1",
        ] {
            assert!(matches!(grants(text), Err(GrantsError::Malformed(..))), "{text}");
        }
        let many = "[[grants]]\nsubject = \"a\"\n".repeat(MAX_GRANTS + 1);
        assert!(matches!(grants(&many), Err(GrantsError::TooLong(_))));
    }
}
