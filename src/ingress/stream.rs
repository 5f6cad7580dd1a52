//! `PublishStream`: requests are read ahead while earlier ones are still on their way into the journal.
//!
//! Reading and answering are two tasks with a bounded channel between them. A client that reads no answers is not read
//! from either, once the channel is full; when the client goes away, the channel closes and reading ends.

use std::pin::Pin;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use crate::{
    broker::{Error, Pending},
    gate::{Budget, Caller, denial_in},
    ingress::{Intake, grpc},
    wire::{
        proto::v1::{PublishRequest, PublishResult, Rejection, publish_result::Outcome},
        status::unreadable,
    },
};

/// How many requests that are there already are submitted together.
const MAX_BATCH: usize = 256;

/// How many batches may be under way.
const MAX_PENDING: usize = 64;

/// The answers to a stream, in the order of its requests.
pub type Results = Pin<Box<dyn Stream<Item = Result<PublishResult, Status>> + Send>>;

/// Requests that were read together, on their way.
struct Batch {
    first_index: u64,
    /// One for each request: refused at once, or submitted.
    slots: Vec<Result<(), Status>>,
    /// Those that were submitted, in their order.
    pending: Result<Pending, Error>,
}

/// Publishes the `requests` of `caller` and gives their results.
pub(super) fn publish(
    intake: Intake,
    caller: Caller,
    requests: Streaming<PublishRequest>,
    max_message_bytes: usize,
) -> Results {
    let (batches, pending) = mpsc::channel(MAX_PENDING);
    let tasks = intake.in_hand.clone();
    tasks.spawn(read(intake, caller.clone(), requests, max_message_bytes, batches));
    let answers = move |batch| answers(batch, caller.clone());
    Box::pin(ReceiverStream::new(pending).then(answers).map(stream::iter).flatten())
}

/// Reads requests until they end, fail, or the server goes away.
async fn read(
    intake: Intake,
    caller: Caller,
    mut requests: Streaming<PublishRequest>,
    max_message_bytes: usize,
    batches: mpsc::Sender<Result<Batch, Status>>,
) {
    let budget = caller.budget();
    let mut first_index = 0;
    loop {
        let next = tokio::select! {
            next = requests.next() => next,
            () = intake.draining.cancelled() => Some(Err(grpc::refusal(&Error::Closing))),
            () = batches.closed() => None,
        };
        let Some(first) = next else { return };
        let mut end = None;
        let mut slots = Vec::new();
        let mut drafts = Vec::new();
        let mut request = Some(first);
        while let Some(read) = request {
            match read {
                Ok(message) => {
                    let counted = budget.as_ref().map(Budget::take).transpose().map_err(Status::from);
                    let draft = counted.and_then(|_| grpc::draft(message, &caller, max_message_bytes));
                    if let Some(denied) = draft.as_ref().err().and_then(denial_in) {
                        caller.refused(denied);
                    }
                    slots.push(draft.map(|draft| drafts.push(draft)));
                }
                Err(status) => {
                    end = Some(unreadable(&status).unwrap_or(status));
                    break;
                }
            }
            let more = slots.len() < MAX_BATCH;
            request = if more { requests.next().now_or_never().flatten() } else { None };
        }
        let count = slots.len() as u64;
        let pending = intake.broker.submit(drafts).await;
        if batches.send(Ok(Batch { first_index, slots, pending })).await.is_err() {
            return;
        }
        first_index += count;
        if let Some(status) = end {
            // The client may be gone already; then nobody needs to know.
            let _ = batches.send(Err(status)).await;
            return;
        }
    }
}

/// Waits for the outcomes of a batch of `caller` and puts each where its request was.
async fn answers(batch: Result<Batch, Status>, caller: Caller) -> Vec<Result<PublishResult, Status>> {
    let Batch { first_index, slots, pending } = match batch {
        Ok(batch) => batch,
        Err(status) => return vec![Err(status)],
    };
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
    if let Some(denied) = denial_in(&status) {
        caller.refused(denied);
    }
    rejected(&status)
}

fn rejected(status: &Status) -> Outcome {
    let delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    let retry_after = delay.and_then(|delay| prost_types::Duration::try_from(delay).ok());
    Outcome::Rejected(Rejection { code: status.code() as i32, message: status.message().to_owned(), retry_after })
}
