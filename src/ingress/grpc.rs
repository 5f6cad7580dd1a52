//! The publishing half of the `NotificationService`.

use prost::Message;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    broker::{self, Accepted, Explanation, Rules},
    domain::Draft,
    gate::{self, Caller},
    ingress::{
        Intake, Options, Refused, check_reach,
        stream::{self, Results},
        unserved,
    },
    wire::{
        proto::{self, v1},
        status::{Limit, grpc_status, grpc_too_large},
        streamed::Streamed,
    },
};

/// Publishes what comes in over gRPC.
#[derive(Debug, Clone)]
pub struct PublishService {
    intake: Intake,
    max_message_bytes: usize,
}

impl PublishService {
    /// Hands what comes in to `intake`.
    pub fn new(options: &Options, intake: Intake) -> Self {
        Self { intake, max_message_bytes: options.max_body_bytes.get() }
    }

    /// Publishes one event.
    pub async fn publish(&self, request: Request<v1::PublishRequest>) -> Result<Response<v1::PublishResponse>, Status> {
        let caller = gate::caller(&request)?;
        let in_hand = self.intake.begin().map_err(|error| refusal(&error))?;
        caller.count_publish()?;
        let request = request.into_inner();
        let (bytes, routed_by) = (request.encoded_len(), proto::routed_by(&request));
        let draft = draft(request, bytes, (&caller, self.intake.rules()), self.max_message_bytes)?;
        let accepted = in_hand.publish(draft).await.map_err(|error| refusal_of(&error, routed_by))?;
        Ok(Response::new(answer(accepted)))
    }

    /// Publishes a stream of events, until `deadline`.
    pub fn publish_stream(
        &self,
        request: Request<Streaming<Streamed>>,
        deadline: Option<Instant>,
    ) -> Result<Response<Results>, Status> {
        let caller = gate::caller(&request)?;
        caller.check_publisher()?;
        let requests = request.into_inner();
        let results = stream::publish(self.intake.clone(), caller, requests, self.max_message_bytes, deadline);
        Ok(Response::new(results))
    }

    /// Says where an event would go.
    pub async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        gate::caller(&request)?.check_publisher()?;
        let asked = proto::explain_request(request.into_inner(), self.intake.rules().fields());
        let (draft, routed_by) = asked.map_err(|error| invalid(&error))?;
        let explained = self.intake.explain(&draft).await;
        let explanation = explained.map_err(|error| refusal_of(&error, routed_by))?;
        let Explanation { rule, audiences, receivers, names } = explanation;
        let (rule, rule_index) = rule.map_or(("target".to_owned(), -1), |(name, index)| (name, index as i32));
        Ok(Response::new(v1::ExplainRouteResponse {
            rule,
            rule_index,
            audience: Some(proto::target_from(&audiences)),
            receivers: receivers as u32,
            client_ids: names,
        }))
    }
}

/// Checks a request of `caller` that has so many bytes and which `rules` may route, and takes the event out of it.
pub(super) fn draft(
    request: v1::PublishRequest,
    bytes: usize,
    (caller, rules): (&Caller, &Rules),
    max_bytes: usize,
) -> Result<Draft, Status> {
    if bytes > max_bytes {
        let limit = Limit { bytes: max_bytes, name: "MAX_BODY_BYTES" };
        return Err(grpc_too_large("a message", limit, Some("")));
    }
    let draft = proto::draft_from(request, caller.key_owner(), rules.fields()).map_err(|error| invalid(&error))?;
    caller.check_publish(draft.name())?;
    check_reach(caller, rules, &draft).map_err(|refused| match refused {
        Refused::Denied(denied) => denied.into(),
        Refused::Fault(error) => refusal(&error),
    })?;
    Ok(draft)
}

pub(super) fn answer(accepted: Accepted) -> v1::PublishResponse {
    let Accepted { id, seq, receivers, duplicate, durability, at: _ } = accepted;
    let durability = proto::durability_to(durability).into();
    v1::PublishResponse { id, sequence: seq, receivers: receivers as u32, duplicate, durability }
}

pub(super) fn refusal(error: &broker::Error) -> Status {
    match unserved(error) {
        Some(denied) => denied.into(),
        None => grpc_status(error.code(), error.to_string(), error.field()),
    }
}

/// The same of a request that was routed by a field of its own.
fn refusal_of(error: &broker::Error, routed_by: &str) -> Status {
    match error {
        broker::Error::Route(_) => grpc_status(error.code(), error.to_string(), Some(routed_by)),
        _ => refusal(error),
    }
}

fn invalid(error: &proto::Error) -> Status {
    grpc_status(error.code(), error.to_string(), Some(error.field()))
}
