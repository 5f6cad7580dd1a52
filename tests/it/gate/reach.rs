//! Whom a publisher's events may be for.

use exposia_notifications::wire::proto::v1::{
    ExplainRouteRequest, PublishRequest, Target, publish_request::Body, publish_result::Outcome,
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;

use super::{guarded, mint};
use crate::support::{Answer, TOKEN, TestApp};

/// What is published, and what it may not be for.
fn cases() -> [(&'static str, Value, Option<Value>, Option<&'static str>); 10] {
    let target = |users: &[&str], rooms: &[&str], everyone: bool| {
        Some(json!({ "users": users, "rooms": rooms, "everyone": everyone }))
    };
    [
        ("tarea.x", json!({}), target(&["7"], &[], false), None),
        ("tarea.x", json!({}), target(&["7", "70"], &["tema_1"], false), None),
        ("tarea.x", json!({}), target(&["8"], &[], false), Some("user:8")),
        ("tarea.x", json!({}), target(&["7"], &["admin"], false), Some("room:admin")),
        ("tarea.x", json!({}), target(&["7"], &[], true), Some("everyone")),
        // By the rules.
        ("tarea.x", json!({ "temaId": 1 }), None, None),
        ("tarea.x", json!({}), None, Some("room:general")),
        ("user.x", json!({ "usuarioId": 7 }), None, None),
        ("user.x", json!({ "usuarioId": 9 }), None, Some("user:9")),
        ("presentacion.creada", json!({}), None, Some("everyone")),
    ]
}

fn limited() -> String {
    mint(json!({ "sub": "php", "publish": ["*"], "audiences": ["user:7*", "room:tema_*"] }))
}

fn refusal(audience: &str) -> String {
    format!("jwt:php may not publish for {audience:?}: no pattern of its claim `audiences` fits")
}

fn request(event: &str, payload: &Value, target: Option<&Value>) -> PublishRequest {
    let names = |target: &Value, key: &str| serde_json::from_value(target[key].clone()).expect("a list");
    PublishRequest {
        event: event.to_owned(),
        body: Some(Body::PayloadJson(payload.to_string().into())),
        target: target.map(|target| Target {
            users: names(target, "users"),
            rooms: names(target, "rooms"),
            everyone: target["everyone"] == true,
        }),
        ..Default::default()
    }
}

async fn sent(app: &TestApp) -> Value {
    Answer::to(app.request(Method::GET, "/stats").bearer_auth(TOKEN)).await.json()["total_notifications_sent"].take()
}

// SECURITY.md: a publisher reaches the audiences of its claim, by a target and by the rules, on every way in
#[tokio::test]
async fn a_publisher_reaches_the_audiences_of_its_claim() {
    let app = guarded().await;
    let token = limited();
    let mut client = app.grpc_with(Some(&token)).await;
    let mut accepted = 0;
    for (event, payload, target, denied) in cases() {
        let body = json!({ "event": event, "payload": payload, "target": target });
        let body = if target.is_none() { json!({ "event": event, "payload": payload }) } else { body };
        let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(&token).body(body.to_string())).await;
        let outcome = client.publish(request(event, &payload, target.as_ref())).await;
        match denied {
            None => {
                assert_eq!(answer.status, 200, "{body}: {}", answer.text());
                outcome.expect("published");
                accepted += 2;
            }
            Some(audience) => {
                assert_eq!(answer.refused(403), refusal(audience), "{body}");
                let status = outcome.expect_err("refused");
                assert_eq!((status.code(), status.message()), (Code::PermissionDenied, &*refusal(audience)), "{body}");
            }
        }
    }
    Answer::to(app.request(Method::POST, "/test-notification").bearer_auth(&token)).await.refused(403);
    assert_eq!(sent(&app).await, accepted);
}

// the others of the stream go on
#[tokio::test]
async fn an_event_for_somebody_else_is_rejected_by_itself() {
    let app = guarded().await;
    let mut client = app.grpc_with(Some(&limited())).await;
    let requests = cases().map(|(event, payload, target, _)| request(event, &payload, target.as_ref()));
    let mut results = client.publish_stream(tokio_stream::iter(requests)).await.expect("a stream").into_inner();
    for (event, payload, target, denied) in cases() {
        let result = results.message().await.expect("a result").expect("the stream goes on");
        match (result.outcome.expect("an outcome"), denied) {
            (Outcome::Accepted(_), None) => {}
            (Outcome::Rejected(rejection), Some(audience)) => {
                assert_eq!(rejection.code, Code::PermissionDenied as i32);
                assert_eq!(rejection.message, refusal(audience));
            }
            (outcome, _) => panic!("{event} {payload} {target:?}: {outcome:?}"),
        }
    }
}

// without the claim anybody is reached; with an empty one nobody; and asking where an event would go is free
#[tokio::test]
async fn without_the_claim_everybody_is_reached() {
    let app = guarded().await;
    let nobody = mint(json!({ "sub": "php", "publish": ["*"], "audiences": [] }));
    for claims in [json!({ "publish": ["*"] }), json!({ "publish": ["*"], "audiences": null })] {
        let mut client = app.grpc_with(Some(&mint(claims))).await;
        for (event, payload, target, _) in cases() {
            client.publish(request(event, &payload, target.as_ref())).await.expect("published");
        }
    }
    let mut client = app.grpc_with(Some(&nobody)).await;
    for (event, payload, target, _) in cases() {
        let status = client.publish(request(event, &payload, target.as_ref())).await.expect_err("refused");
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    let explained = ExplainRouteRequest { event: "presentacion.creada".to_owned(), ..Default::default() };
    client.explain_route(explained).await.expect("an explanation");
    // What is wrong with an event is told before whom it is for.
    let wrong = json!({ "event": "e", "payload": {}, "ttl": 0 }).to_string();
    Answer::to(app.request(Method::POST, "/notify").bearer_auth(&nobody).body(wrong)).await.refused(422);
}
