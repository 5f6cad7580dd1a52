//! HAProxy in front of the gRPC port.

use std::net::SocketAddr;

use super::{Proxy, grpc::assert_refusals_are_read_over_grpc, service, write};

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

// a refusal over gRPC that is ready before the message is there is read as what it is, and not as CANCELLED
#[tokio::test]
#[ignore = "needs haproxy; scripts/test runs it"]
async fn an_early_refusal_is_read_through_haproxy() {
    let app = service().await;
    let haproxy = haproxy(app.grpc_address()).await;
    assert_refusals_are_read_over_grpc(&haproxy).await;
}
