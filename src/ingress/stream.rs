//! `PublishStream`: requests are read ahead while earlier ones are still on their way into the journal.
//!
//! Reading and answering are two tasks with a bounded channel between them. A client that reads no answers is not read
//! from either, once the channel is full; when the client goes away, the channel closes and reading ends. So it does, whether or
//! not the client reads, when the right to publish ends or the time of the call is over: each request is judged by the right that
//! holds when it is read.

use std::{
    future::{pending, ready},
    pin::Pin,
    sync::Arc,
};

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    broker::{Error, Pending, Rules},
    domain::{Code, Draft},
    gate::{self, Caller, Charge, PublishQuota, Right, Standing, TokenError},
    ingress::{Intake, grpc},
    wire::{
        proto::v1::{PublishResult, Rejection, publish_result::Outcome},
        status::{grpc_over, grpc_status, undecodable, unreadable},
        streamed::Streamed,
    },
};

/// How many requests that are there already are submitted together.
const MAX_BATCH: usize = 256;

/// A batch that has this many bytes takes in no further request, so that the queue's own bound comes first.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// How many batches may be under way.
const MAX_PENDING: usize = 64;

/// About how much a rejection takes until it is read.
const REJECTION_BYTES: usize = 1024;

/// The answers to a stream, in the order of its requests.
pub type Results = Pin<Box<dyn Stream<Item = Result<PublishResult, Status>> + Send>>;

/// Requests that were read together, on their way.
struct Batch {
    first_index: u64,
    /// One for each request: refused at once, or submitted.
    slots: Vec<Result<(), Status>>,
    /// The events that were submitted, in their order.
    pending: Result<Pending, Error>,
    /// What the rejections among them hold.
    _charge: Option<Charge>,
}

/// Publishes the `requests` of `caller` until `deadline` and gives their results.
pub(super) fn publish(
    intake: Intake,
    caller: Caller,
    requests: impl Stream<Item = Result<Streamed, Status>> + Send + Unpin + 'static,
    max_message_bytes: usize,
    deadline: Option<Instant>,
) -> Results {
    let (batches, pending) = mpsc::channel(MAX_PENDING);
    let (end, ended) = oneshot::channel();
    let tasks = intake.in_hand.clone();
    let requests = Requests {
        stream: requests,
        standing: caller.standing(),
        quota: caller.publish_quota(),
        rules: Arc::clone(intake.rules()),
        max_message_bytes,
    };
    let reading = Reading { intake, requests, deadline };
    tasks.spawn(async move {
        if let Some(status) = reading.read(batches).await {
            // The client may be gone already; then nobody needs to know.
            let _ = end.send(status);
        }
    });
    let answers = move |batch| answers(batch, caller.clone());
    let results = ReceiverStream::new(pending).then(answers).map(stream::iter).flatten();
    Box::pin(results.chain(stream::once(ended).filter_map(|end| ready(end.ok().map(Err)))))
}

/// The reading of a stream.
struct Reading<R> {
    intake: Intake,
    requests: Requests<R>,
    deadline: Option<Instant>,
}

/// What comes in, and by what it is judged.
struct Requests<R> {
    stream: R,
    standing: Standing,
    quota: Option<PublishQuota>,
    rules: Arc<Rules>,
    max_message_bytes: usize,
}

/// Requests that were there already.
#[derive(Default)]
struct Gathered {
    slots: Vec<Result<(), Status>>,
    drafts: Vec<Draft>,
    /// What ends the stream behind them.
    end: Option<Status>,
}

impl<R: Stream<Item = Result<Streamed, Status>> + Unpin> Reading<R> {
    /// Reads requests until they end, fail, or may come no more; gives what the client is told then, behind the results. Nothing
    /// is read before there is a place for its result.
    async fn read(mut self, batches: mpsc::Sender<Batch>) -> Option<Status> {
        let (mut first_index, mut places) = (0, 1);
        loop {
            let Requests { stream, standing, .. } = &mut self.requests;
            let mut place = tokio::select! {
                biased;
                place = batches.reserve_many(places) => place.ok()?,
                status = over(&self.intake, standing, self.deadline) => return Some(status),
            };
            if let Some(status) = over_by_now(&self.intake, self.deadline) {
                return Some(status);
            }
            let first = tokio::select! {
                biased;
                next = stream.next() => next?,
                () = batches.closed() => return None,
                status = over(&self.intake, standing, self.deadline) => return Some(status),
            };
            let Gathered { slots, drafts, end } = self.requests.gather(first);
            let charge = self.requests.charge(&slots);
            // Where no more may be unread, this must be read before anything else is.
            places = if charge.is_ok() { 1 } else { MAX_PENDING };
            let count = slots.len() as u64;
            let pending = self.intake.broker.submit(drafts).await;
            let batch = Batch { first_index, slots, pending, _charge: charge.ok().flatten() };
            place.next().expect("one was reserved").send(batch);
            first_index += count;
            if end.is_some() {
                return end;
            }
        }
    }
}

/// What ends a stream whose requests never let anybody wait.
fn over_by_now(intake: &Intake, deadline: Option<Instant>) -> Option<Status> {
    if intake.draining.is_cancelled() {
        return Some(grpc::refusal(&Error::Closing));
    }
    deadline.is_some_and(|deadline| deadline <= Instant::now()).then(grpc_over)
}

impl<R: Stream<Item = Result<Streamed, Status>> + Unpin> Requests<R> {
    /// Takes in the first request and those behind it that are there already.
    fn gather(&mut self, first: Result<Streamed, Status>) -> Gathered {
        let mut gathered = Gathered::default();
        let mut bytes = 0;
        let mut request = Some(first);
        while let Some(read) = request {
            let read = read.map_err(|status| unreadable(&status).unwrap_or(status));
            bytes += read.as_ref().map_or(0, |read| read.bytes);
            let slot = match read.and_then(|read| self.judge(read)) {
                Ok(slot) => slot,
                Err(end) => {
                    self.standing.caller().refused(&end);
                    gathered.end = Some(end);
                    break;
                }
            };
            let slot = slot.map(|draft| gathered.drafts.push(draft));
            gathered.slots.push(slot.inspect_err(|refused| self.standing.caller().refused(refused)));
            let more = gathered.slots.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES;
            request = if more { self.stream.next().now_or_never().flatten() } else { None };
        }
        gathered
    }

    /// What comes of one request; or what ends the stream before it.
    fn judge(&mut self, read: Streamed) -> Result<Result<Draft, Status>, Status> {
        if self.standing.check().map_err(no_longer_good)? == Right::Renewed {
            self.quota = self.standing.caller().publish_quota();
        }
        let counted = self.quota.as_ref().map(PublishQuota::take).transpose().map_err(Status::from);
        Ok(counted.and_then(|_| {
            let request = read.request.map_err(|error| undecodable(&error))?;
            grpc::draft(request, read.bytes, (self.standing.caller(), &self.rules), self.max_message_bytes)
        }))
    }

    /// What rejections hold until they are read; or that they may not.
    fn charge(&self, slots: &[Result<(), Status>]) -> Result<Option<Charge>, gate::Error> {
        let rejected = slots.iter().filter(|slot| slot.is_err()).count();
        if rejected == 0 {
            return Ok(None);
        }
        let mut charge = self.standing.caller().charge();
        charge.set(rejected * REJECTION_BYTES).map(|()| Some(charge))
    }
}

/// Waits until a stream must end, and says why.
async fn over(intake: &Intake, standing: &mut Standing, deadline: Option<Instant>) -> Status {
    let late = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = intake.draining.cancelled() => grpc::refusal(&Error::Closing),
        () = late => grpc_over(),
        error = standing.ended() => no_longer_good(error),
    }
}

fn no_longer_good(error: TokenError) -> Status {
    let message = format!("the token is no longer good: {error}; begin another stream with a fresh one");
    grpc_status(Code::Unauthenticated, message, None)
}

/// Waits for the outcomes of a batch of `caller` and puts each where its request was.
async fn answers(batch: Batch, caller: Caller) -> Vec<Result<PublishResult, Status>> {
    let Batch { first_index, slots, pending, .. } = batch;
    let (mut published, refused) = match pending {
        Ok(pending) => (pending.outcomes().await.into_iter(), None),
        Err(error) => (Vec::new().into_iter(), Some(error)),
    };
    let mut outcome_of = |slot: Result<(), Status>| match (slot, &refused) {
        (Err(status), _) => rejected(&status),
        (Ok(()), Some(error)) => refused_by(error, &caller),
        (Ok(()), None) => match published.next().expect("each draft has its outcome") {
            Ok(accepted) => Outcome::Accepted(grpc::answer(accepted)),
            Err(error) => refused_by(&error, &caller),
        },
    };
    let results = slots.into_iter().zip(first_index..);
    results.map(|(slot, index)| Ok(PublishResult { index, outcome: Some(outcome_of(slot)) })).collect()
}

fn refused_by(error: &Error, caller: &Caller) -> Outcome {
    let status = grpc::refusal(error);
    caller.refused(&status);
    rejected(&status)
}

fn rejected(status: &Status) -> Outcome {
    let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    let retry_after = delay.and_then(|delay| prost_types::Duration::try_from(delay).ok());
    Outcome::Rejected(Rejection { code: status.code() as i32, message: status.message().to_owned(), retry_after })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use http::{Request, header::AUTHORIZATION};

    use super::*;
    use crate::{
        clock::Manual,
        config::Config,
        gate::{Carriers, Gate},
        wire::proto::v1::{PublishRequest, publish_request::Body},
    };

    /// So many requests, that are there already.
    fn requests(count: usize, payload_bytes: usize) -> Requests<impl Stream<Item = Result<Streamed, Status>> + Unpin> {
        let config = Config::defaults();
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let keys = config.gate.keys().expect("no keys");
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock);
        let request = Request::builder().header(AUTHORIZATION, "Bearer dev").body(()).expect("a request");
        let caller = gate.caller(&request, Carriers::Metadata);
        let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(payload_bytes));
        let request = PublishRequest {
            event: "e".to_owned(),
            body: Some(Body::PayloadJson(payload.into())),
            ..Default::default()
        };
        let stream = stream::iter(vec![Ok(Streamed::from(request)); count]);
        let rules = Arc::new(Rules::default());
        Requests { stream, standing: caller.standing(), quota: None, rules, max_message_bytes: usize::MAX }
    }

    async fn batches(mut requests: Requests<impl Stream<Item = Result<Streamed, Status>> + Unpin>) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(first) = requests.stream.next().await {
            sizes.push(requests.gather(first).drafts.len());
        }
        sizes
    }

    // what is read ahead is bounded by its bytes, too, so that the budget of the queue comes first
    #[tokio::test]
    async fn a_batch_has_few_requests_or_few_bytes() {
        assert_eq!(batches(requests(600, 10)).await, [256, 256, 88]);
        assert_eq!(batches(requests(7, 400 * 1024)).await, [3, 3, 1]);
        assert_eq!(batches(requests(2, 2 * MAX_BATCH_BYTES)).await, [1, 1]);
    }
}
