//! What is said of sessions that end, and how often.

use reqwest::Method;

use crate::support::{Answer, Client, Server, eventually};

/// How many sessions end of either reason.
const EACH: usize = 100;

// the first are logged one by one, and of the others the log has the number, by reason
#[tokio::test]
async fn sessions_that_end_are_logged_at_a_bearable_rate() {
    let mut server = Server::start(&[("LOG_FORMAT", "json"), ("LOG_SESSIONS", "5/h")]).await;
    for number in 0..EACH {
        Client::connect(server.http(), &format!("leaves-{number}")).await.close().await;
        drop(Client::connect(server.http(), &format!("vanishes-{number}")).await);
    }
    let nobody = async || {
        let stats = Answer::to(server.request(Method::GET, "/stats")).await.json();
        (stats["total_connections"] == 0).then_some(())
    };
    eventually("nobody is connected", nobody).await;
    server.line_with("session closed").await;
    server.signal("TERM").await;
    let (_, log) = server.end().await;
    let (mut single, mut left_out, mut leaving) = (0, 0, 0);
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let fields = &line["fields"];
        match fields["message"].as_str().expect("a text") {
            "session closed" => {
                single += 1;
                leaving += usize::from(fields["reason"] == "by_client");
            }
            "further sessions closed" => {
                left_out += fields["left_out"].as_u64().expect("a number");
                let reasons = fields["reasons"].as_str().expect("a text").split(", ");
                let by_client = reasons.filter_map(|reason| reason.strip_prefix("by_client "));
                leaving += by_client.map(|count| count.parse::<usize>().expect("a number")).sum::<usize>();
            }
            _ => {}
        }
    }
    assert_eq!((single, left_out), (5, 2 * EACH as u64 - 5), "{log}");
    assert_eq!(leaving, EACH, "{log}");
}
