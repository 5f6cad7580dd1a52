//! The gRPC interface as the contract writes it, seen by whoever asks the running service for its description.

use futures_util::{StreamExt, stream};
use prost::Message;
use prost_types::{
    FieldDescriptorProto, FileDescriptorProto, field_descriptor_proto::Label, field_descriptor_proto::Type,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{TestApp, within};

const SERVICE: &str = "exposia.notifications.v1.NotificationService";

/// The messages of the contract. Fields may have been added since.
const MESSAGES: [(&str, &[&str]); 5] = [
    (
        "PublishRequest",
        &[
            "string event = 1",
            "Struct payload = 2",
            "bytes payload_json = 3",
            "string source = 4",
            "Timestamp timestamp = 5",
            "string idempotency_key = 6",
            "Target target = 7",
        ],
    ),
    ("Target", &["repeated string users = 1", "repeated string rooms = 2", "bool everyone = 3"]),
    ("PublishResponse", &["string id = 1", "uint64 sequence = 2", "uint32 receivers = 3", "bool duplicate = 4"]),
    ("PublishResult", &["uint64 index = 1", "PublishResponse accepted = 2", "Rejection rejected = 3"]),
    ("Rejection", &["int32 code = 1", "string message = 2"]),
];

const CALLS: [&str; 6] = [
    "Publish(PublishRequest) returns (PublishResponse)",
    "PublishStream(stream PublishRequest) returns (stream PublishResult)",
    "Subscribe(SubscribeRequest) returns (stream Notification)",
    "GetHistory(GetHistoryRequest) returns (GetHistoryResponse)",
    "GetStats(GetStatsRequest) returns (GetStatsResponse)",
    "ExplainRoute(ExplainRouteRequest) returns (ExplainRouteResponse)",
];

async fn ask<const N: usize>(app: &TestApp, questions: [MessageRequest; N]) -> Vec<MessageResponse> {
    let requests =
        questions.map(|question| ServerReflectionRequest { host: String::new(), message_request: Some(question) });
    let mut client = ServerReflectionClient::new(app.channel().await);
    let answers = client.server_reflection_info(stream::iter(requests)).await.expect("a stream").into_inner();
    let answers = answers.map(|answer| answer.expect("an answer").message_response.expect("a message"));
    within("the answers", answers.collect()).await
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// A field as a file of the interface writes it.
fn written(field: &FieldDescriptorProto) -> String {
    let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
    let kind = match field.r#type() {
        Type::Message | Type::Enum => last_part(field.type_name()).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    format!("{repeated}{kind} {} = {}", field.name(), field.number())
}

// wire-contract, gRPC: the messages and calls
#[tokio::test]
async fn what_the_contract_writes_is_served() {
    let app = TestApp::start().await;
    let answers = ask(&app, [MessageRequest::FileContainingSymbol(SERVICE.into())]).await;
    let [MessageResponse::FileDescriptorResponse(files)] = &answers[..] else { panic!("{answers:?}") };
    let file = FileDescriptorProto::decode(&files.file_descriptor_proto[0][..]).expect("a file");
    assert_eq!(file.package(), "exposia.notifications.v1");
    for (name, fields) in MESSAGES {
        let message = file.message_type.iter().find(|message| message.name() == name);
        let served: Vec<_> = message.unwrap_or_else(|| panic!("no {name}")).field.iter().map(written).collect();
        for field in fields {
            assert!(served.iter().any(|served| served == field), "{name}: no `{field}` in {served:?}");
        }
    }
    let streams = |does| if does { "stream " } else { "" };
    let calls: Vec<_> = file.service[0]
        .method
        .iter()
        .map(|call| {
            let (from, to) = (last_part(call.input_type()), last_part(call.output_type()));
            let (from, to) =
                (streams(call.client_streaming()).to_owned() + from, streams(call.server_streaming()).to_owned() + to);
            format!("{}({from}) returns ({to})", call.name())
        })
        .collect();
    for call in CALLS {
        assert!(calls.iter().any(|served| served == call), "no `{call}` in {calls:?}");
    }
}

// wire-contract, gRPC: reflection lists and describes every service that is served, health included
#[tokio::test]
async fn every_service_is_listed_and_described() {
    let app = TestApp::start().await;
    let listed = ask(&app, [MessageRequest::ListServices(String::new())]).await;
    let [MessageResponse::ListServicesResponse(list)] = &listed[..] else { panic!("{listed:?}") };
    let mut names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    assert_eq!(names, expected);
    for (name, answer) in
        expected.iter().zip(ask(&app, expected.map(|name| MessageRequest::FileContainingSymbol(name.into()))).await)
    {
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{name}: {answer:?}");
    }
}
