//! At a bearable rate, and from the right places: limits, addresses, origins, and what is said of refusals. A limit in
//! these tests is one an hour, so that the second is one too many on any machine.

mod connections;
mod descriptors;
mod failures;
mod lagging;
mod messages;
mod origins;
mod proxies;
mod publishes;
mod refusals;
mod sessions;
mod speaking;
mod unfinished;

use exposia_notifications::gate::RateLimit;
use reqwest::Method;

use crate::support::{Answer, TestApp};

/// One an hour.
fn once() -> RateLimit {
    "1/h".parse().expect("a rate")
}

/// Publishes with a token and further headers.
async fn publish(app: &TestApp, token: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.request(Method::POST, "/notify").bearer_auth(token).body(r#"{"event":"e","payload":{}}"#);
    Answer::to(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

/// The seconds in `Retry-After`, which there must be.
#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    let seconds = answer.header("retry-after").parse().expect("a number of seconds");
    assert!(seconds > 0);
    seconds
}
