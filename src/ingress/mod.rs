//! The way in: shims that decode what publishers send, over gRPC and over HTTP, and hand it to the broker.
//!
//! Both shims are thin. What is decided here is decided once, in [`Intake`]: while the server goes away, nothing new
//! comes in.

mod body;
mod grpc;
mod rest;
mod stream;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

pub use grpc::PublishService;
pub use rest::router;
pub use stream::Results;

use crate::{
    broker::{Error, Explanation, Handle, Published, Rules},
    clock::Clock,
    domain::Draft,
    gate::{self, Caller, Unserved},
};

/// The settings of what comes in.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "ingress")]
#[command(next_help_heading = "Requests")]
pub struct Options {
    /// The largest request body and gRPC message.
    #[arg(long, env = "MAX_BODY_BYTES", default_value = "1048576", value_name = "BYTES")]
    pub max_body_bytes: NonZeroUsize,

    /// How long a client may take to send a request body, or the message of a unary gRPC call.
    #[arg(long, env = "BODY_TIMEOUT", default_value = "30s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub body_timeout: Duration,
}

/// Where all events come in.
#[derive(Debug, Clone)]
pub struct Intake {
    broker: Handle,
    draining: CancellationToken,
    in_hand: TaskTracker,
    clock: Arc<dyn Clock>,
}

impl Intake {
    /// Hands events to `broker`, and begins no new publish once `draining` is cancelled. `in_hand` tracks those that began.
    pub fn new(broker: Handle, draining: CancellationToken, in_hand: TaskTracker, clock: Arc<dyn Clock>) -> Self {
        Self { broker, draining, in_hand, clock }
    }

    /// Begins a publish. One that began is finished, also while the service goes away.
    fn begin(&self) -> Result<InHand<'_>, Error> {
        let token = self.in_hand.token();
        if self.draining.is_cancelled() {
            Err(Error::Closing)
        } else {
            Ok(InHand { broker: &self.broker, _token: token })
        }
    }

    fn rules(&self) -> &Arc<Rules> {
        self.broker.rules()
    }

    async fn explain(&self, draft: &Draft) -> Result<Explanation, Error> {
        self.broker.explain(draft).await
    }

    /// What the time is.
    fn now(&self) -> DateTime<Utc> {
        self.clock.wall()
    }

    fn connections(&self) -> usize {
        self.broker.connections()
    }
}

/// Why an event is not handed to the broker.
#[derive(Debug)]
enum Refused {
    /// Its publisher may not.
    Denied(gate::Error),
    /// The broker would refuse it, too.
    Fault(Error),
}

/// Whether `caller`, who may publish the event of `draft`, may publish it for all whom it is for. Nobody else is routed here.
fn check_reach(caller: &Caller, rules: &Rules, draft: &Draft) -> Result<(), Refused> {
    if !caller.has_limited_reach() {
        return Ok(());
    }
    let audiences = rules.audiences(draft).map_err(|error| Refused::Fault(error.into()))?;
    caller.check_reach(&audiences).map_err(Refused::Denied)
}

/// The denial behind an error that is not the publisher's doing.
fn unserved(error: &Error) -> Option<gate::Error> {
    let unserved = match error {
        Error::Route(_) | Error::Conflict => return None,
        Error::Full => Unserved::Queue,
        Error::Unknown => Unserved::Unanswered,
        Error::Closing => Unserved::Draining,
        Error::Journal(error) => return Some(gate::Error::by_journal(error.code(), error)),
    };
    Some(gate::Error::Unserved(unserved, error.to_string().into()))
}

/// A publish that began, and that the service waits for before it goes away.
struct InHand<'i> {
    broker: &'i Handle,
    _token: TaskTrackerToken,
}

impl InHand<'_> {
    async fn publish(self, draft: Draft) -> Published {
        self.broker.publish(draft).await
    }
}
