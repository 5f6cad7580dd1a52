//! What calls of gRPC are told: each refusal says what is wrong with the one call or message, and takes no other with it.

use std::io::Write;

use bytes::Bytes;
use exposia_notifications::wire::proto::v1::{
    GetHistoryRequest, PublishResult, SubscribeRequest, Target, publish_result::Outcome,
};
use flate2::{Compression, write::GzEncoder};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use super::{GET_HISTORY, PUBLISH, PUBLISH_STREAM, SUBSCRIBE, event, large};
use crate::support::{Call, TOKEN, TestApp, announced, eventually, framed, within};

const HEALTH_CHECK: &str = "grpc.health.v1.Health/Check";
const GZIP: &[(&str, &str)] = &[("grpc-encoding", "gzip")];
const KIB: usize = 1024;

/// A message in its frame, compressed.
fn packed(message: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(message).expect("memory takes it");
    let packed = gzip.finish().expect("memory takes it");
    let [_, length @ ..] = announced(packed.len());
    [&[1][..], &length, &packed].concat()
}

/// The results of a stream that is sent as it is, and what it ends with.
async fn results(call: Call, bytes: Vec<u8>) -> (Vec<PublishResult>, Status) {
    call.send(bytes).await;
    let (bytes, status) = call.ended().await.all().await;
    let mut rest = &bytes[..];
    let mut results = Vec::new();
    while let Some((&[_, length @ ..], message)) = rest.split_first_chunk::<5>() {
        let (message, behind) = message.split_at(u32::from_be_bytes(length) as usize);
        results.push(PublishResult::decode(message).expect("a result"));
        rest = behind;
    }
    (results, status)
}

/// The code of each result.
fn codes(results: &[PublishResult]) -> Vec<Code> {
    let code = |result: &PublishResult| match result.outcome.as_ref().expect("an outcome") {
        Outcome::Accepted(_) => Code::Ok,
        Outcome::Rejected(rejection) => Code::from(rejection.code),
    };
    results.iter().map(code).collect()
}

/// Whether a refusal says that less must be sent, and not later.
fn assert_too_large(status: &Status, max_bytes: usize) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let details = status.get_error_details();
    let info = details.error_info().expect("an error info");
    assert_eq!((info.reason.as_str(), &info.metadata["max_bytes"]), ("TOO_LARGE", &max_bytes.to_string()), "{status}");
    assert!(details.retry_info().is_none(), "{status}");
    assert_eq!(
        status.metadata().get("grpc-retry-pushback-ms").map(|wait| wait.as_bytes()),
        Some(&b"-1"[..]),
        "{status}"
    );
}

/// The fields that a status says are wrong.
fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

// a message that is too large is told from overload by its details, so that no policy sends it again
#[tokio::test]
async fn what_is_too_large_is_told_from_overload() {
    let app = TestApp::start_with(|config| config.gate.publish_rate = "2/h".parse().expect("a rate")).await;
    let channel = app.channel().await;
    for (path, max_bytes) in [(PUBLISH, KIB * KIB), (PUBLISH_STREAM, 4 * KIB * KIB), (HEALTH_CHECK, 4 * KIB)] {
        let call = Call::begin(&channel, path, Some(TOKEN));
        call.send(announced(max_bytes + 1).to_vec()).await;
        let status = call.status().await;
        assert_too_large(&status, max_bytes);
        assert_eq!(fields(&status), [""], "{path}: the whole message");
    }
    let mut grpc = app.grpc().await;
    let overload = eventually("too fast", async || grpc.publish(event("e")).await.err()).await;
    assert_eq!(overload.code(), Code::ResourceExhausted, "{overload}");
    let details = overload.get_error_details();
    assert!(details.retry_info().is_some() && details.error_info().is_none(), "{overload}");
}

// metadata that is too large ends its call, and no other of the connection
#[tokio::test]
async fn metadata_that_is_too_large_ends_the_one_call() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let other = Call::begin(&channel, PUBLISH_STREAM, Some(TOKEN));
    other.send(framed(&event("before"))).await;
    eventually("published", async || (app.stats().await["total_notifications_sent"] == 1).then_some(())).await;
    for bytes in [65 * KIB, 200 * KIB] {
        let call = Call::begin_with(&channel, PUBLISH, Some(TOKEN), &[("x-large", &"x".repeat(bytes))]);
        assert_too_large(&call.end().await, 64 * KIB);
    }
    let call = Call::begin_with(&channel, PUBLISH, Some(TOKEN), &[("x-large", &"x".repeat(63 * KIB))]);
    call.send(framed(&event("large head"))).await;
    assert_eq!(call.end().await.code(), Code::Ok);
    let (results, status) = results(other, framed(&event("behind"))).await;
    assert_eq!((codes(&results), status.code()), (vec![Code::Ok; 2], Code::Ok));
}

// messages may come compressed by gzip, and are the same then
#[tokio::test]
async fn compressed_messages_are_taken() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let channel = app.channel().await;
    let message = large(100 * KIB).encode_to_vec();
    let call = Call::begin_with(&channel, PUBLISH, Some(TOKEN), GZIP);
    call.send(packed(&message)).await;
    assert_eq!(call.end().await.code(), Code::Ok);
    let call = Call::begin_with(&channel, PUBLISH_STREAM, Some(TOKEN), GZIP);
    let (results, status) = results(call, [packed(&message), framed(&event("e")), packed(&message)].concat()).await;
    assert_eq!((codes(&results), status.code()), (vec![Code::Ok; 3], Code::Ok), "{status}");
    assert_eq!(ana.next_seqs(4).await, [1, 2, 3, 4]);
    let call = Call::begin_with(&channel, HEALTH_CHECK, None, GZIP);
    call.send(packed(&HealthCheckRequest::default().encode_to_vec())).await;
    assert_eq!(call.end().await.code(), Code::Ok);
}

// what is small on the wire is bounded by what it is when it is unpacked
#[tokio::test]
async fn a_compression_bomb_is_no_way_in() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let limits = [(PUBLISH, KIB * KIB), (GET_HISTORY, KIB * KIB), (SUBSCRIBE, KIB * KIB), (HEALTH_CHECK, 4 * KIB)];
    for (path, max_bytes) in limits {
        let call = Call::begin_with(&channel, path, Some(TOKEN), GZIP);
        call.send(packed(&vec![0; max_bytes + 1])).await;
        assert_too_large(&call.end().await, max_bytes);
    }
    let bomb = |bytes| packed(&large(bytes).encode_to_vec());
    let call = Call::begin_with(&channel, PUBLISH_STREAM, Some(TOKEN), GZIP);
    let sent = [bomb(10), bomb(2 * KIB * KIB), bomb(10), bomb(5 * KIB * KIB), bomb(10)].concat();
    let (results, status) = results(call, sent).await;
    assert_eq!(codes(&results), [Code::Ok, Code::ResourceExhausted, Code::Ok]);
    assert_too_large(&status, 4 * KIB * KIB);
    let call = Call::begin_with(&channel, PUBLISH, Some(TOKEN), GZIP);
    call.send([&[1, 0, 0, 0, 3][..], b"abc"].concat()).await;
    let status = call.end().await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(app.stats().await["refusals"]["internal"], 0);
}

// what is compressed by something else is refused with what may be
#[tokio::test]
async fn another_encoding_is_refused_with_the_one_that_there_is() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    for encoding in ["deflate", "snappy"] {
        let call = Call::begin_with(&channel, PUBLISH, Some(TOKEN), &[("grpc-encoding", encoding)]);
        let status = call.end().await;
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        assert!(status.message().contains("gzip"), "{status}");
        let accepted = status.metadata().get("grpc-accept-encoding").expect("what may be");
        assert_eq!(accepted.as_bytes(), b"gzip,identity");
    }
}

// a message of a stream that is no protobuf, or no UTF-8 where it must be, is rejected by itself
#[tokio::test]
async fn a_message_that_cannot_be_read_is_rejected_by_itself() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let unreadable: [&[u8]; 4] = [b"\x0a\x02e\xff", b"\x22\x01\xff", b"\x0a\x7fe", b"\xff\xff"];
    let frame = |message: &[u8]| [&announced(message.len())[..], message].concat();
    let frames = unreadable.iter().flat_map(|message| [frame(message), framed(&event("e"))]);
    let call = Call::begin(&channel, PUBLISH_STREAM, Some(TOKEN));
    let (results, status) = results(call, frames.collect::<Vec<_>>().concat()).await;
    assert_eq!(codes(&results), [Code::InvalidArgument, Code::Ok].repeat(4), "{results:?}");
    assert_eq!(status.code(), Code::Ok, "{status}");
    assert_eq!(app.stats().await["total_notifications_sent"], 4);
}

/// A call whose deadline the server alone keeps, and whose request does not end.
async fn call_until(app: &TestApp, path: &str, timeout: &str) -> Status {
    let stream = TcpStream::connect(app.grpc_address()).await.expect("the listener is up");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let (pieces, queue) = mpsc::channel::<Result<hyper::body::Frame<Bytes>, Status>>(1);
    let request = Request::post(format!("http://x/{path}")).header("content-type", "application/grpc");
    let request = request.header("authorization", format!("Bearer {TOKEN}")).header("grpc-timeout", timeout);
    let body = Body::new(StreamBody::new(ReceiverStream::new(queue)));
    let answer = within("an answer", sender.send_request(request.body(body).expect("a request"))).await;
    let answer: Response<_> = answer.expect("an answer");
    drop((pieces, sender));
    connection.abort();
    Status::from_header_map(answer.headers()).expect("a status, and no more")
}

// a call with one answer whose time is over says so, as a stream does
#[tokio::test]
async fn a_call_whose_time_is_over_says_so() {
    let app = TestApp::start().await;
    for (path, timeout) in [(PUBLISH, "0n"), (PUBLISH, "100m"), (GET_HISTORY, "30m"), (HEALTH_CHECK, "30m")] {
        let status = call_until(&app, path, timeout).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{path}, {timeout}: {status}");
    }
}

// the details of an error name a field that its request has
#[tokio::test]
async fn errors_name_the_fields_of_their_own_request() {
    let app = TestApp::start().await;
    let mut grpc = app.grpc().await;
    let nameless = || vec![String::new()];
    let rooms = SubscribeRequest { rooms: nameless(), ..Default::default() };
    let users = SubscribeRequest { users: nameless(), ..Default::default() };
    for (request, field) in [(rooms, "rooms"), (users, "users")] {
        let refused = grpc.subscribe(request).await.expect_err("no name");
        assert_eq!(fields(&refused), [field]);
        assert!(!refused.message().contains("target"), "{refused}");
    }
    let audience = Some(Target { rooms: nameless(), ..Default::default() });
    let refused = grpc.get_history(GetHistoryRequest { audience, ..Default::default() }).await.expect_err("no name");
    assert_eq!(fields(&refused), ["audience"]);
    assert!(refused.message().contains("audience.rooms"), "{refused}");
}

// grpc.health.v1: who watches a service that there is not is told SERVICE_UNKNOWN, and the stream goes on
#[tokio::test]
async fn a_watch_of_an_unknown_service_goes_on() {
    let app = TestApp::start().await;
    let mut health = HealthClient::new(app.channel().await);
    let request = HealthCheckRequest { service: "otro".into() };
    let mut changes = health.watch(request).await.expect("a stream").into_inner();
    let first = within("a status", changes.message()).await.expect("a status").expect("a status");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    within("an answer", health.check(HealthCheckRequest::default())).await.expect("an answer");
    assert!(changes.message().now_or_never().is_none(), "it goes on");
    let running = app.begin_shutdown();
    within("the end of the stream", changes.message()).await.expect("a good end");
    drop(health);
    within("the end", running).await.expect("no panic").expect("no failure");
}

// reflection: what there is not is answered within the stream; what is served is described, with health and reflection itself
macro_rules! reflection {
    ($version:ident) => {
        #[tokio::test]
        async fn $version() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let app = TestApp::start().await;
            let (requests, queue) = mpsc::channel(1);
            let mut client = ServerReflectionClient::new(app.channel().await);
            let answers = client.server_reflection_info(ReceiverStream::new(queue)).await;
            let mut answers = answers.expect("a stream").into_inner();
            let mut ask = async |request| {
                let request = ServerReflectionRequest { host: String::new(), message_request: request };
                requests.send(request).await.expect("the stream is open");
                let answer = within("an answer", answers.message()).await.expect("it goes on").expect("an answer");
                answer.message_response.expect("a message")
            };
            let unknown = [
                (Some(MessageRequest::FileContainingSymbol("otro".into())), Code::NotFound),
                (Some(MessageRequest::FileByFilename("otro.proto".into())), Code::NotFound),
                (Some(MessageRequest::AllExtensionNumbersOfType("otro".into())), Code::NotFound),
                (None, Code::InvalidArgument),
            ];
            for (request, code) in unknown {
                let MessageResponse::ErrorResponse(error) = ask(request).await else { panic!("an error is due") };
                assert_eq!(Code::from(error.error_code), code, "{}", error.error_message);
            }
            let list = ask(Some(MessageRequest::ListServices(String::new()))).await;
            let MessageResponse::ListServicesResponse(list) = list else { panic!("a list is due: {list:?}") };
            assert_eq!(list.service.len(), 4, "{list:?}");
            for service in list.service {
                let file = ask(Some(MessageRequest::FileContainingSymbol(service.name.clone()))).await;
                assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{}: {file:?}", service.name);
            }
        }
    };
}

mod reflection_answers_within_the_stream {
    use super::*;

    reflection!(v1);
    reflection!(v1alpha);
}
