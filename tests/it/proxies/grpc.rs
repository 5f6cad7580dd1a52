//! Calls through a proxy.

use std::{error::Error, fs};

use exposia_notifications::wire::proto::v1::{
    PublishRequest, notification_service_client::NotificationServiceClient, publish_request::Body,
};
use serde_json::json;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{LOG, Proxy, TIMES, limited};
use crate::{
    gate::mint,
    support::{WithAny, within},
};

/// What Caddy says when it hangs up on all calls of a client, which it does now and then where an answer comes before the
/// message: <https://github.com/golang/go/issues/56940>.
const FAULT_OF_CADDY: &str = "http: panic serving";

impl Proxy {
    pub(super) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        within("a connection", endpoint.connect()).await.expect("the proxy listens")
    }

    /// Asserts that each refusal of a call by `token` has `code`, however much its client still has to send.
    pub(super) async fn assert_all_over_grpc(&self, token: &str, code: Code) {
        let mut client = NotificationServiceClient::with_interceptor(self.channel().await, WithAny::token(token));
        let mut refusals = Vec::new();
        for number in 0..TIMES {
            let request = publish([1, 17, 200, 900][number % 4] * 1024);
            refusals.push(within("a status", client.publish(request.clone())).await.expect_err("a refusal"));
            let requests = tokio_stream::iter(vec![request; 8]);
            refusals.push(match within("a status", client.publish_stream(requests)).await {
                Err(refused) => refused,
                // A proxy may pass on the head of an answer before its end.
                Ok(answer) => within("a status", answer.into_inner().message()).await.expect_err("a refusal"),
            });
        }
        self.assert_codes(&refusals, code);
    }

    /// Asserts that what is above the rate over gRPC is refused as that. In a stream it would be one message of many.
    async fn assert_rate_over_grpc(&self) {
        let token = WithAny::token(&limited("eva"));
        let mut client = NotificationServiceClient::with_interceptor(self.channel().await, token);
        within("an answer", client.publish(publish(1))).await.expect("the first one");
        let mut refusals = Vec::new();
        for number in 0..TIMES {
            let request = publish([1, 17, 200, 900][number % 4] * 1024);
            refusals.push(within("a status", client.publish(request)).await.expect_err("above the rate"));
        }
        self.assert_codes(&refusals, Code::ResourceExhausted);
    }

    /// Asserts that each of these has `code`, but for those that the proxy lost with the connection.
    fn assert_codes(&self, refusals: &[Status], code: Code) {
        // What the other side said has no cause on this one.
        let (lost, read): (Vec<_>, Vec<_>) = refusals.iter().partition(|refused| refused.source().is_some());
        assert!(read.iter().all(|refused| refused.code() == code), "{code:?}: {read:?}");
        assert!(lost.len() <= self.faults(), "{} were lost by no fault of the proxy: {lost:?}", lost.len());
    }

    /// How many clients it lost by a fault of its own.
    fn faults(&self) -> usize {
        let log = fs::read_to_string(self.folder.path().join(LOG)).expect("a file");
        log.matches(FAULT_OF_CADDY).count()
    }
}

/// Asserts that what the service refuses of gRPC, before a message is there, is read through `proxy` as what it is.
pub(super) async fn assert_refusals_are_read_over_grpc(proxy: &Proxy) {
    proxy.assert_all_over_grpc("wrong", Code::Unauthenticated).await;
    proxy.assert_all_over_grpc(&mint(json!({ "sub": "ana" })), Code::PermissionDenied).await;
    proxy.assert_rate_over_grpc().await;
}

/// A publish whose payload has so many bytes, and a few.
pub(super) fn publish(size: usize) -> PublishRequest {
    let payload = json!({ "filler": "x".repeat(size) }).to_string();
    PublishRequest { event: "e".into(), body: Some(Body::PayloadJson(payload.into())), ..Default::default() }
}
