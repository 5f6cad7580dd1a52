//! Who hears of whom: of those who connect and of those who go, and of nobody in between.

use serde_json::{Value, json};

use crate::support::{Client, TestApp, timeless};

/// Somebody who is in one room and listens.
async fn witness(app: &TestApp, room: &str) -> Client {
    app.connect(&format!("testigo-{room}?room={room}")).await
}

fn notice(kind: &str, client_id: &str, room: &str) -> Value {
    let verb = if kind == "user_joined" { "se unió a" } else { "salió de" };
    let message = format!("Usuario {client_id} {verb} la sala");
    json!({"type": kind, "message": message, "client_id": client_id, "room": room})
}

// wire-contract, WebSocket: `user_joined` goes to each room asked for in the handshake, `user_left` to each that the client is in at
// its end; `join_room`, `subscribe` and `unsubscribe` are announced to nobody
#[tokio::test]
async fn moving_between_rooms_is_announced_to_nobody() {
    let app = TestApp::start().await;
    let (mut a, mut b) = (witness(&app, "a").await, witness(&app, "b").await);
    let (mut c, mut d) = (witness(&app, "c").await, witness(&app, "d").await);
    let mut ana = app.connect("ana?room=a&rooms=b").await;
    assert_eq!(timeless(a.next().await), notice("user_joined", "ana", "a"));
    assert_eq!(timeless(b.next().await), notice("user_joined", "ana", "b"));
    assert_eq!(ana.ask(json!({"type": "join_room", "room": "c"})).await["type"], "room_changed");
    assert_eq!(ana.ask(json!({"type": "subscribe", "room": "d"})).await["type"], "subscribed");
    assert_eq!(ana.ask(json!({"type": "unsubscribe", "room": "b"})).await["type"], "unsubscribed");
    let marker = app.mark().await;
    for witness in [&mut a, &mut b, &mut c, &mut d, &mut ana] {
        witness.expect_nothing_before(marker).await;
    }

    ana.close().await;
    assert_eq!(timeless(c.next().await), notice("user_left", "ana", "c"));
    assert_eq!(timeless(d.next().await), notice("user_left", "ana", "d"));
    let marker = app.mark().await;
    for witness in [&mut a, &mut b, &mut c, &mut d] {
        witness.expect_nothing_before(marker).await;
    }
}

// nobody is told twice, however often and wherever one goes; a room that one came back to is one that one is in
#[tokio::test]
async fn whoever_comes_back_to_a_room_leaves_it_once() {
    let app = TestApp::start().await;
    let mut general = witness(&app, "general").await;
    let mut ana = app.connect("ana").await;
    assert_eq!(timeless(general.next().await), notice("user_joined", "ana", "general"));
    for room in ["a", "general", "general", "b"] {
        assert_eq!(ana.ask(json!({"type": "join_room", "room": room})).await["room"], room);
    }
    assert_eq!(ana.ask(json!({"type": "join_room"})).await["room"], "general");
    general.expect_nothing_before(app.mark().await).await;
    drop(ana);
    assert_eq!(timeless(general.next().await), notice("user_left", "ana", "general"));
    general.expect_nothing_before(app.mark().await).await;
}

// wire-contract, WebSocket: a second connection with the same `client_id` replaces the first: the rooms that the first was in at its
// end see `user_left`, those that the second asked for `user_joined`, and the second one stays
#[tokio::test]
async fn a_replacement_leaves_where_the_first_was_and_joins_where_the_second_asked() {
    let app = TestApp::start().await;
    let (mut a, mut b) = (witness(&app, "a").await, witness(&app, "b").await);
    let mut first = app.connect("ana?room=a").await;
    a.next_of_type("user_joined").await;
    first.ask(json!({"type": "join_room", "room": "b"})).await;
    let mut second = app.connect("ana?room=a").await;
    assert_eq!(first.close_code().await, 4001);
    drop(first);
    assert_eq!(timeless(b.next().await), notice("user_left", "ana", "b"));
    assert_eq!(timeless(a.next().await), notice("user_joined", "ana", "a"));
    let mut third = app.connect("ana?room=a").await;
    assert_eq!(second.close_code().await, 4001);
    assert_eq!(timeless(a.next().await), notice("user_left", "ana", "a"));
    assert_eq!(timeless(a.next().await), notice("user_joined", "ana", "a"));
    a.send(json!({"type": "chat_message", "message": "sigues"})).await;
    assert_eq!(third.next_of_type("chat_message").await["message"], "sigues");
    let marker = app.mark().await;
    for client in [&mut a, &mut b, &mut third] {
        client.expect_nothing_before(marker).await;
    }
}

// the room that `GET /stats` names is the one that the client is in now, and with it goes the number of each room
#[tokio::test]
async fn the_statistics_name_the_room_that_a_client_is_in_now() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?user_id=456").await;
    for (message, room, rooms) in [
        (json!({"type": "join_room", "room": "tema_1"}), "tema_1", json!({"general": 0, "tema_1": 1})),
        (json!({"type": "subscribe", "room": "admin"}), "tema_1", json!({"admin": 1, "general": 0, "tema_1": 1})),
        (json!({"type": "join_room", "room": "admin"}), "admin", json!({"admin": 1, "general": 0})),
        (json!({"type": "join_room"}), "general", json!({"general": 1})),
    ] {
        ana.ask(message.clone()).await;
        let stats = app.stats().await;
        assert_eq!((&stats["clients"][0]["room"], &stats["rooms"]), (&json!(room), &rooms), "{message}");
    }
}
