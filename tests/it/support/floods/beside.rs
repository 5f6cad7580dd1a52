//! Publishers with a good token beside a flood, by every way that there is.

use std::time::Duration;

use exposia_notifications::wire::proto::v1;
use serde_json::{Value, json, value::RawValue};
use tokio::time::timeout;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use super::Target;

/// How somebody publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Unary gRPC over a connection that stays.
    Grpc,
    /// Unary gRPC over a new connection each time.
    GrpcAnew,
    /// `POST /notify` over a connection that stays.
    Rest,
    /// `POST /notify` over a new connection each time.
    RestAnew,
}

/// All ways.
pub(crate) const WAYS: [Way; 4] = [Way::Grpc, Way::GrpcAnew, Way::Rest, Way::RestAnew];

impl Way {
    /// Whether each publish has a connection of its own.
    pub(crate) fn is_anew(self) -> bool {
        matches!(self, Self::GrpcAnew | Self::RestAnew)
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) seq: u64,
    pub(crate) duplicate: bool,
}

/// Somebody who publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    way: Way,
    target: Target,
    patience: Duration,
    channel: Channel,
    http: reqwest::Client,
}

impl Publisher {
    /// One who has not connected yet, and to whom no answer within `patience` is a refusal.
    pub(crate) fn new(way: Way, target: Target, patience: Duration) -> Self {
        let kept = usize::from(way == Way::Rest);
        let http = reqwest::Client::builder().pool_max_idle_per_host(kept).build().expect("a client");
        Self { way, target, patience, channel: endpoint(target).connect_lazy(), http }
    }

    /// Publishes to a room, under a key. What is no acceptance is told in words.
    pub(crate) async fn publish(&self, room: &str, payload: &RawValue, key: &str) -> Result<Published, String> {
        let publishing = async {
            match self.way {
                Way::Grpc => by_grpc(self.channel.clone(), self.target, room, payload, key).await,
                Way::GrpcAnew => {
                    let channel = endpoint(self.target).connect().await.map_err(|error| format!("{error:?}"))?;
                    by_grpc(channel, self.target, room, payload, key).await
                }
                Way::Rest | Way::RestAnew => by_rest(&self.http, self.target, room, payload, key).await,
            }
        };
        let outcome = timeout(self.patience, publishing).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        outcome.map_err(|refusal| format!("{:?}: {refusal}", self.way))
    }
}

fn endpoint(target: Target) -> Endpoint {
    Endpoint::from_shared(format!("http://{}", target.grpc)).expect("an address")
}

async fn by_grpc(
    channel: Channel,
    target: Target,
    room: &str,
    payload: &RawValue,
    key: &str,
) -> Result<Published, String> {
    let mut request = Request::new(v1::PublishRequest {
        event: "flood.beside".to_owned(),
        body: Some(v1::publish_request::Body::PayloadJson(payload.get().to_owned().into())),
        idempotency_key: key.to_owned(),
        target: Some(v1::Target { rooms: vec![room.to_owned()], ..v1::Target::default() }),
        ..v1::PublishRequest::default()
    });
    let credential = format!("Bearer {}", target.token).parse().expect("a header value");
    request.metadata_mut().insert("authorization", credential);
    let mut client = v1::notification_service_client::NotificationServiceClient::new(channel);
    let answer = client.publish(request).await.map_err(|status| format!("{status:?}"))?.into_inner();
    Ok(Published { seq: answer.sequence, duplicate: answer.duplicate })
}

async fn by_rest(
    http: &reqwest::Client,
    target: Target,
    room: &str,
    payload: &RawValue,
    key: &str,
) -> Result<Published, String> {
    let body = json!({ "event": "flood.beside", "payload": payload, "target": { "rooms": [room] } });
    let request = http.post(format!("http://{}/notify", target.http)).bearer_auth(target.token);
    let request = request.header("idempotency-key", key).body(body.to_string());
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let seq = answer["sequence"].as_u64().ok_or_else(|| format!("no sequence: {text}"))?;
    Ok(Published { seq, duplicate: answer["duplicate"] == true })
}
