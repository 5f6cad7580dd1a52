//! When the service's own certificate is valid (RFC 5280, 4.1.2.5), and up to when a list of revoked ones is (5.1.2.5).

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::{Certificate as X509, crl::CertificateList, der::Decode, name::Name, time::Time};

/// How long before the end of a certificate it is spoken of.
const SOON: TimeDelta = TimeDelta::days(14);

/// From when and up to when a certificate is valid, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// Whether a certificate is valid at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStanding {
    /// It is valid only from this time on.
    Early(DateTime<Utc>),
    /// It is valid.
    Good,
    /// It is valid, but ends soon, at this time.
    Ending(DateTime<Utc>),
    /// It has not been valid since this time.
    Expired(DateTime<Utc>),
}

impl Validity {
    /// Reads when a certificate is valid; `None` when its form is not that of one.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let validity = X509::from_der(certificate).ok()?.tbs_certificate.validity;
        Some(Self { from: moment(validity.not_before)?, until: moment(validity.not_after)? })
    }

    /// How it is at `now`.
    pub(super) fn at(self, now: DateTime<Utc>) -> CertificateStanding {
        match self {
            Self { from, .. } if now < from => CertificateStanding::Early(from),
            Self { until, .. } if until < now => CertificateStanding::Expired(until),
            Self { until, .. } if until - now <= SOON => CertificateStanding::Ending(until),
            _ => CertificateStanding::Good,
        }
    }
}

impl CertificateStanding {
    /// Whether clients refuse the certificate.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Early(_) | Self::Expired(_))
    }
}

impl fmt::Display for CertificateStanding {
    /// What to say of a certificate; nothing of a good one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::Early(from) => write!(f, "is not valid before {}: clients refuse it until then", shown(from)),
            Self::Good => Ok(()),
            Self::Ending(until) => write!(f, "expires at {}: replace it before then", shown(until)),
            Self::Expired(until) => write!(f, "expired at {}: clients refuse it", shown(until)),
        }
    }
}

/// When a list was issued; `None` when its form is not that of one.
pub(super) fn issued(list: &CertificateRevocationListDer<'_>) -> Option<DateTime<Utc>> {
    moment(CertificateList::from_der(list).ok()?.tbs_cert_list.this_update)
}

/// A list of revoked certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    issuer: String,
    /// By when there should have been another.
    until: Option<DateTime<Utc>>,
    /// Whether its issuer is one of the CAs that are believed.
    is_of_authority: bool,
}

impl List {
    /// Reads when a list is valid, where `authorities` are believed; `None` when its form is not that of one.
    pub(super) fn of(list: &CertificateRevocationListDer<'_>, authorities: &[CertificateDer<'_>]) -> Option<Self> {
        let list = CertificateList::from_der(list).ok()?.tbs_cert_list;
        let is_of = |authority: &CertificateDer<'_>| subject(authority).is_some_and(|subject| subject == list.issuer);
        let is_of_authority = authorities.iter().any(is_of);
        Some(Self { issuer: list.issuer.to_string(), until: list.next_update.and_then(moment), is_of_authority })
    }

    /// What should be known of it at `now`.
    pub(super) fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let issuer = &self.issuer;
        if !self.is_of_authority {
            return Some(format!(
                "MTLS_CRL_FILE: the list of `{issuer}` is of none of the CAs in MTLS_CA_FILE: it revokes only what a CA below them issued"
            ));
        }
        let until = self.until.filter(|until| *until < now)?.to_rfc3339_opts(SecondsFormat::Secs, true);
        Some(format!(
            "MTLS_CRL_FILE: the list of `{issuer}` should have been replaced by {until}; what was revoked since is still believed"
        ))
    }
}

fn subject(certificate: &CertificateDer<'_>) -> Option<Name> {
    Some(X509::from_der(certificate).ok()?.tbs_certificate.subject)
}

fn moment(time: Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(time.to_unix_duration().as_secs()).ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_spoken_of_before_it_ends() {
        let time = |days| DateTime::UNIX_EPOCH + TimeDelta::days(days);
        let validity = Validity { from: time(10), until: time(40) };
        assert_eq!(validity.at(time(9)), CertificateStanding::Early(time(10)));
        assert_eq!(validity.at(time(10)), CertificateStanding::Good);
        assert_eq!(validity.at(time(25)), CertificateStanding::Good);
        assert_eq!(validity.at(time(26)), CertificateStanding::Ending(time(40)));
        assert_eq!(validity.at(time(40)), CertificateStanding::Ending(time(40)));
        assert_eq!(validity.at(time(41)), CertificateStanding::Expired(time(40)));
    }
}
