//! Certificates of the service that are not valid yet, or no longer, or not for long.

use std::{fs, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use exposia_notifications::clock::{Clock, Manual, System};

use super::{Authority, Files, HTTP_1, HTTP_2, Pair, TlsApp, connect, mtls, shown_on};
use crate::support::{Server, eventually, run_to_end, scratch};

fn year(year: i32) -> DateTime<Utc> {
    format!("{year}-01-01T00:00:00Z").parse().expect("a time")
}

/// What is shown at the HTTP listener.
async fn shows(app: &TlsApp, pair: &Pair) -> Option<()> {
    let stream = app.connect(&[HTTP_1]).await;
    (shown_on(&stream) == pair.der()).then_some(())
}

// `check` and the start say that clients refuse a certificate, or will soon
#[tokio::test]
async fn a_certificate_that_is_not_valid_is_told() {
    let (authority, now) = (Authority::new(), System::default().wall());
    let soon = now + TimeDelta::days(13);
    let said = |text: &str| format!("TLS_CERT_FILE: the certificate {text}");
    let cases = [
        (authority.server_between(year(2019), year(2020)), said("expired at 2020-01-01T00:00:00Z")),
        (authority.server_between(year(2080), year(2090)), said("is not valid before 2080-01-01T00:00:00Z")),
        (authority.server_between(year(2020), soon), said(&format!("expires at {}", soon.format("%Y-%m-%dT")))),
        (authority.server_between(year(2020), now + TimeDelta::days(15)), String::new()),
    ];
    for (pair, expected) in cases {
        let files = Files::with(&pair);
        let output = run_to_end(&["check"], &files.settings()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let checked = String::from_utf8(output.stderr).expect("text");
        let mut server = Server::launch(&files.settings()).await;
        let log = server.line_with("serving").await;
        for said in [checked.contains(&said("")), server.has_said(&said(""))] {
            assert_eq!(said, !expected.is_empty(), "{expected}: {checked}{log}");
        }
        assert!(checked.contains(&expected) && server.has_said(&expected), "{expected}: {checked}");
    }
}

// `/health` is degraded while clients refuse the certificate that is shown
#[tokio::test]
async fn the_health_follows_the_certificate() {
    let clock = Arc::new(Manual::new(year(2030)));
    let app = TlsApp::start_by(Arc::clone(&clock) as _, |_| {}).await;
    // The certificate of before stays while this one is not valid for the service's clock.
    let pair = app.authority.server_between(year(2020), year(2031));
    pair.write(&app.files.certificate, &app.files.key);
    eventually("the certificate", async || shows(&app, &pair).await).await;
    let health = async || app.get("/health").await;
    assert_eq!(health().await.1["status"], "healthy");
    clock.advance(Duration::from_secs(366 * 86_400));
    let (code, health) = health().await;
    assert_eq!((code, &health["status"]), (200, &"degraded".into()));
    let detail = health["detail"].as_str().expect("text");
    assert!(detail.contains("TLS_CERT_FILE: the certificate expired at 2031-01-01T00:00:00Z"), "{detail}");
}

// an expired certificate does not take the place of a good one; the log says so, and the next good one does
#[tokio::test]
async fn an_expired_certificate_replaces_no_good_one() {
    let authority = Authority::new();
    let pair = authority.server();
    let files = Files::with(&pair);
    let mut server = Server::start(&files.settings()).await;
    let shown = async |server: &Server| {
        let stream = connect(server.http(), authority.trusting(&[HTTP_1])).await.expect("a handshake");
        shown_on(&stream)
    };
    authority.server_between(year(2019), year(2020)).write(&files.certificate, &files.key);
    let line = server.line_with("the files of TLS changed").await;
    let expected = "TLS_CERT_FILE: the certificate that was read expired at 2020-01-01T00:00:00Z";
    assert!(line.contains("ERROR") && line.contains(expected) && line.contains("goes on being shown"), "{line}");
    assert_eq!(shown(&server).await, pair.der());
    let renewed = authority.server();
    renewed.write(&files.certificate, &files.key);
    let line = server.line_with("the files of TLS changed").await;
    assert!(line.contains("INFO"), "{line}");
    assert_eq!(shown(&server).await, renewed.der());
    let soon = System::default().wall() + TimeDelta::days(13);
    authority.server_between(year(2020), soon).write(&files.certificate, &files.key);
    let line = server.line_with("the certificate expires at").await;
    assert!(line.contains("WARN"), "{line}");
}

// one that is not valid yet is shown as soon as it is; what came with it counts at once
#[tokio::test]
async fn a_certificate_is_shown_from_its_time_on() {
    let (clients, folder) = (Authority::new(), scratch());
    let clock = Arc::new(Manual::new(year(2020) - TimeDelta::seconds(1)));
    let app = mtls::start_by(Arc::clone(&clock) as _, &[&Authority::new()], &folder).await;
    let pair = app.authority.server_between(year(2020), year(2090));
    pair.write(&app.files.certificate, &app.files.key);
    fs::write(folder.path().join("clients.pem"), clients.pem()).expect("written");
    let client = clients.client("presentaciones-php", vec![]);
    eventually("the CA of clients", async || {
        let config = app.authority.showing(&[&rustls::version::TLS12], &[HTTP_2], &client);
        connect(app.app.grpc_address(), config).await.ok()
    })
    .await;
    assert_eq!(shows(&app, &pair).await, None);
    clock.advance(Duration::from_secs(1));
    eventually("the certificate", async || shows(&app, &pair).await).await;
}
