//! A certificate authority of the test's own, and what it signs.

use std::{fs, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SanType, date_time_ymd,
};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion,
    client::WantsClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Signs certificates.
#[derive(Debug)]
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("the tests' authority")
    }

    pub(super) fn named(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// The authority's own certificate, in PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server on this machine.
    pub(crate) fn server(&self) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.sign(CertificateParams::new(names).expect("names"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client.
    pub(super) fn client(&self, common_name: &str, names: Vec<SanType>) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for a client that expires when the year 2050 begins.
    pub(super) fn client_until_2050(&self, common_name: &str) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_after = date_time_ymd(2050, 1, 1);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for a server on this machine that is valid from some time until another.
    pub(super) fn server_between(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names");
        let moment = |time: DateTime<Utc>| {
            let seconds = u64::try_from(time.timestamp()).expect("after 1970");
            date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        (params.not_before, params.not_after) = (moment(from), moment(until));
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client, with a number of its own.
    pub(super) fn client_numbered(&self, common_name: &str, number: u64) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(number.into());
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A list of certificates that are revoked, by their numbers, in PEM; it was issued in some year and is good until the next.
    pub(super) fn revoking(&self, numbers: &[u64], year: i32) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: date_time_ymd(year, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(year, 1, 1),
            next_update: date_time_ymd(year + 1, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("a list").pem().expect("PEM")
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Pair {
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A client that believes this authority and speaks `protocols`.
    pub(crate) fn trusting(&self, protocols: &[&str]) -> ClientConfig {
        self.trusting_in(rustls::ALL_VERSIONS, protocols)
    }

    /// The same in some versions of TLS.
    pub(super) fn trusting_in(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> ClientConfig {
        let mut config = self.builder(versions).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// The same with a certificate of the client's own.
    pub(super) fn showing(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
        pair: &Pair,
    ) -> ClientConfig {
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
        let config = self.builder(versions).with_client_auth_cert(vec![pair.der()], key);
        let mut config = config.expect("a pair");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    fn builder(&self, versions: &[&'static SupportedProtocolVersion]) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
    }
}

impl Pair {
    /// The certificate as it is shown in a handshake.
    pub(super) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }

    /// Writes both files.
    pub(crate) fn write(&self, certificate: &Path, key: &Path) {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        fs::write(certificate, &self.certificate).expect("written");
        fs::write(key, &self.key).expect("written");
    }
}
