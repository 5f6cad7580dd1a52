//! nginx in front of the HTTP port.

use std::net::SocketAddr;

use exposia_notifications::config::Config;

use super::{
    Proxy, assert_refusals_are_read, service, small_service, text_of,
    watched::{Side, Watched},
    while_it_drains, write,
};
use crate::support::TOKEN;

/// nginx that keeps its connections to the service. `upstream` and `location` stand in the blocks of these names.
async fn nginx(service: SocketAddr, upstream: &str, location: &str) -> Proxy {
    Proxy::start("nginx", |folder, address| {
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths.map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display())).concat();
        let text = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n\
             http {{ access_log off; client_max_body_size 0;\n{paths}\
             upstream service {{ server {service}; keepalive 8; {upstream} }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://service; proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\"; {location} }} }} }}\n",
            folder.display(),
        );
        write(folder, "conf", &text);
        ["-p", text_of(folder), "-c", "conf", "-e", "error.log"].map(str::to_owned).to_vec()
    })
    .await
}

// nginx makes no 502 of an answer that is ready before the body is there, whether it buffers what it passes on or not
#[tokio::test]
#[ignore = "needs nginx; scripts/test runs it"]
async fn an_early_answer_is_read_through_nginx() {
    let (app, small) = (service().await, small_service().await);
    for buffering in ["on", "off"] {
        let buffering = format!("proxy_request_buffering {buffering};");
        assert_refusals_are_read(&nginx(app.http(), "", &buffering).await).await;
        nginx(small.http(), "", &buffering).await.assert_all("/notify", TOKEN, 413).await;
    }
}

// the same while the service goes away
#[tokio::test]
#[ignore = "needs nginx; scripts/test runs it"]
async fn a_service_that_drains_is_read_through_nginx() {
    let app = service().await;
    let nginx = nginx(app.http(), "", "").await;
    while_it_drains(app, &nginx, async |nginx| nginx.assert_all("/notify", TOKEN, 503).await).await;
}

// nginx keeps a connection 60 s by itself, for less than the service does, and is the first to hang up
#[tokio::test]
#[ignore = "needs nginx; scripts/test runs it"]
async fn a_connection_that_nginx_keeps_is_closed_by_nginx() {
    let app = service().await;
    assert!(Config::defaults().listen.idle_timeout.as_secs() > 60);
    let mut watched = Watched::before(app.http()).await;
    let nginx = nginx(watched.address, "keepalive_timeout 1s;", "").await;
    nginx.assert_all("/notify", TOKEN, 200).await;
    assert_eq!(watched.first_to_hang_up().await, Side::Proxy);
}
