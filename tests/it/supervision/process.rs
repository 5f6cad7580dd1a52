//! The binary itself: its log, and its exit code.

use serde_json::Value;

use crate::support::{Answer, Client, InHand, Server, scratch};

/// What makes it listen to a test.
const FAULTS: (&str, &str) = ("FAULTS_FROM_STDIN", "1");

// exit code 1; a line that names what ended, and one with the panic; the ordinary way out
#[tokio::test]
async fn a_task_that_panics_is_in_the_log_and_in_the_exit_code() {
    let mut server = Server::start(&[FAULTS, ("LOG_FORMAT", "json"), ("SHUTDOWN_GRACE", "1h")]).await;
    let mut ana = Client::connect(server.http(), "ana").await;
    let in_hand = InHand::begin(server.http()).await;
    server.tell("broker").await;
    server.line_with("shutting down").await;
    let health = Answer::to(server.request(reqwest::Method::GET, "/health")).await;
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("draining")));
    assert!(health.text().contains("the worker `broker` panicked"), "{}", health.text());
    assert_eq!(in_hand.finish().await, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(ana.close_code().await, 1001);
    ana.ends().await;
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(1), "{log}");

    let (last, lines) = log.rsplit_once('\n').map(|(lines, last)| (last, lines)).expect("lines");
    assert_eq!(last, "error: the service shut down by itself: the worker `broker` panicked");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}")))
        .collect();
    let ours = |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with("exposia"));
    let errors = lines.iter().filter(ours).filter(|line| line["level"] == "ERROR");
    let errors: Vec<_> = errors.map(|line| &line["fields"]).collect();
    assert_eq!(errors.len(), 2, "{log}");
    assert_eq!(errors[0]["message"], "panicked: a test lets this task panic");
    assert!(errors[0]["location"].as_str().is_some_and(|location| location.starts_with("src/worker.rs:")), "{log}");
    assert_eq!(errors[1]["message"], "the worker `broker` panicked; the service shuts down");
    assert_eq!(errors[1]["worker"], "broker");
}

// a thread is no different; and the service starts again where it was
#[tokio::test]
async fn a_thread_that_panics_is_in_the_log_and_in_the_exit_code() {
    let data = scratch();
    let settings = [FAULTS, ("JOURNAL", "sqlite"), ("DATA_DIR", data.path().to_str().expect("text"))];
    let publish = async |server: &Server| {
        let request = server.request(reqwest::Method::POST, "/notify").bearer_auth("dev");
        Answer::to(request.body(r#"{"event":"e","payload":{}}"#)).await
    };
    let mut server = Server::start(&settings).await;
    assert_eq!(publish(&server).await.json()["sequence"], 1);
    server.tell("journal").await;
    let line = server.line_with("the worker `journal` panicked; the service shuts down").await;
    assert!(line.contains("ERROR") && line.contains("worker=journal"), "{line}");
    assert!(server.has_said("panicked: a test lets this thread panic thread=\"journal\" location=src/worker.rs:"));
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.ends_with("error: the service shut down by itself: the worker `journal` panicked"), "{log}");
    let server = Server::start(&settings).await;
    assert_eq!(publish(&server).await.json()["sequence"], 2);
}

// the log cannot say that nobody writes it any more: health and the last words do
#[tokio::test]
async fn a_log_that_ends_is_told_where_it_can_be() {
    let mut server = Server::start(&[FAULTS, ("SHUTDOWN_GRACE", "1h")]).await;
    let in_hand = InHand::begin(server.http()).await;
    server.tell("log").await;
    let wrong = async || Answer::to(server.request(reqwest::Method::POST, "/notify").bearer_auth("wrong")).await;
    let draining = async || {
        // A refusal is a line of the log, with which its thread has something to do.
        wrong().await;
        let health = Answer::to(server.request(reqwest::Method::GET, "/health")).await;
        (health.status == 503).then(|| health.text().to_owned())
    };
    let health = crate::support::eventually("draining", draining).await;
    assert!(health.contains("the worker `log` panicked"), "{health}");
    in_hand.finish().await;
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("thread 'log'") && log.contains("a test lets this thread panic"), "{log}");
    assert!(log.ends_with("error: the service shut down by itself: the worker `log` panicked"), "{log}");
}
