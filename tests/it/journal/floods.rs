//! Floods of publishes on a disk that is full: what is said of them.

use exposia_notifications::wire::proto::v1::{
    PublishRequest, notification_service_client::NotificationServiceClient, publish_result::Outcome,
};
use serde_json::Value;

use super::{
    mount::Mount,
    service::{event, notify, within},
};
use crate::support::Server;

/// How many publishes are refused here, by each transport.
const FLOOD: u64 = 2_000;

/// Publishes over REST until so many were refused.
async fn flood_by_rest(client: &reqwest::Client, server: &Server) {
    let (mut refused, mut sent) = (0, 0);
    while refused < FLOOD {
        sent += 1;
        let mut body = event(&format!("e{sent}"));
        // Where next to nothing is left there may be room for a small one after a large one found none.
        body["payload"]["padding"] = "x".repeat(if sent % 2 == 0 { 10_000 } else { 1 }).into();
        let (status, answer) = notify(client, &server.http().to_string(), &body, None).await.expect("an answer");
        match status {
            200 => assert!(sent < 2 * FLOOD, "there is room"),
            503 => refused += 1,
            _ => panic!("{status}: {answer}"),
        }
    }
}

/// Publishes as many over one stream, and gives how many were refused.
async fn flood_by_stream(server: &Server) -> u64 {
    let address = format!("http://{}", server.grpc());
    let mut grpc = within("a connection", NotificationServiceClient::connect(address)).await.expect("a connection");
    let requests = (0..FLOOD).map(|_| PublishRequest { event: "e".into(), ..PublishRequest::default() });
    let mut requests = tonic::Request::new(tokio_stream::iter(requests));
    requests.metadata_mut().insert("authorization", "Bearer dev".parse().expect("a value"));
    let mut results = within("a stream", grpc.publish_stream(requests)).await.expect("a stream").into_inner();
    let mut refused = 0;
    while let Some(result) = within("a result", results.message()).await.expect("it goes on") {
        refused += u64::from(matches!(result.outcome, Some(Outcome::Rejected(_))));
    }
    refused
}

// thousands of publishes that are refused are a handful of lines, and counted
#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_full_disk_does_not_fill_the_log() {
    let mount = Mount::new();
    let data = mount.data();
    let settings = [("JOURNAL", "sqlite"), ("DATA_DIR", data.to_str().expect("text")), ("LOG_FORMAT", "json")];
    let server = Server::start(&settings).await;
    mount.take_all();
    let client = reqwest::Client::new();
    flood_by_rest(&client, &server).await;
    let by_stream = flood_by_stream(&server).await;
    assert!(by_stream > FLOOD / 2, "{by_stream}");
    let stats = client.get(format!("http://{}/stats", server.http())).send().await.expect("an answer");
    let stats: Value = stats.json().await.expect("JSON");
    assert_eq!(stats["refusals"]["journal_unavailable"], FLOOD + by_stream, "{stats}");
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    assert!(log.lines().count() < 20, "{log}");
    assert!(log.contains("journal_unavailable") && log.contains("the journal is full"), "{log}");
}
