//! How long a gRPC connection lasts.

use std::{net::SocketAddr, time::Duration};

use exposia_notifications::{config::Config, wire::proto::v1::PublishRequest};
use prost::Message;
use tokio::{
    io::AsyncWriteExt,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};
use tonic::Code;
use tonic_types::StatusExt;

use super::{
    NEVER,
    grpc::{follow, goes_on},
};
use crate::{
    hostile_http2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Received, call, frame, open, read},
    support::{TestApp, within},
};

/// The message of a publish, as gRPC frames it.
fn message() -> Vec<u8> {
    let request = PublishRequest { event: "e".into(), ..Default::default() }.encode_to_vec();
    let length = u32::try_from(request.len()).expect("a length").to_be_bytes();
    [&[0][..], &length, &request].concat()
}

/// Reads until a frame is of `kind`.
pub(super) async fn next(reader: &mut OwnedReadHalf, kind: u8) -> Received {
    let reading = async {
        loop {
            let received = read(reader).await.expect("the connection is open");
            if received.kind == kind {
                return received;
            }
        }
    };
    within("a frame", reading).await
}

/// A connection on which the head of a publish was sent, and not its message.
pub(super) async fn publishing(grpc: SocketAddr) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (reader, mut writer) = open(grpc).await;
    writer.write_all(&frame(HEADERS, END_HEADERS, 1, &call(&[]))).await.expect("the connection is open");
    (reader, writer)
}

/// Sends the message and reads the answer, which must be a notification's place.
pub(super) async fn finish(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) {
    writer.write_all(&frame(DATA, END_STREAM, 1, &message())).await.expect("the connection is open");
    let answer = next(reader, DATA).await;
    assert!(answer.content.len() > 5, "an answer: {:?}", answer.content);
}

fn short_lived(config: &mut Config) {
    config.listen.grpc_max_age = Some(Duration::from_millis(200));
}

// a connection that is as old as it may become is told so, and the call in progress ends well
#[tokio::test]
async fn a_call_in_progress_on_an_old_connection_ends_well() {
    let app = TestApp::start_with(|config| {
        short_lived(config);
        config.listen.grpc_max_age_grace = NEVER;
    })
    .await;
    let (mut reader, mut writer) = publishing(app.grpc_address()).await;
    next(&mut reader, GOAWAY).await;
    finish(&mut reader, &mut writer).await;
}

// a stream on it ends with UNAVAILABLE and when to try again; a publisher that comes later notices nothing
#[tokio::test]
async fn a_stream_on_an_old_connection_is_told_to_connect_again() {
    let app = TestApp::start_with(|config| {
        short_lived(config);
        config.listen.grpc_max_age_grace = Duration::ZERO;
    })
    .await;
    let mut grpc = app.grpc().await;
    let mut following = follow(&mut grpc).await;
    let ended = within("the end", following.message()).await.expect_err("the connection is too old");
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    assert!(ended.message().contains("connect again"), "{ended}");
    assert!(ended.get_details_retry_info().is_some(), "{ended:?}");
    let request = PublishRequest { event: "e".into(), ..Default::default() };
    within("an answer", grpc.publish(request)).await.expect("on another connection");
}

// a connection without a call in progress is told to go, one with a stream is not
#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let app = TestApp::start_with(|config| config.listen.grpc_idle_timeout = Duration::from_millis(100)).await;
    let mut following = follow(&mut app.grpc().await).await;
    let (mut reader, mut writer) = publishing(app.grpc_address()).await;
    finish(&mut reader, &mut writer).await;
    let notification = within("a notification", following.message()).await.expect("the stream is open");
    assert!(notification.is_some());
    next(&mut reader, GOAWAY).await;
    goes_on(&app, &mut following).await;
}
