//! `grpc.health.v1` as its protocol has it: who watches a service that there is not is told so, and is not sent away.

use std::pin::Pin;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::{
    pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health},
    server::HealthService,
};

use crate::{domain::Code, wire::status::grpc_code};

/// The health of the services that there are, and of those that there are not until `stopping`.
#[derive(Debug)]
pub(super) struct Watching {
    known: HealthService,
    stopping: CancellationToken,
}

impl Watching {
    pub(super) fn new(known: HealthService, stopping: CancellationToken) -> Self {
        Self { known, stopping }
    }
}

#[tonic::async_trait]
impl Health for Watching {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.known.check(request).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        match self.known.watch(request).await {
            Ok(known) => Ok(known.map(|statuses| Box::pin(statuses) as Self::WatchStream)),
            // No service comes after the start, so nothing changes.
            Err(status) if status.code() == grpc_code(Code::NotFound) => {
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                let end = self.stopping.clone().cancelled_owned().into_stream().filter_map(|()| async { None });
                Ok(Response::new(Box::pin(stream::iter([Ok(unknown)]).chain(end))))
            }
            Err(status) => Err(status),
        }
    }
}
