//! HAProxy in front of the gRPC port.

use std::net::SocketAddr;

use super::{Proxy, grpc::assert_refusals_are_read_over_grpc, service, write};
use crate::{clients::assert_succeeds_with, support::TOKEN};

async fn haproxy(service: SocketAddr) -> Proxy {
    Proxy::start("haproxy", |folder, address| {
        let text = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
             frontend here\n bind {address} proto h2\n default_backend service\n\
             backend service\n server one {service} proto h2\n"
        );
        vec!["-db".to_owned(), "-f".to_owned(), write(folder, "conf", &text)]
    })
    .await
}

// a refusal over gRPC that is ready before the message is there is read as what it is
#[tokio::test]
#[ignore = "needs haproxy; scripts/test runs it"]
async fn an_early_refusal_is_read_through_haproxy() {
    let app = service().await;
    let haproxy = haproxy(app.grpc_address()).await;
    assert_refusals_are_read_over_grpc(&haproxy).await;
}

// and not as CANCELLED, which only some clients make of a stream that is reset
#[tokio::test]
#[ignore = "needs haproxy, python3, node, php and a JDK; scripts/test runs it"]
async fn an_early_refusal_is_no_cancelled_call_through_haproxy() {
    let app = service().await;
    let haproxy = haproxy(app.grpc_address()).await;
    let (http, grpc) = (format!("http://{}", app.http()), haproxy.address.to_string());
    let environment = [("SUITE", "haproxy"), ("BASE_URL", &*http), ("GRPC_ADDR", &*grpc), ("TOKEN", TOKEN)];
    assert_succeeds_with(&environment, ".", "tests/clients/run", &[]).await;
}
