//! Who vouches for an issuer over https.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    issuer::{AT_ONCE, key, key_set, signed_by},
    tokens::{KEYS, notify},
};
use crate::{
    support::{TestApp, eventually, run_in, run_to_end, scratch},
    tls::authority::{Authority, Pair},
};

/// Answers each request over TLS with `body`.
async fn over_tls(body: String) -> (SocketAddr, Authority) {
    let (authority, listener) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let (address, Pair { certificate, key }) = (listener.local_addr().expect("an address"), authority.server());
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not believe the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.expect("the client listens");
            stream.shutdown().await.expect("the client listens");
        }
    });
    (address, authority)
}

// over https only an issuer is believed that the machine's authorities vouch for
#[tokio::test]
async fn an_issuer_that_nobody_vouches_for_is_not_believed() {
    let (address, authority) = over_tls(key_set(&[key("a", &KEYS[0])]).to_string()).await;
    let folder = scratch();
    let roots = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let (url, token) = (format!("https://{address}/jwks.json"), signed_by(&KEYS[0], "a"));
    for (roots, code) in [(roots("its", &authority), 0), (roots("another", &Authority::new()), 1)] {
        let settings = [("JWT_JWKS_URL", &*url), ("SSL_CERT_FILE", &*roots)];
        let output = run_to_end(&["token", "verify", &token], &settings).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let beside = scratch();
        std::fs::write(beside.path().join(".env"), format!("SSL_CERT_FILE={roots}\n")).expect("a file");
        let output = run_in(beside.path(), &["token", "verify", &token], &settings[..1]).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

// an issuer with a CA of its own is believed by that one, and by no other; a new one counts without a restart
#[tokio::test]
async fn an_issuer_may_have_an_authority_of_its_own() {
    let (address, authority) = over_tls(key_set(&[key("a", &KEYS[0])]).to_string()).await;
    let folder = scratch();
    let file = folder.path().join("ca.pem");
    let (url, token) = (format!("https://{address}/jwks.json"), signed_by(&KEYS[0], "a"));
    std::fs::write(&file, Authority::new().pem()).expect("a file");
    let app = TestApp::start_with(|config| {
        config.gate.jwt_jwks_url = Some(url.parse().expect("a URL"));
        config.gate.jwt_jwks_ca_file = Some(file.clone());
        config.gate.jwt_jwks_cooldown = AT_ONCE;
    })
    .await;
    assert_eq!(notify(&app, &token).await, 401);
    assert_eq!(app.get("/health").await.json()["status"], "degraded");
    std::fs::write(&file, authority.pem()).expect("a file");
    eventually("the key is known", async || (notify(&app, &token).await == 200).then_some(())).await;

    let path = file.to_str().expect("text");
    for (url, file, said) in [
        (
            "http://issuer/",
            path,
            "error: JWT_JWKS_CA_FILE: is of no use without a JWT_JWKS_URL that begins with https://\n",
        ),
        (
            &url,
            "/nowhere",
            "error: JWT_JWKS_CA_FILE: /nowhere cannot be read: No such file or directory (os error 2)\n",
        ),
    ] {
        let output = run_to_end(&["check"], &[("JWT_JWKS_URL", url), ("JWT_JWKS_CA_FILE", file)]).await;
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(2), said));
    }
}

// where nobody can vouch for the issuer, `check` and the start say the same sentence
#[tokio::test]
async fn without_authorities_of_the_machine_check_and_start_agree() {
    let folder = scratch();
    std::fs::write(folder.path().join("empty.pem"), "").expect("a file");
    let empty = folder.path().join("empty.pem");
    for (roots, why) in [("/nowhere", "/nowhere cannot be read"), (empty.to_str().expect("text"), "has no certificate")]
    {
        let settings = [("JWT_JWKS_URL", "https://127.0.0.1:1/jwks.json"), ("SSL_CERT_FILE", roots)];
        let check = run_to_end(&["check"], &settings).await;
        let start = run_to_end(&[], &settings).await;
        let said = String::from_utf8_lossy(&check.stderr);
        assert_eq!((check.status.code(), start.status.code()), (Some(2), Some(2)), "{start:?}");
        assert_eq!(said, String::from_utf8_lossy(&start.stderr));
        assert!(said.lines().count() == 1 && said.contains("SSL_CERT_FILE") && said.contains(why), "{said}");
        assert!(said.contains("JWT_JWKS_CA_FILE"), "{said}");
    }
}
