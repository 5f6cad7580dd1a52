//! What is wrong with the settings of TLS is one clear line each, and the service does not start.

use std::fs;

use super::{Authority, Files};
use crate::support::run_to_end;

async fn complaint(settings: &[(&str, &str)]) -> String {
    let output = run_to_end(&[], settings).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[tokio::test]
async fn a_faulty_file_is_one_clear_line() {
    let authority = Authority::new();
    let files = Files::with(&authority.server());
    let other = Files::with(&authority.server());
    let [certificate, key] = files.settings();
    let [_, other_key] = other.settings();
    let empty = files.folder.path().join("empty.pem");
    fs::write(&empty, "").expect("written");
    let empty = empty.to_str().expect("text");
    let broken = files.folder.path().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").expect("written");
    let broken = broken.to_str().expect("text");
    let authorities = ("MTLS_CA_FILE", certificate.1);
    let grants = files.folder.path().join("grants.toml");
    fs::write(&grants, "[[grants]]\nsubject = \"a\"\npublsh = []\n").expect("written");
    let grants = ("MTLS_GRANTS", grants.to_str().expect("text"));
    let name = |name: &str, text: &str| {
        fs::write(files.folder.path().join(name), text).expect("written");
        files.folder.path().join(name).to_str().expect("text").to_owned()
    };
    let pem = authority.pem();
    let lines = pem.lines().count();
    let marked = name("marked.pem", &format!("{pem}\u{feff}{pem}"));
    let mistyped = name("mistyped.pem", &[pem.clone(), pem.replace("-BEGIN", "-BEGN")].concat());
    let der = name("revoked.crl", "no PEM");
    let list = name("revoked.pem", "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n");
    let (hidden, typo) = (
        format!("marked.pem is no good PEM: line {}: a byte order mark", lines + 1),
        format!("mistyped.pem is no good PEM: line {}: no block begins here", lines + 1),
    );
    let no_grants = ("MTLS_GRANTS", empty);
    let cases: [(&[(&str, &str)], &str); 20] = [
        (&[certificate], "error: TLS_CERT_FILE: is of no use without TLS_KEY_FILE"),
        (&[key], "error: TLS_KEY_FILE: is of no use without TLS_CERT_FILE"),
        (&[("TLS_CERT_FILE", "/nowhere"), key], "error: TLS_CERT_FILE: /nowhere cannot be read"),
        (&[certificate, ("TLS_KEY_FILE", "/nowhere")], "error: TLS_KEY_FILE: /nowhere cannot be read"),
        (&[("TLS_CERT_FILE", empty), key], "has no certificate in PEM in it"),
        (&[("TLS_CERT_FILE", broken), key], "is no good PEM"),
        (&[("TLS_CERT_FILE", key.1), key], "has no certificate in PEM in it"),
        (&[certificate, ("TLS_KEY_FILE", certificate.1)], "has no private key in PEM in it"),
        (&[certificate, other_key], "error: TLS_KEY_FILE: the key does not fit the certificate"),
        (&[certificate, key, authorities], "error: MTLS_CA_FILE: is of no use without MTLS_GRANTS"),
        (&[certificate, key, ("MTLS_GRANTS", empty)], "error: MTLS_GRANTS: is of no use without MTLS_CA_FILE"),
        (&[certificate, key, authorities, grants], "unknown field `publsh`"),
        (&[certificate, key, ("MTLS_CA_FILE", key.1), ("MTLS_GRANTS", empty)], "has no certificate in PEM in it"),
        (&[certificate, key, ("MTLS_CA_FILE", &marked), no_grants], &hidden),
        (&[certificate, key, ("MTLS_CA_FILE", &mistyped), no_grants], &typo),
        (&[certificate, key, authorities, no_grants, ("MTLS_CRL_FILE", &der)], "has no list of revoked certificates"),
        (&[certificate, key, authorities, no_grants, ("MTLS_CRL_FILE", &list)], "error: MTLS_CRL_FILE: a list cannot"),
        (&[certificate, key, ("MTLS_CRL_FILE", &list)], "error: MTLS_CRL_FILE: is of no use without MTLS_CA_FILE"),
        (&[("HSTS_MAX_AGE", "365d")], "error: HSTS_MAX_AGE: is of no use without TLS_CERT_FILE"),
        (&[certificate, key, ("TLS_MIN_VERSION", "1.1")], "[possible values: 1.2, 1.3]"),
    ];
    for (settings, expected) in cases {
        let text = complaint(settings).await;
        assert!(text.contains(expected), "{settings:?}: {text}");
    }
}
