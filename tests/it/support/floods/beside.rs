//! Publishers with a good token beside a flood, by every way that there is.

use std::time::Duration;

use exposia_notifications::wire::proto::v1::{self, publish_result::Outcome};
use serde_json::{Value, json, value::RawValue};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
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
    /// One gRPC stream that stays open, each event acknowledged before the next.
    Stream,
    /// `POST /notify` over a connection that stays.
    Rest,
    /// `POST /notify` over a new connection each time.
    RestAnew,
}

/// All ways.
pub(crate) const WAYS: [Way; 5] = [Way::Grpc, Way::GrpcAnew, Way::Stream, Way::Rest, Way::RestAnew];

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

/// Why an event was not accepted, in words.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection ended before there was an answer, or there was none in time.
    #[error("no answer: {0}")]
    HungUp(String),
    /// The service answered something else.
    #[error("refused: {0}")]
    Refused(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // What the service says has no source; what became of the connection has.
        let is_answer = std::error::Error::source(&status).is_none();
        if is_answer { Self::Refused(format!("{status:?}")) } else { Self::HungUp(format!("{status:?}")) }
    }
}

/// Somebody who publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    way: Way,
    target: Target,
    patience: Duration,
    channel: Channel,
    stream: Mutex<Option<Opened>>,
    http: reqwest::Client,
}

impl Publisher {
    /// One who has not connected yet, and to whom no answer within `patience` is a refusal.
    pub(crate) fn new(way: Way, target: Target, patience: Duration) -> Self {
        let kept = usize::from(way == Way::Rest);
        let http = reqwest::Client::builder().pool_max_idle_per_host(kept).build().expect("a client");
        Self { way, target, patience, channel: endpoint(target).connect_lazy(), stream: Mutex::default(), http }
    }

    /// Publishes to a room, under a key. What is no acceptance is told in words.
    pub(crate) async fn publish(&self, room: &str, payload: &RawValue, key: &str) -> Result<Published, Failure> {
        let publishing = async {
            match self.way {
                Way::Grpc => by_grpc(self.channel.clone(), self.target, room, payload, key).await,
                Way::GrpcAnew => {
                    let channel =
                        endpoint(self.target).connect().await.map_err(|error| Failure::HungUp(format!("{error:?}")))?;
                    by_grpc(channel, self.target, room, payload, key).await
                }
                Way::Stream => {
                    let request = request(room, payload, key);
                    let opening = async || Opened::new(self.channel.clone(), self.target).await;
                    by_stream(&mut *self.stream.lock().await, opening, request).await
                }
                Way::Rest | Way::RestAnew => by_rest(&self.http, self.target, room, payload, key).await,
            }
        };
        timeout(self.patience, publishing).await.unwrap_or_else(|_| Err(Failure::HungUp("none in time".to_owned())))
    }
}

fn endpoint(target: Target) -> Endpoint {
    Endpoint::from_shared(format!("http://{}", target.grpc)).expect("an address")
}

/// What is published by gRPC.
fn request(room: &str, payload: &RawValue, key: &str) -> v1::PublishRequest {
    v1::PublishRequest {
        event: "flood.beside".to_owned(),
        body: Some(v1::publish_request::Body::PayloadJson(payload.get().to_owned().into())),
        idempotency_key: key.to_owned(),
        target: Some(v1::Target { rooms: vec![room.to_owned()], ..v1::Target::default() }),
        ..v1::PublishRequest::default()
    }
}

fn with_credential<T>(message: T, target: Target) -> Request<T> {
    let mut request = Request::new(message);
    let credential = format!("Bearer {}", target.token).parse().expect("a header value");
    request.metadata_mut().insert("authorization", credential);
    request
}

/// A stream to publish by.
#[derive(Debug)]
struct Opened {
    requests: mpsc::Sender<v1::PublishRequest>,
    results: Streaming<v1::PublishResult>,
    /// How many results have come.
    came: u64,
}

impl Opened {
    async fn new(channel: Channel, target: Target) -> Result<Self, Status> {
        let (requests, queue) = mpsc::channel(1);
        let request = with_credential(ReceiverStream::new(queue), target);
        let mut client = v1::notification_service_client::NotificationServiceClient::new(channel);
        let results = client.publish_stream(request).await?.into_inner();
        Ok(Self { requests, results, came: 0 })
    }

    /// Sends an event and gives what became of it, which is the next thing that comes.
    async fn publish(&mut self, request: v1::PublishRequest) -> Result<Published, Failure> {
        // Of a stream that has ended, the results say why.
        let _ = self.requests.send(request).await;
        let result = self.results.message().await?;
        let result = result.ok_or_else(|| Failure::HungUp("the stream ended".to_owned()))?;
        match result.outcome {
            Some(Outcome::Accepted(answer)) if result.index == self.came => {
                self.came += 1;
                Ok(Published { seq: answer.sequence, duplicate: answer.duplicate })
            }
            _ => Err(Failure::Refused(format!("the one behind {} that were accepted: {result:?}", self.came))),
        }
    }
}

/// Publishes by the stream that stands in `place`, or by a new one. After a refusal there is none.
async fn by_stream(
    place: &mut Option<Opened>,
    open: impl AsyncFnOnce() -> Result<Opened, Status>,
    request: v1::PublishRequest,
) -> Result<Published, Failure> {
    let mut stream = match place.take() {
        Some(stream) => stream,
        None => open().await?,
    };
    let published = stream.publish(request).await?;
    *place = Some(stream);
    Ok(published)
}

async fn by_grpc(
    channel: Channel,
    target: Target,
    room: &str,
    payload: &RawValue,
    key: &str,
) -> Result<Published, Failure> {
    let request = with_credential(request(room, payload, key), target);
    let mut client = v1::notification_service_client::NotificationServiceClient::new(channel);
    let answer = client.publish(request).await?.into_inner();
    Ok(Published { seq: answer.sequence, duplicate: answer.duplicate })
}

async fn by_rest(
    http: &reqwest::Client,
    target: Target,
    room: &str,
    payload: &RawValue,
    key: &str,
) -> Result<Published, Failure> {
    let body = json!({ "event": "flood.beside", "payload": payload, "target": { "rooms": [room] } });
    let request = http.post(format!("http://{}/notify", target.http)).bearer_auth(target.token);
    let request = request.header("idempotency-key", key).body(body.to_string());
    let hung_up = |error: reqwest::Error| Failure::HungUp(format!("{error:?}"));
    let answer = request.send().await.map_err(hung_up)?;
    let status = answer.status();
    let text = answer.text().await.map_err(hung_up)?;
    if !status.is_success() {
        return Err(Failure::Refused(format!("{status}: {text}")));
    }
    let answer: Value = serde_json::from_str(&text).map_err(|error| Failure::Refused(format!("{error}: {text}")))?;
    let seq = answer["sequence"].as_u64().ok_or_else(|| Failure::Refused(format!("no sequence: {text}")))?;
    Ok(Published { seq, duplicate: answer["duplicate"] == true })
}
