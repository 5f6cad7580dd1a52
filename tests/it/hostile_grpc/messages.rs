//! Messages that are not finished, and answers that are not read.

use std::{num::NonZeroUsize, time::Duration};

use exposia_notifications::{
    config::Config,
    wire::proto::v1::{GetHistoryRequest, GetStatsRequest},
};
use futures_util::future::select_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt;

use super::{GET_HISTORY, PUBLISH, PUBLISH_STREAM, event, large};
use crate::support::{Call, TOKEN, TestApp, announced, eventually, framed, within};

const KIB: usize = 1024;

/// A server that holds at most so many bytes of what is unfinished or unread; an address has half of them.
async fn holding(bytes: usize, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::start_with(|config| {
        config.gate.unfinished_bytes = NonZeroUsize::new(bytes).expect("not zero");
        change(config);
    })
    .await
}

// the bytes of messages that are not finished are counted as they come, refused when they are too many, and given back
#[tokio::test]
async fn unfinished_messages_are_counted() {
    let app = holding(KIB * KIB, |_| {}).await;
    let channel = app.channel().await;
    let message = framed(&large(500 * KIB));
    let (begin, rest) = message.split_at(400 * KIB);
    for path in [PUBLISH, PUBLISH_STREAM] {
        let mut calls = Vec::new();
        for _ in 0..2 {
            let call = Call::begin(&channel, path, Some(TOKEN));
            call.send(begin.to_vec()).await;
            calls.push(Box::pin(call.status()));
        }
        let (refused, _, others) = select_all(calls).await;
        assert_eq!(refused.code(), Code::ResourceExhausted, "{path}: {refused}");
        assert!(refused.get_details_retry_info().is_some(), "{path}: {refused}");
        assert!(refused.message().contains("UNFINISHED_BYTES"), "{path}: {refused}");
        // What comes whole is not refused for it.
        let mut grpc = app.grpc().await;
        within("an answer", grpc.publish(event("e"))).await.expect("accepted");
        drop(others);
        eventually("what was counted is given back", async || {
            let call = Call::begin(&channel, path, Some(TOKEN));
            call.send(begin.to_vec()).await;
            call.send(rest.to_vec()).await;
            (call.end().await.code() == Code::Ok).then_some(())
        })
        .await;
    }
    let stats = within("statistics", app.grpc().await.get_stats(GetStatsRequest::default())).await.expect("statistics");
    let refusals = stats.into_inner().refusals;
    assert!(refusals["unfinished_bytes"] >= 2, "{refusals:?}");
}

// a unary call whose message never ends, or never begins, ends with what the setting is called
#[tokio::test]
async fn a_call_whose_message_never_ends_is_ended() {
    let soon = Duration::from_millis(100);
    let body = TestApp::start_with(|config| config.ingress.body_timeout = soon).await;
    let message = TestApp::start_with(|config| config.gate.message_timeout = soon).await;
    let unending: [&[u8]; 3] = [&[], &[0, 0], &[0, 0, 0, 0, 9, 1, 2]];
    let paths = [PUBLISH, "grpc.health.v1.Health/Check", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"];
    for (app, setting) in [(&body, "BODY_TIMEOUT"), (&message, "MESSAGE_TIMEOUT")] {
        let channel = app.channel().await;
        for path in paths {
            for begin in unending {
                if setting == "MESSAGE_TIMEOUT" && begin.is_empty() {
                    continue;
                }
                let call = Call::begin(&channel, path, Some(TOKEN));
                call.send(begin.to_vec()).await;
                let status = call.status().await;
                assert_eq!(status.code(), Code::DeadlineExceeded, "{path}: {status}");
                assert!(status.message().contains(setting), "{path}: {status}");
            }
        }
    }
}

// a stream waits for its next message for as long as the client likes, but not for the end of one
#[tokio::test]
async fn a_stream_whose_message_never_ends_is_ended_behind_its_results() {
    let app = TestApp::start_with(|config| {
        config.gate.message_timeout = Duration::from_millis(100);
        config.ingress.body_timeout = Duration::from_millis(100);
    })
    .await;
    let channel = app.channel().await;
    let call = Call::begin(&channel, PUBLISH_STREAM, Some(TOKEN));
    call.send([framed(&event("e")), announced(10).to_vec()].concat()).await;
    let mut answer = call.answer().await;
    answer.piece().await;
    let status = answer.status().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(app.stats().await["total_notifications_sent"], 1);
}

// more than one message for a method that takes one, and a message that breaks off, are the client's fault
#[tokio::test]
async fn what_is_no_request_is_invalid() {
    let app = TestApp::start().await;
    let channel = app.channel().await;
    let twice = [framed(&event("e")), framed(&event("e"))].concat();
    let broken = &framed(&event("e"))[..6];
    for bytes in [&twice, broken] {
        let call = Call::begin(&channel, PUBLISH, Some(TOKEN));
        call.send(bytes.to_vec()).await;
        let status = call.end().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let stats = app.stats().await;
    assert_eq!((&stats["total_notifications_sent"], &stats["refusals"]["internal"]), (&0.into(), &0.into()));
}

// an answer that nobody takes is counted until it is taken
#[tokio::test]
async fn answers_that_nobody_reads_are_counted() {
    let app = holding(2 * 1024 * KIB, |_| {}).await;
    let mut grpc = app.grpc().await;
    for _ in 0..8 {
        within("an answer", grpc.publish(large(100 * KIB))).await.expect("accepted");
    }
    let endpoint = Endpoint::from_shared(format!("http://{}", app.grpc_address())).expect("an address");
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(1024 * 1024);
    let channel = within("a connection", endpoint.connect()).await.expect("the listener is up");
    let ask = async || {
        let call = Call::begin(&channel, GET_HISTORY, Some(TOKEN));
        call.send(framed(&GetHistoryRequest::default())).await;
        call.ended().await
    };
    let mut unread = ask().await;
    unread.piece().await;
    let refused = ask().await.status().await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.get_details_retry_info().is_some(), "{refused}");
    assert_eq!(unread.status().await.code(), Code::Ok);
    assert_eq!(ask().await.status().await.code(), Code::Ok, "what was taken is counted no more");
    assert_eq!(app.stats().await["refusals"]["unfinished_bytes"], 1);
}

// what is small is not refused for what others hold, however it is cut
#[tokio::test]
async fn small_messages_come_through_beside_a_full_budget() {
    let app = holding(200 * KIB, |_| {}).await;
    let mut unfinished = TcpStream::connect(app.http()).await.expect("a connection");
    let head = "POST /notify?token=dev HTTP/1.1\r\nHost: x\r\nContent-Length: 102401\r\nExpect: 100-continue\r\n\r\n";
    unfinished.write_all(head.as_bytes()).await.expect("a head");
    within("100 Continue", unfinished.read_exact(&mut [0; 25])).await.expect("an interim answer");
    unfinished.write_all(&[b' '; 100 * KIB]).await.expect("a body");
    let channel = app.channel().await;
    eventually("the budget is full", async || {
        let call = Call::begin(&channel, PUBLISH, Some(TOKEN));
        call.send([&announced(100 * KIB)[..], &[0; 20 * KIB]].concat()).await;
        let refused = timeout(Duration::from_millis(100), call.status()).await;
        refused.is_ok_and(|status| status.code() == Code::ResourceExhausted).then_some(())
    })
    .await;
    let message = framed(&event("e"));
    let call = Call::begin(&channel, PUBLISH_STREAM, Some(TOKEN));
    for _ in 0..20 {
        call.send(message[..4].to_vec()).await;
        call.send(message[4..].to_vec()).await;
    }
    let status = call.end().await;
    assert_eq!(status.code(), Code::Ok, "{status}");
    let mut cut = TcpStream::connect(app.http()).await.expect("a connection");
    let body = format!(r#"{{"event":"e","payload":{{"a":"{}"}}}}"#, "x".repeat(3 * KIB));
    let head = head.replace("102401", &body.len().to_string()).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    cut.write_all(head.as_bytes()).await.expect("a head");
    within("100 Continue", cut.read_exact(&mut [0; 25])).await.expect("an interim answer");
    let (begin, rest) = body.as_bytes().split_at(2 * KIB);
    cut.write_all(begin).await.expect("a part");
    // Something else comes between, so that this part is read for itself.
    assert_eq!(app.stats().await["total_notifications_sent"], 20);
    cut.write_all(rest).await.expect("the rest");
    let mut answer = String::new();
    within("an answer", cut.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    drop(unfinished);
}
