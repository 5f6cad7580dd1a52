//! What is done to many connections is done to a few at a time, and others have their turn in between.

use std::{net::TcpStream, time::Duration};

use exposia_notifications::wire::proto::v1::{DisconnectRequest, RevokeUserRequest};
use serde_json::json;
use tokio::task::yield_now;

use crate::support::{RawSocket, TestApp, within};

const MANY: usize = 300;

/// So many clients of user 7, who were told that they are connected.
async fn connect(app: &TestApp) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for number in 0..MANY {
        let mut socket = RawSocket::connect(app.http(), &format!("c{number}?user_id=7&room=r{number}")).await;
        socket.next().await;
        sockets.push(socket.into_std());
    }
    sockets
}

/// Watches from turn to turn until all `sockets` were told something, and says whether there was a turn at which some were
/// told and others not yet. The service and this run on one thread.
async fn some_before_others(sockets: &[TcpStream]) -> bool {
    let told = |socket: &&TcpStream| socket.peek(&mut [0]).is_ok();
    let mut between = false;
    let watching = async {
        loop {
            match sockets.iter().filter(told).count() {
                MANY => return,
                0 => {}
                _ => between = true,
            }
            yield_now().await;
        }
    };
    within("all are told", watching).await;
    between
}

#[tokio::test]
async fn who_is_revoked_or_disconnected_is_closed_in_turns() {
    let app = TestApp::start().await;
    let mut admin = app.grpc().await;
    let sockets = connect(&app).await;
    let revoking = admin.revoke_user(RevokeUserRequest { user_id: "7".to_owned(), ..Default::default() });
    let (revoked, in_turns) = tokio::join!(revoking, some_before_others(&sockets));
    assert_eq!((revoked.expect("done").into_inner().closed, in_turns), (MANY as u32, true));
    drop(sockets);
    app.until_connected(0).await;

    let sockets = connect(&app).await;
    let luz = app.connect("luz?user_id=8").await;
    let disconnecting = admin.disconnect(DisconnectRequest { user_id: "7".to_owned(), ..Default::default() });
    let (disconnected, in_turns) = tokio::join!(disconnecting, some_before_others(&sockets));
    assert_eq!((disconnected.expect("done").into_inner().closed, in_turns), (MANY as u32, true));
    for (name, closed) in [("nobody", 0), ("luz", 1)] {
        let request = DisconnectRequest { client_id: name.to_owned(), ..Default::default() };
        assert_eq!(admin.disconnect(request).await.expect("done").into_inner().closed, closed);
    }
    drop(luz);
}

#[tokio::test]
async fn who_is_sent_away_is_told_in_turns() {
    let app = TestApp::start().await;
    let sockets = connect(&app).await;
    let running = app.begin_shutdown();
    assert!(some_before_others(&sockets).await);
    drop(sockets);
    within("the end", running).await.expect("no panic").expect("no failure");
}

// telling everybody has its share of the grace time, as waiting for them has: on a machine that is busy the service ends in time
#[tokio::test]
async fn whoever_cannot_be_told_in_time_holds_no_shutdown_up() {
    let app = TestApp::start_with(|config| config.shutdown_grace = Duration::ZERO).await;
    let sockets = connect(&app).await;
    let busy = tokio::spawn(async {
        loop {
            // The service and this run on one thread.
            std::thread::sleep(Duration::from_millis(10));
            yield_now().await;
        }
    });
    within("the end", app.begin_shutdown()).await.expect("no panic").expect("no failure");
    busy.abort();
    let told = sockets.iter().filter(|socket| socket.peek(&mut [0]).is_ok()).count();
    assert!(told < MANY, "all were told, however long that took");
}

// one notification to several audiences: each connection is one receiver, and receives it once
#[tokio::test]
async fn who_is_in_several_audiences_is_one_receiver() {
    let app = TestApp::start().await;
    let mut both = app.connect("both?user_id=7&room=a&rooms=b").await;
    let _others = (app.connect("a?room=a").await, app.connect("b?room=b").await, app.connect("c?room=c").await);
    let target = json!({ "users": ["7", "8"], "rooms": ["a", "b", "nowhere"] });
    for durability in ["memory", "ephemeral"] {
        let body = json!({ "event": "e", "payload": {}, "target": target, "durability": durability });
        assert_eq!(app.notify(body.to_string()).await.json()["receivers"], 3, "{durability}");
        assert_eq!(both.next_of_type("system_notification").await["event"], "e");
    }
    let marker = app.mark().await;
    both.expect_nothing_before(marker).await;
    let body = json!({ "event": "e", "payload": {}, "target": target });
    let explained = app.post("/routes/explain", body.to_string()).await.json();
    assert_eq!((&explained["receivers"], explained["client_ids"].as_array().map(Vec::len)), (&json!(3), Some(3)));
}
