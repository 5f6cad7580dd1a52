//! The publishing calls, answered at once.

use std::{net::SocketAddr, pin::Pin};

use exposia_notifications::wire::{
    proto::v1::{
        self,
        notification_service_server::{NotificationService, NotificationServiceServer},
    },
    streamed::Streamed,
};
use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::Result;

/// As in the service.
const MAX_STREAMS: u32 = 1_000;
const WINDOW: u32 = 4 * 1024 * 1024;

pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let mut server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    Ok(server.add_service(NotificationServiceServer::new(Bare)).serve(address).await?)
}

#[derive(Debug)]
struct Bare;

type Answer<T> = std::result::Result<Response<T>, Status>;
type Results<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

fn accepted() -> v1::PublishResponse {
    v1::PublishResponse { id: "ac72e999ba9a8329-1".into(), sequence: 1, ..Default::default() }
}

#[tonic::async_trait]
impl NotificationService for Bare {
    type PublishStreamStream = Results<v1::PublishResult>;
    type SubscribeStream = Results<v1::Notification>;

    async fn publish(&self, _: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        Ok(Response::new(accepted()))
    }

    async fn publish_stream(&self, requests: Request<Streaming<Streamed>>) -> Answer<Self::PublishStreamStream> {
        let results = requests.into_inner().enumerate().map(|(index, request)| {
            let outcome = Some(v1::publish_result::Outcome::Accepted(accepted()));
            request.map(|_| v1::PublishResult { index: index as u64, outcome })
        });
        Ok(Response::new(Box::pin(results)))
    }

    async fn subscribe(&self, _: Request<v1::SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        Err(publishing_only())
    }

    async fn get_history(&self, _: Request<v1::GetHistoryRequest>) -> Answer<v1::GetHistoryResponse> {
        Err(publishing_only())
    }

    async fn get_stats(&self, _: Request<v1::GetStatsRequest>) -> Answer<v1::GetStatsResponse> {
        Err(publishing_only())
    }

    async fn explain_route(&self, _: Request<v1::ExplainRouteRequest>) -> Answer<v1::ExplainRouteResponse> {
        Err(publishing_only())
    }

    async fn revoke_user(&self, _: Request<v1::RevokeUserRequest>) -> Answer<v1::RevokeUserResponse> {
        Err(publishing_only())
    }

    async fn disconnect(&self, _: Request<v1::DisconnectRequest>) -> Answer<v1::DisconnectResponse> {
        Err(publishing_only())
    }
}

fn publishing_only() -> Status {
    Status::unimplemented("only publishing is measured")
}
