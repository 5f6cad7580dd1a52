//! File descriptors, of which each connection takes one and the journal some.

use std::collections::VecDeque;

use exposia_notifications::wire::proto::v1::{PublishRequest, notification_service_client::NotificationServiceClient};
use tokio::net::TcpStream;
use tonic::Request;

use crate::{
    places::{asks, ends},
    support::{Client, Server, TOKEN, eventually, exchange, open, run_limited, run_to_end, within},
};

/// How many descriptors the process may have here: far fewer than connections.
const FEW: u32 = 128;

/// What the start and `check` say then.
const WARNING: &str = "MAX_CONNECTIONS, MAX_HTTP_CONNECTIONS and MAX_GRPC_CONNECTIONS";

/// Connects until somebody is refused.
async fn fill(server: &Server) -> VecDeque<Client> {
    let mut clients = VecDeque::new();
    while let Ok(socket) = open(server.http(), &format!("client-{}", clients.len())).await {
        clients.push_back(Client::over(socket).await);
        assert!(clients.len() < FEW as usize, "nobody was refused");
    }
    clients
}

async fn publish(server: &Server) {
    let connecting = NotificationServiceClient::connect(format!("http://{}", server.grpc()));
    let mut client = within("a gRPC connection", connecting).await.expect("a connection");
    let mut request = Request::new(PublishRequest { event: "tema.nuevo".to_owned(), ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().expect("a header value"));
    within("an answer", client.publish(request)).await.expect("accepted");
}

// SECURITY.md: newcomers are refused with 503 before the last descriptor is taken, so that publishers get in and the journal
// has its files; of that the log has a few lines
#[tokio::test]
async fn newcomers_are_refused_before_the_last_descriptor_is_taken() {
    let settings = [("JOURNAL", "sqlite"), ("LOG_FORMAT", "json")];
    let mut server = Server::start_limited(FEW, &settings).await;
    assert!(server.has_said(WARNING), "the start does not warn");
    let mut clients = fill(&server).await;
    for _ in 0..FEW {
        let answer = exchange(server.http(), b"").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    }
    publish(&server).await;
    let mut last = clients.pop_back().expect("clients");
    assert_eq!(last.next_of_type("system_notification").await["event"], "tema.nuevo");
    for client in clients.drain(..) {
        client.close().await;
    }
    let back = async || Some(Client::over(open(server.http(), "back").await.ok()?).await);
    Box::pin(eventually("there is room again", back)).await.close().await;
    last.close().await;
    server.line_with("newcomers are refused").await;
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    assert!(!log.contains("ERROR"), "{log}");
    assert!(log.lines().filter(|line| line.contains("hardly any file descriptors")).count() < 5, "{log}");
}

// HTTP connections that are idle give way before anybody is refused; nobody is told that settings are too low
#[tokio::test]
async fn idle_connections_give_their_descriptors_to_newcomers() {
    let settings = [("JOURNAL", "sqlite"), ("LOG_FORMAT", "json"), ("IDLE_TIMEOUT", "1h")];
    let mut server = Server::start_limited(FEW, &settings).await;
    let mut connections = Vec::new();
    for _ in 0..FEW {
        let mut stream = TcpStream::connect(server.http()).await.expect("a connection");
        asks(&mut stream).await;
        connections.push(stream);
    }
    ends(&mut connections[0]).await;
    asks(connections.last_mut().expect("connections")).await;
    server.line_with("hardly any file descriptors").await;
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    assert!(!log.contains("ERROR") && !log.contains("MAX_HTTP_CONNECTIONS: "), "{log}");
}

// `check` says so, too, and only then
#[tokio::test]
async fn limits_above_the_descriptors_are_told() {
    let fitting = [("MAX_CONNECTIONS", "20"), ("MAX_HTTP_CONNECTIONS", "10"), ("MAX_GRPC_CONNECTIONS", "1")];
    for (settings, told) in [(&[][..], true), (&fitting[..], false)] {
        let output = run_limited(1_024, &["check"], settings).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.contains(WARNING) && said.contains("1024"), told, "{said}");
    }
    let output = run_to_end(&["check"], &fitting).await;
    assert!(!String::from_utf8(output.stderr).expect("text").contains(WARNING));
}
