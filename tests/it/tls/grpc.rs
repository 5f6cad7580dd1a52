//! gRPC over TLS.

use exposia_notifications::wire::proto::v1::{
    PublishRequest, SubscribeRequest, Target, notification_service_client::NotificationServiceClient,
    publish_request::Body,
};
use tonic::{
    Request,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error},
};

use super::{HTTP_2, TlsApp, connect};
use crate::support::{TOKEN, within};

/// What a client says of TLS that believes the service's authority.
pub(super) fn trusting(app: &TlsApp) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(app.authority.pem())).domain_name("localhost")
}

pub(super) async fn channel(app: &TlsApp, tls: ClientTlsConfig) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("https://{}", app.app.grpc_address())).expect("an address");
    within("a gRPC connection", endpoint.tls_config(tls).expect("good settings").connect()).await
}

pub(super) fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token: AsciiMetadataValue = format!("Bearer {TOKEN}").parse().expect("a header value");
    request.metadata_mut().insert("authorization", token);
    request
}

// what is published over TLS reaches who follows over TLS; large messages take many records
#[tokio::test]
async fn publishing_and_following_go_over_tls() {
    let app = TlsApp::start().await;
    let mut client = NotificationServiceClient::new(channel(&app, trusting(&app)).await.expect("a connection"));
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut following = client.subscribe(with_token(everything)).await.expect("a stream").into_inner();
    let target = Some(Target { everyone: true, ..Default::default() });
    for size in [0, 1, 100, 16_384, 500_000] {
        let payload_json = serde_json::json!({ "filler": "x".repeat(size) }).to_string();
        let request = PublishRequest {
            event: "e".into(),
            target: target.clone(),
            body: Some(Body::PayloadJson(payload_json.into())),
            ..Default::default()
        };
        let sequence = client.publish(with_token(request)).await.expect("accepted").into_inner().sequence;
        let notification = within("the notification", following.message()).await.expect("the stream goes on");
        assert_eq!(notification.expect("the stream goes on").sequence, sequence, "{size}");
    }
}

// gRPC is HTTP/2 and says so
#[tokio::test]
async fn only_http_2_is_agreed_upon() {
    let app = TlsApp::start().await;
    let stream = connect(app.app.grpc_address(), app.authority.trusting(&[HTTP_2])).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(HTTP_2.as_bytes()));
    assert!(connect(app.app.grpc_address(), app.authority.trusting(&["http/1.1"])).await.is_err());
}
