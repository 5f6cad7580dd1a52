//! `POST /notify` and its like: the interface that the legacy services keep.

use std::time::Duration;

use axum::{Json, Router, body::Body, extract::State, response::Response, routing::post};
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde::Serialize;

use crate::{
    broker::{Accepted, Error, Explanation},
    domain::{Audiences, Code, Draft, DraftFields, IdempotencyKey, Payload, RoomId, UserId},
    gate::{Caller, PublisherCaller},
    ingress::{Intake, Options, Refused, body, check_reach, unserved},
    wire::{json, messages, notify, problem::Problem, quota::Quota},
};

#[derive(Debug, Clone)]
struct Ingress {
    intake: Intake,
    max_body_bytes: usize,
    body_timeout: Duration,
}

/// The routes of publishers.
pub fn router(options: &Options, intake: Intake) -> Router {
    Router::new()
        .route("/notify", post(notify))
        .route("/test-notification", post(test_notification))
        .route("/routes/explain", post(explain))
        .with_state(Ingress {
            intake,
            max_body_bytes: options.max_body_bytes.get(),
            body_timeout: options.body_timeout,
        })
}

#[derive(Serialize)]
struct Notified {
    success: bool,
    message: &'static str,
    event: String,
    timestamp: String,
    id: String,
    sequence: u64,
    receivers: usize,
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
}

async fn notify(
    PublisherCaller(caller): PublisherCaller,
    State(ingress): State<Ingress>,
    request: Request<Body>,
) -> Result<(Option<Quota>, Json<Notified>), Problem> {
    let (head, body) = request.into_parts();
    let in_hand = ingress.intake.begin().map_err(|error| problem(&error))?;
    // Before the body: what is too much is not read.
    let quota = caller.count_publish()?;
    let body = read_body(&ingress, &caller, body).await?;
    let draft = notify::read(&body, idempotency_key(&head.headers, &caller)?, ingress.intake.rules().fields())?;
    caller.check_publish(draft.name())?;
    check_reach(&caller, ingress.intake.rules(), &draft).map_err(refusal)?;
    let event = draft.name().to_owned();
    let Accepted { id, seq, receivers, duplicate, durability, at } =
        in_hand.publish(draft).await.map_err(|error| problem(&error))?;
    let notified = Notified {
        success: true,
        message: messages::PUBLISHED,
        event,
        timestamp: json::timestamp(at),
        id,
        sequence: seq,
        receivers,
        duplicate,
        durability: durability.map(notify::durability_name),
    };
    Ok((quota, Json(notified)))
}

/// What `POST /test-notification` publishes.
const TEST_EVENT: &str = "test.notification";

/// The payload of a `test.notification`. The fields come in the order of the original.
#[derive(Serialize)]
struct TestPayload<'a> {
    message: &'static str,
    timestamp: &'a str,
    test: bool,
}

#[derive(Serialize)]
struct Tested {
    success: bool,
    message: &'static str,
    connections: usize,
}

async fn test_notification(
    caller: Caller,
    State(ingress): State<Ingress>,
) -> Result<(Option<Quota>, Json<Tested>), Problem> {
    caller.check_trial(TEST_EVENT)?;
    let timestamp = json::timestamp(ingress.intake.now());
    let payload = TestPayload { message: messages::TRIAL, timestamp: &timestamp, test: true };
    let payload = serde_json::to_vec(&payload).expect("texts have a JSON form");
    let payload = Payload::parse(payload.into()).expect("the payload is an object");
    let fields = DraftFields::new(TEST_EVENT, payload);
    let fields = DraftFields { source: Some("test-endpoint".into()), timestamp: Some(timestamp.into()), ..fields };
    let draft = Draft::new(fields).expect("its texts are short");
    check_reach(&caller, ingress.intake.rules(), &draft).map_err(refusal)?;
    let in_hand = ingress.intake.begin().map_err(|error| problem(&error))?;
    let quota = caller.count_publish()?;
    in_hand.publish(draft).await.map_err(|error| problem(&error))?;
    let connections = ingress.intake.connections();
    let tested = Tested { success: true, message: messages::TRIAL_PUBLISHED, connections };
    Ok((quota, Json(tested)))
}

#[derive(Serialize)]
struct Explained {
    rule: String,
    rule_index: i64,
    audience: Audience,
    receivers: usize,
    client_ids: Vec<String>,
}

#[derive(Serialize)]
struct Audience {
    users: Vec<String>,
    rooms: Vec<String>,
    everyone: bool,
}

impl From<&Audiences> for Audience {
    fn from(audiences: &Audiences) -> Self {
        Self {
            users: audiences.users().map(UserId::to_string).collect(),
            rooms: audiences.rooms().map(RoomId::to_string).collect(),
            everyone: audiences.everyone(),
        }
    }
}

async fn explain(
    PublisherCaller(caller): PublisherCaller,
    State(ingress): State<Ingress>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let body = read_body(&ingress, &caller, request.into_body()).await?;
    let draft = notify::read(&body, None, ingress.intake.rules().fields())?;
    let explanation = ingress.intake.explain(&draft).await.map_err(|error| problem(&error))?;
    let Explanation { rule, audiences, receivers, names } = explanation;
    let (rule, rule_index) = rule.map_or(("target".to_owned(), -1), |(name, index)| (name, index as i64));
    let explained = Explained { rule, rule_index, audience: (&audiences).into(), receivers, client_ids: names };
    Ok(caller.counted(Json(explained))?)
}

async fn read_body(ingress: &Ingress, caller: &Caller, body: Body) -> Result<Bytes, Problem> {
    body::read(body, ingress.max_body_bytes, caller.charge(), ingress.body_timeout).await
}

fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Code::Malformed, "the header Idempotency-Key must come once"));
    }
    let wrong = |_| Problem::field("header", "Idempotency-Key", "value_error", "must be visible ASCII characters");
    value.to_str().map(|name| IdempotencyKey::new(caller.key_owner(), name)).map_err(wrong)
}

fn refusal(refused: Refused) -> Problem {
    match refused {
        Refused::Denied(denied) => denied.into(),
        Refused::Fault(error) => problem(&error),
    }
}

fn problem(error: &Error) -> Problem {
    match (unserved(error), error.field()) {
        (Some(denied), _) => denied.into(),
        (None, Some(field)) => Problem::field("body", field, "value_error", error.to_string()),
        (None, None) => Problem::new(error.code(), error.to_string()),
    }
}
