//! What a client's certificate says (RFC 5280). That it is genuine was found out in the handshake.

use x509_cert::{
    Certificate as X509,
    der::{
        Any, Decode,
        asn1::{ObjectIdentifier, PrintableStringRef},
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::domain::{Certificate, CertificateName, NameKind};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// How many names are looked at.
const MAX_NAMES: usize = 64;

/// The longest name that is looked at, in bytes.
const MAX_LENGTH: usize = 256;

/// Reads a certificate; `None` when its form is not that of one.
pub(in crate::listen) fn certificate(der: &[u8]) -> Option<Certificate> {
    let tbs = X509::from_der(der).ok()?.tbs_certificate;
    let common = tbs.subject.0.iter().flat_map(|names| names.0.iter()).filter(|name| name.oid == COMMON_NAME);
    let common = common.filter_map(|name| Some((NameKind::Common, plain(&name.value)?)));
    let alternative = tbs.get::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
    let names = common.chain(alternative.iter().filter_map(text));
    // They get into logs, each on one line.
    let names = names.filter(|(_, name)| name.len() <= MAX_LENGTH && !name.chars().any(char::is_control));
    let names = names.take(MAX_NAMES).map(|(kind, name)| CertificateName { kind, text: name.into() });
    let expires_at = i64::try_from(tbs.validity.not_after.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Some(Certificate::new(names.collect(), expires_at))
}

/// A name in one of the two forms that are current.
fn plain(value: &Any) -> Option<String> {
    let utf8 = value.decode_as::<String>().ok();
    utf8.or_else(|| Some(value.decode_as::<PrintableStringRef<'_>>().ok()?.to_string()))
}

fn text(name: &GeneralName) -> Option<(NameKind, String)> {
    match name {
        GeneralName::DnsName(name) => Some((NameKind::Dns, name.to_string())),
        GeneralName::UniformResourceIdentifier(name) => Some((NameKind::Uri, name.to_string())),
        GeneralName::Rfc822Name(name) => Some((NameKind::Email, name.to_string())),
        _ => None,
    }
}
