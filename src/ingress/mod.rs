//! The way in: shims that decode what publishers send, over gRPC and over HTTP, and hand it to the broker.
//!
//! Both shims are thin. What is decided here is decided once, in [`Intake`]: while the server goes away, nothing new
//! comes in.

mod body;
mod grpc;
mod rest;
mod stream;

use std::{num::NonZeroUsize, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use grpc::Publisher;
pub use rest::router;
pub use stream::Results;

use crate::{
    broker::{Error, Explanation, Handle, Pending, Published},
    domain::{Audiences, Draft, Payload},
};

/// The settings of what comes in.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "ingress")]
#[command(next_help_heading = "Requests")]
pub struct Options {
    /// The largest request body and gRPC message.
    #[arg(long, env = "MAX_BODY_BYTES", default_value = "1048576", value_name = "BYTES")]
    pub max_body_bytes: NonZeroUsize,

    /// How long a client may take to send a request body.
    #[arg(long, env = "BODY_TIMEOUT", default_value = "30s", value_name = "TIME",
        value_parser = crate::domain::parse_positive_duration)]
    pub body_timeout: Duration,
}

/// Where all events come in.
#[derive(Debug, Clone)]
pub struct Intake {
    broker: Handle,
    draining: CancellationToken,
    tasks: TaskTracker,
}

impl Intake {
    /// Hands events to `broker` until `draining` is cancelled. Streams are read on `tasks`.
    pub fn new(broker: Handle, draining: CancellationToken, tasks: TaskTracker) -> Self {
        Self { broker, draining, tasks }
    }

    async fn publish(&self, draft: Draft) -> Published {
        self.check()?;
        self.broker.publish(draft).await
    }

    async fn submit(&self, drafts: Vec<Draft>) -> Result<Pending, Error> {
        self.check()?;
        self.broker.submit(drafts).await
    }

    fn explain(&self, event: &str, payload: &Payload, target: Option<Audiences>) -> Result<Explanation, Error> {
        self.broker.explain(event, payload, target)
    }

    fn connections(&self) -> usize {
        self.broker.connections()
    }

    fn check(&self) -> Result<(), Error> {
        if self.draining.is_cancelled() { Err(Error::Closing) } else { Ok(()) }
    }
}
