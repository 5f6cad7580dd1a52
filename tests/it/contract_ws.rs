//! The WebSocket part of the wire contract, row by row.

use std::{num::NonZeroUsize, time::Duration};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

use super::support::{Client, Frame, RawSocket, TestApp, eventually, open, refusal, timeless};

fn non_zero(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

fn user_joined(client_id: &str, room: &str) -> Value {
    let message = format!("Usuario {client_id} se unió a la sala");
    json!({"type": "user_joined", "message": message, "client_id": client_id, "room": room})
}

fn user_left(client_id: &str, room: &str) -> Value {
    let message = format!("Usuario {client_id} salió de la sala");
    json!({"type": "user_left", "message": message, "client_id": client_id, "room": room})
}

fn error(message: &str) -> Value {
    json!({"type": "error", "message": message})
}

/// Publishes to a room, and gives the place.
async fn publish_in(app: &TestApp, room: &str) -> u64 {
    let answer = app.publish_to(json!({"rooms": [room]}), "e", json!({})).await;
    answer["sequence"].as_u64().expect("a place")
}

// wire-contract, WebSocket: `connection_established`; Additions: it also carries `client_id`, `user_id`, `epoch` and `seq`
#[tokio::test]
async fn a_client_is_told_first_who_and_where_it_is() {
    let app = TestApp::start().await;
    let before = app.mark().await;
    let ana = app.connect("ana?user_id=456&room=tema_1").await;
    let established = timeless(ana.established.clone());
    let epoch = established["epoch"].as_str().expect("an epoch");
    let expected = json!({
        "type": "connection_established", "message": "Conectado exitosamente como ana", "room": "tema_1",
        "client_id": "ana", "user_id": "456", "epoch": epoch, "seq": before,
    });
    assert_eq!(established, expected);
}

// wire-contract, WebSocket: `room` defaults to `general`
#[tokio::test]
async fn without_a_room_a_client_is_in_general() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    assert_eq!((&ana.established["room"], &ana.established["user_id"]), (&json!("general"), &Value::Null));
    let place = publish_in(&app, "general").await;
    ana.expect_nothing_before(place).await;
    assert_eq!(app.connect("luz?room=&user_id=").await.established["room"], "general");
}

// wire-contract, WebSocket: `rooms=a,b` adds further rooms
#[tokio::test]
async fn a_client_may_listen_to_further_rooms_from_the_start() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?rooms=a,b,,a,general").await;
    for room in ["a", "general", "b"] {
        let place = publish_in(&app, room).await;
        ana.expect_nothing_before(place).await;
    }
    publish_in(&app, "c").await;
    ana.expect_nothing_before(app.mark().await).await;
    assert_eq!(app.stats().await["clients"][0]["rooms"], json!(["general", "a", "b"]));
}

// wire-contract, WebSocket: `{"type":"ping"}` is answered `pong`
#[tokio::test]
async fn ping_is_answered() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    assert_eq!(timeless(ana.ask(json!({"type": "ping"})).await), json!({"type": "pong"}));
    let text = r#" {"extra":[1,{"a":null}],"type":"pi\u006eg"} "#;
    ana.send_text(text).await;
    assert_eq!(timeless(ana.next().await), json!({"type": "pong"}));
}

// wire-contract, WebSocket: `chat_message` goes to the others in the room, not to the sender
#[tokio::test]
async fn chat_goes_to_the_others_in_the_room() {
    let app = TestApp::start().await;
    let mut elsewhere = app.connect("eva?room=b").await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    luz.next_of_type("user_joined").await;
    ana.send(json!({"type": "chat_message", "message": "¡hola! \"😀\""})).await;
    ana.settle().await;
    let expected = json!({"type": "chat_message", "client_id": "ana", "message": "¡hola! \"😀\"", "room": "general"});
    assert_eq!(timeless(luz.next().await), expected);
    let marker = app.mark().await;
    for client in [&mut ana, &mut luz, &mut elsewhere] {
        client.expect_nothing_before(marker).await;
    }
}

// wire-contract, WebSocket: `join_room` moves the client, and is announced to nobody
#[tokio::test]
async fn joining_moves_a_client() {
    let app = TestApp::start().await;
    let mut old = app.connect("old").await;
    let mut new = app.connect("new?room=tema_1").await;
    let mut ana = app.connect("ana").await;
    assert_eq!(timeless(old.next().await), user_joined("ana", "general"));
    let answer = ana.ask(json!({"type": "join_room", "room": "tema_1"})).await;
    let expected = json!({"type": "room_changed", "message": "Te uniste a la sala tema_1", "room": "tema_1"});
    assert_eq!(timeless(answer), expected);
    let in_general = publish_in(&app, "general").await;
    let place = publish_in(&app, "tema_1").await;
    ana.expect_nothing_before(place).await;
    ana.send(json!({"type": "chat_message", "message": "x"})).await;
    old.expect_nothing_before(in_general).await;
    new.expect_nothing_before(place).await;
    assert_eq!(new.next().await["room"], "tema_1");
    let ana = &app.stats().await["clients"][0];
    assert_eq!((&ana["client_id"], &ana["room"]), (&json!("ana"), &json!("tema_1")));
}

// wire-contract, WebSocket: another type
#[tokio::test]
async fn an_unknown_type_is_named() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let answer = ana.ask(json!({"type": "baile", "message": "x"})).await;
    assert_eq!(timeless(answer), error("Tipo de mensaje no reconocido: baile"));
    assert_eq!(ana.ask(json!({})).await["type"], "error");
    assert_eq!(ana.ask(json!({"type": 7})).await["type"], "error");
    ana.settle().await;
}

// wire-contract, WebSocket: JSON that is not an object, a `room` that is not text: the connection stays
#[tokio::test]
async fn a_message_of_the_wrong_form_is_an_error_and_the_connection_stays() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    for wrong in [json!([1]), json!("ping"), json!(7), json!(null), json!(true)] {
        assert_eq!(timeless(ana.ask(wrong).await)["type"], "error");
    }
    for wrong in [json!(1), json!(null), json!(["a"]), json!({}), json!(true)] {
        for message in [json!({"type": "join_room", "room": wrong}), json!({"type": "subscribe", "room": wrong})] {
            assert_eq!(timeless(ana.ask(message.clone()).await)["type"], "error", "{message}");
        }
    }
    for kind in ["subscribe", "unsubscribe"] {
        assert_eq!(ana.ask(json!({ "type": kind })).await["type"], "error", "{kind}");
    }
    ana.expect_nothing_before(app.mark().await).await;
    assert_eq!(app.stats().await["clients"][0]["room"], "general");
}

// wire-contract, WebSocket: text that is not JSON
#[tokio::test]
async fn text_that_is_not_json_is_an_error_and_the_connection_stays() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let deep = "[".repeat(100_000);
    for text in ["hola", "", "{", r#"{"type":"ping"} x"#, r#"{'type':'ping'}"#, &deep] {
        ana.send_text(text).await;
        let answer = timeless(ana.next().await);
        assert_eq!(answer, error("Formato de mensaje inválido. Debe ser JSON válido."));
    }
    ana.settle().await;
}

// wire-contract, WebSocket: a message is text; bytes that are not are an error like any other
#[tokio::test]
async fn a_binary_message_is_read_or_refused_and_the_connection_stays() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    ana.send_message(Message::binary(vec![0xff, 0x00, 0xfe])).await;
    assert_eq!(timeless(ana.next().await)["type"], "error");
    ana.settle().await;
}

// wire-contract, WebSocket: `user_joined` and `user_left`, to the others in the room
#[tokio::test]
async fn the_others_see_a_client_come_and_go() {
    let app = TestApp::start().await;
    let mut elsewhere = app.connect("eva?room=b").await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    assert_eq!(timeless(luz.next().await), user_joined("ana", "general"));
    ana.expect_nothing_before(app.mark().await).await;
    ana.close().await;
    luz.next_of_type("system_notification").await;
    assert_eq!(timeless(luz.next().await), user_left("ana", "general"));
    elsewhere.next_of_type("system_notification").await;
    elsewhere.expect_nothing_before(app.mark().await).await;
}

// wire-contract, WebSocket: join and leave notices are sent only while the room has at most `PRESENCE_LIMIT` members
#[tokio::test]
async fn in_a_large_room_nobody_is_told() {
    let app = TestApp::start_with(|config| config.egress.presence_limit = 2).await;
    let mut ana = app.connect("ana").await;
    let luz = app.connect("luz").await;
    assert_eq!(timeless(ana.next().await), user_joined("luz", "general"));
    app.connect("eva").await.close().await;
    app.until_connected(2).await;
    ana.expect_nothing_before(app.mark().await).await;
    luz.close().await;
    assert_eq!(timeless(ana.next().await), user_left("luz", "general"));
}

// wire-contract, WebSocket: a second connection with the same `client_id` replaces the first, which is closed with 4001; the
// others in the room see `user_left`, then `user_joined`. (The original forgets the new one here; ours must not.)
#[tokio::test]
async fn a_second_connection_replaces_the_first_and_lives_on() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let mut first = app.connect("ana?user_id=7").await;
    luz.next_of_type("user_joined").await;
    let mut second = app.connect("ana?user_id=7").await;
    assert_eq!(first.close_code().await, 4001);
    drop(first);
    assert_eq!(timeless(luz.next().await), user_left("ana", "general"));
    assert_eq!(timeless(luz.next().await), user_joined("ana", "general"));
    app.until_connected(2).await;
    let members = async || (app.stats().await["rooms"] == json!({"general": 2})).then_some(());
    eventually("the first one is gone from the room", members).await;

    let receivers = &app.publish_to(json!({"users": ["7"]}), "e", json!({})).await["receivers"];
    assert_eq!(receivers, 1);
    second.next_seqs(1).await;
    luz.send(json!({"type": "chat_message", "message": "sigues ahí"})).await;
    assert_eq!(second.next().await["message"], "sigues ahí");
    let marker = app.mark().await;
    luz.expect_nothing_before(marker).await;
    second.expect_nothing_before(marker).await;
    second.close().await;
    assert_eq!(timeless(luz.next().await), user_left("ana", "general"));
}

// wire-contract, WebSocket: a replacement in another room: the old room sees `user_left`, the new one `user_joined`
#[tokio::test]
async fn a_replacement_in_another_room_is_told_in_both() {
    let app = TestApp::start().await;
    let mut old = app.connect("old?room=a").await;
    let mut new = app.connect("new?room=b").await;
    let _first = app.connect("ana?room=a").await;
    old.next_of_type("user_joined").await;
    let _second = app.connect("ana?room=b").await;
    assert_eq!(timeless(old.next().await), user_left("ana", "a"));
    assert_eq!(timeless(new.next().await), user_joined("ana", "b"));
    let marker = app.mark().await;
    old.expect_nothing_before(marker).await;
    new.expect_nothing_before(marker).await;
}

// wire-contract, WebSocket: replacing under load: whoever comes last lives
#[tokio::test(flavor = "multi_thread")]
async fn of_many_connections_with_one_client_id_one_lives() {
    let app = TestApp::start().await;
    let mut connecting = tokio::task::JoinSet::new();
    let http = app.http();
    for _ in 0..20 {
        connecting.spawn(async move {
            let mut socket = open(http, "ana").await.expect("a connection");
            // Its first message or its end: it has taken the place, and the last one comes after it.
            let _ = crate::support::within("a message", futures_util::StreamExt::next(&mut socket)).await;
            socket
        });
    }
    let _sockets = connecting.join_all().await;
    let mut last = app.connect("ana").await;
    app.until_connected(1).await;
    let members = async || (app.stats().await["rooms"] == json!({"general": 1})).then_some(());
    eventually("the others are gone", members).await;
    let place = publish_in(&app, "general").await;
    last.expect_nothing_before(place).await;
}

// `subscribe` and `unsubscribe`: one connection may listen to several rooms
#[tokio::test]
async fn rooms_are_added_and_left() {
    let app = TestApp::start().await;
    let mut member = app.connect("luz?room=b").await;
    let mut ana = app.connect("ana").await;
    publish_in(&app, "b").await;
    let answer = ana.ask(json!({"type": "subscribe", "room": "b"})).await;
    assert_eq!(timeless(answer), json!({"type": "subscribed", "room": "b", "rooms": ["general", "b"]}));
    member.next_seqs(1).await;
    let (in_b, in_general) = (publish_in(&app, "b").await, publish_in(&app, "general").await);
    assert_eq!(ana.next_seqs(2).await, [in_b, in_general]);
    member.next_seqs(1).await;

    ana.ask(json!({"type": "subscribe", "room": "b"})).await;
    let answer = ana.ask(json!({"type": "unsubscribe", "room": "b"})).await;
    assert_eq!(timeless(answer), json!({"type": "unsubscribed", "room": "b", "rooms": ["general"]}));
    let in_b = publish_in(&app, "b").await;
    ana.expect_nothing_before(app.mark().await).await;
    member.expect_nothing_before(in_b).await;
    assert_eq!(ana.ask(json!({"type": "unsubscribe", "room": "b"})).await["type"], "unsubscribed");
    assert_eq!(ana.ask(json!({"type": "unsubscribe", "room": "general"})).await["type"], "error");
}

// the rooms of a connection are bounded
#[tokio::test]
async fn a_connection_has_a_limit_of_rooms() {
    let app = TestApp::start_with(|config| config.egress.max_rooms_per_connection = non_zero(3)).await;
    let mut ana = app.connect("ana?rooms=a,b").await;
    assert_eq!(ana.ask(json!({"type": "subscribe", "room": "c"})).await["type"], "error");
    assert_eq!(ana.ask(json!({"type": "subscribe", "room": "b"})).await["type"], "subscribed");
    ana.ask(json!({"type": "unsubscribe", "room": "a"})).await;
    assert_eq!(ana.ask(json!({"type": "subscribe", "room": "c"})).await["type"], "subscribed");
    assert_eq!(refusal(app.http(), "luz?rooms=a,b,c").await.status(), 422);
}

// names are bounded: 1 to 128 characters, no control characters
#[tokio::test]
async fn names_have_1_to_128_characters_and_no_control_characters() {
    let app = TestApp::start().await;
    let (longest, longer) = ("%C3%B1".repeat(128), "%C3%B1".repeat(129));
    let good = format!("{longest}?user_id={longest}&room={longest}&rooms={longest}");
    assert_eq!(app.connect(&good).await.established["client_id"], "ñ".repeat(128));
    assert_eq!(app.connect("Jos%C3%A9%20%F0%9F%98%80?room=sala+1").await.established["room"], "sala 1");
    for bad in [longer.as_str(), "a%0Ab", "%7F", "a%00", "a%C2%85"] {
        for address in
            [bad.to_owned(), format!("luz?user_id={bad}"), format!("luz?room={bad}"), format!("luz?rooms=a,{bad}")]
        {
            assert_eq!(refusal(app.http(), &address).await.status(), 422, "{address}");
        }
    }
    let mut ana = app.connect("ana").await;
    for room in ["", "a\nb", &"ñ".repeat(129)] {
        for kind in ["join_room", "subscribe", "unsubscribe"] {
            assert_eq!(ana.ask(json!({"type": kind, "room": room})).await["type"], "error", "{kind} {room}");
        }
    }
}

// wire-contract, Routing 1: all connections of a user
#[tokio::test]
async fn every_connection_of_a_user_receives_what_is_for_the_user() {
    let app = TestApp::start().await;
    let mut phone = app.connect("phone?user_id=456&room=a").await;
    let mut laptop = app.connect("laptop?user_id=456&room=b").await;
    let mut other = app.connect("other?user_id=45&room=c").await;
    let mut nobody = app.connect("456?room=d").await;
    let answer = app.publish("user.logro", json!({"usuarioId": 456})).await;
    assert_eq!(answer["receivers"], 2);
    let place = answer["sequence"].as_u64().expect("a place");
    phone.expect_nothing_before(place).await;
    laptop.expect_nothing_before(place).await;
    let marker = app.mark().await;
    other.expect_nothing_before(marker).await;
    nobody.expect_nothing_before(marker).await;
}

// wire-contract, HTTP: the limit of an incoming WebSocket message; it closes with 1009
#[tokio::test]
async fn a_message_over_the_limit_closes_the_connection() {
    let app = TestApp::start_with(|config| config.egress.max_message_bytes = non_zero(1000)).await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana?room=b").await;
    ana.send_text(&"x".repeat(1000)).await;
    assert_eq!(ana.next().await["type"], "error");
    ana.send_text(&"x".repeat(1001)).await;
    assert_eq!(ana.close_code().await, 1009);
    luz.expect_nothing_before(app.mark().await).await;
}

// wire-contract, HTTP: the default limit of an incoming WebSocket message is 256 KiB
#[tokio::test]
async fn a_message_of_256_kib_is_read() {
    let app = TestApp::start_with(|config| config.egress.max_chat_bytes = config.egress.max_message_bytes).await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    luz.next_of_type("user_joined").await;
    let frame = json!({"type": "chat_message", "message": ""}).to_string().len();
    let message = "x".repeat(256 * 1024 - frame);
    ana.send(json!({"type": "chat_message", "message": message})).await;
    assert_eq!(luz.next().await["message"], message);
    ana.send_text(&"x".repeat(256 * 1024 + 1)).await;
    assert_eq!(ana.close_code().await, 1009);
}

// wire-contract, Stats: who has said goodbye is no longer connected, though its client does not hang up
#[tokio::test]
async fn whoever_is_closing_counts_no_more() {
    let app = TestApp::start().await;
    let mut raw = RawSocket::connect(app.http(), "ana").await;
    raw.write(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await;
    assert_eq!(raw.close_code().await, 1000);
    raw.ends().await;
    assert_eq!(app.stats().await["total_connections"], 0);
}

// RFC 6455, 5.2: a frame may come in parts, with any pause between them
#[tokio::test]
async fn a_frame_that_comes_in_parts_is_one_message() {
    let app = TestApp::start().await;
    let mut raw = RawSocket::connect(app.http(), "ana").await;
    assert!(matches!(raw.next().await, Frame::Text(text) if text.contains("connection_established")));
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let frame = [&[0x81, 0x80 | 15, 0, 0, 0, 0], &br#"{"type":"ping"}"#[..]].concat();
    for parts_at in 1..frame.len() {
        let (first, rest) = frame.split_at(parts_at);
        raw.write(&[&ping, first].concat()).await;
        assert!(matches!(raw.next().await, Frame::Pong(_)), "the first part is read");
        raw.write(rest).await;
        assert!(matches!(raw.next().await, Frame::Text(text) if text.contains("pong")), "{parts_at}");
    }
}

// a request that is no handshake
#[tokio::test]
async fn a_plain_request_is_told_to_upgrade() {
    let app = TestApp::start().await;
    let answer = app.get("/ws/ana").await;
    assert!(answer.refused(426).is_string());
    assert_eq!(answer.header("upgrade"), "websocket");
}

// over the connection limit: 503 with `Retry-After`
#[tokio::test]
async fn over_the_connection_limit_a_client_is_asked_to_come_back() {
    let app = TestApp::start_with(|config| config.egress.max_connections = non_zero(1)).await;
    let mut ana = app.connect("ana").await;
    let refused = refusal(app.http(), "luz").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers()["retry-after"].to_str().expect("text").parse::<u32>().expect("seconds") > 0);
    ana.expect_nothing_before(app.mark().await).await;
    ana.close().await;
    eventually("the place is free again", async || open(app.http(), "luz").await.ok()).await;
}

/// Connects again, to the position of `client`.
async fn resume(app: &TestApp, client: &Client, since: u64) -> Client {
    let epoch = client.established["epoch"].as_str().expect("an epoch");
    app.connect(&format!("ana?user_id=7&rooms=b&since={since}&epoch={epoch}")).await
}

// wire-contract, Additions: reconnecting with `?since=&epoch=` replays what the client missed before anything live
#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_first() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?user_id=7&rooms=b").await;
    let seen = app.mark().await;
    ana.expect_nothing_before(seen).await;
    let epoch = ana.established["epoch"].clone();
    let since = ana.established["seq"].as_u64().expect("a place");
    assert_eq!(since + 1, seen);
    let mut missed = Vec::new();
    let old = ana;
    for target in [json!({"rooms": ["general"]}), json!({"users": ["7"]}), json!({"rooms": ["b"], "users": ["7"]})] {
        missed.push(app.publish_to(target, "e", json!({})).await["sequence"].as_u64().expect("a place"));
        app.publish_to(json!({"rooms": ["c"], "users": ["8"]}), "e", json!({})).await;
    }
    missed.push(app.mark().await);

    let mut ana = resume(&app, &old, seen).await;
    let established = &ana.established;
    assert_eq!((&established["recovered"], &established["replayed"]), (&json!(true), &json!(missed.len())));
    assert_eq!(
        (&established["epoch"], &established["seq"]),
        (&epoch, missed.last().map(|seq| json!(seq)).as_ref().expect("one"))
    );
    assert_eq!(ana.next_seqs(missed.len()).await, missed);
    ana.expect_nothing_before(app.mark().await).await;
}

// wire-contract, Additions: `replayed` counts all that was missed, also beyond what is read from the journal at once
#[tokio::test]
async fn a_client_that_missed_a_lot_is_told_how_much() {
    let app = TestApp::start().await;
    let old = app.connect("ana?user_id=7&rooms=b").await;
    let mut missed = Vec::new();
    for _ in 0..300 {
        let published = app.publish_to(json!({"users": ["7"]}), "e", json!({})).await;
        missed.push(published["sequence"].as_u64().expect("a place"));
    }
    let mut ana = resume(&app, &old, missed[0] - 1).await;
    assert_eq!(ana.established["replayed"], missed.len());
    assert_eq!(ana.next_seqs(missed.len()).await, missed);
    ana.expect_nothing_before(app.mark().await).await;
}

// wire-contract, Additions: `recovered: true` with nothing missed
#[tokio::test]
async fn a_client_that_missed_nothing_is_recovered() {
    let app = TestApp::start().await;
    let ana = app.connect("ana").await;
    let mut again = resume(&app, &ana, 0).await;
    assert_eq!((&again.established["recovered"], &again.established["replayed"]), (&json!(true), &json!(0)));
    let marker = app.mark().await;
    again.expect_nothing_before(marker).await;
    let mut again = resume(&app, &ana, marker).await;
    assert_eq!((&again.established["recovered"], &again.established["replayed"]), (&json!(true), &json!(0)));
    again.expect_nothing_before(app.mark().await).await;
}

// wire-contract, Additions: `recovered: false` when the epoch differs
#[tokio::test]
async fn a_position_of_another_epoch_is_not_recovered() {
    let app = TestApp::start().await;
    let marker = app.mark().await;
    app.mark().await;
    let ana = app.connect("ana").await;
    let epoch = ana.established["epoch"].as_str().expect("an epoch");
    let future = format!("ana?since={}&epoch={epoch}", marker + 100);
    for address in [&format!("ana?since={marker}&epoch=other"), &format!("ana?since={marker}"), &future] {
        let mut again = app.connect(address).await;
        assert_eq!(again.established["recovered"], false, "{address}");
        assert_eq!(again.established.get("replayed"), None);
        again.expect_nothing_before(app.mark().await).await;
    }
    for bad in ["x", "-1", "1.5", "99999999999999999999999"] {
        assert_eq!(refusal(app.http(), &format!("ana?since={bad}&epoch={epoch}")).await.status(), 422, "{bad}");
    }
}

// wire-contract, Additions: `recovered: false` when the journal no longer reaches back
#[tokio::test]
async fn a_position_that_the_journal_forgot_is_not_recovered() {
    let app = TestApp::start_with(|config| config.journal.max_entries = non_zero(3)).await;
    let ana = app.connect("ana").await;
    for _ in 0..10 {
        app.mark().await;
    }
    // 8, 9 and 10 are kept.
    let mut lost = resume(&app, &ana, 6).await;
    assert_eq!(lost.established["recovered"], false);
    let mut recovered = resume(&app, &ana, 7).await;
    assert_eq!((&recovered.established["recovered"], &recovered.established["replayed"]), (&json!(true), &json!(3)));
    assert_eq!(recovered.next_seqs(3).await, [8, 9, 10]);
    assert_eq!(lost.close_code().await, 4001);
}

// wire-contract, Additions: every `system_notification` also carries `id` and `seq`, strictly increasing
#[tokio::test]
async fn a_notification_has_an_id_and_a_place() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let mut last = 0;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..5 {
        app.publish("e", json!({"a": 1})).await;
        let notification = timeless(ana.next().await);
        let (id, seq) = (notification["id"].as_str().expect("text"), notification["seq"].as_u64().expect("a number"));
        let expected = json!({
            "type": "system_notification", "event": "e", "payload": {"a": 1}, "source": "unknown", "id": id, "seq": seq,
        });
        assert_eq!(notification, expected);
        assert!(seq > last && ids.insert(id.to_owned()));
        last = seq;
    }
}

/// How many notifications fill every buffer between the server and a client that does not read, and then some. They are
/// more than 4 MiB of a sender's and 6 MiB of a receiver's, the most that Linux grants by itself.
const FLOOD: usize = 320;

/// Publishes [`FLOOD`] large notifications for everyone.
async fn flood(app: &TestApp) -> Vec<u64> {
    let filler = "x".repeat(64 * 1024);
    let mut places = Vec::with_capacity(FLOOD);
    for _ in 0..FLOOD {
        let answer = app.publish_to(json!({"everyone": true}), "e", json!({ "filler": filler })).await;
        places.push(answer["sequence"].as_u64().expect("a place"));
    }
    places
}

/// What a client hears of a flood; and who left meanwhile, for on a slow disk that may be before its end.
async fn hear_the_flood(client: &mut Client) -> (Vec<u64>, Option<Value>) {
    let (mut seqs, mut left) = (Vec::with_capacity(FLOOD), None);
    while seqs.len() < FLOOD {
        let message = client.next().await;
        if message["type"] == "user_left" {
            assert_eq!(left.replace(message), None, "one left");
        } else {
            assert_eq!(message["type"], "system_notification", "{message}");
            seqs.push(message["seq"].as_u64().expect("a place"));
        }
    }
    (seqs, left)
}

// a lagging receiver is filled from the journal: everything, in order, once
#[tokio::test]
async fn a_reader_that_lags_and_reads_on_gets_everything() {
    let app = TestApp::start_with(|config| config.egress.send_queue_bytes = non_zero(4096)).await;
    let mut ana = app.connect("ana").await;
    let places = flood(&app).await;
    assert_eq!(ana.next_seqs(FLOOD).await, places);
    ana.expect_nothing_before(app.mark().await).await;
}

// wire-contract, Additions: what the journal no longer holds is told as `gap`
#[tokio::test]
async fn what_is_gone_when_a_lagging_reader_reads_on_is_stated_as_a_gap() {
    let app = TestApp::start_with(|config| {
        config.egress.send_queue_bytes = non_zero(4096);
        config.journal.max_entries = non_zero(10);
    })
    .await;
    let mut ana = app.connect("ana").await;
    let places = flood(&app).await;
    let mut covered = Vec::new();
    let mut gaps = 0;
    while covered.len() < places.len() {
        let message = ana.next().await;
        if message["type"] == "gap" {
            let (from, to) = (message["from"].as_u64().expect("from"), message["to"].as_u64().expect("to"));
            assert_eq!(message, json!({"type": "gap", "from": from, "to": to}));
            covered.extend(from..=to);
            gaps += 1;
        } else {
            covered.push(message["seq"].as_u64().expect("a place"));
        }
    }
    assert_eq!(covered, places);
    assert!(gaps > 0, "nothing was lost, so nothing was tested");
    ana.expect_nothing_before(app.mark().await).await;
}

// a reader that never reads is closed with 4101; the publisher and the others are undisturbed
#[tokio::test]
async fn a_reader_that_never_reads_is_closed() {
    let app = TestApp::start_with(|config| {
        config.egress.send_queue_bytes = non_zero(4096);
        config.egress.slow_timeout = Duration::from_secs(2);
        config.egress.ping_interval = Duration::from_secs(1);
    })
    .await;
    let mut luz = app.connect("luz").await;
    let mut slow = RawSocket::connect(app.http(), "slow").await;
    luz.next_of_type("user_joined").await;
    let (done, is_done) = oneshot::channel();
    let closed = async {
        // It reads when its time is over, and before the server hangs up.
        app.until_connected(1).await;
        let code = slow.close_code().await;
        done.send(()).expect("it is waited for");
        code
    };
    let hearing = async {
        let heard = hear_the_flood(&mut luz).await;
        luz.answer_pings_until(is_done).await.expect("it is told");
        heard
    };
    let (places, (received, left), code) = tokio::join!(flood(&app), hearing, closed);
    assert_eq!((received, code), (places, 4101));
    drop(slow);
    let left = match left {
        Some(left) => left,
        None => luz.next().await,
    };
    assert_eq!(timeless(left), user_left("slow", "general"));
    luz.expect_nothing_before(app.mark().await).await;
    app.until_connected(1).await;
}

// README, WebSocket: what is too much is answered with an error, and a client that goes on is closed with 4008
#[tokio::test]
async fn a_client_that_says_too_much_is_told_and_then_closed() {
    let app = TestApp::start_with(|config| config.egress.message_rate = "10/10s".parse().expect("a rate")).await;
    let mut luz = app.connect("luz").await;
    let mut ana = RawSocket::connect(app.http(), "ana").await;
    luz.next_of_type("user_joined").await;
    let ping = [&[0x81, 0x80 | 15, 0, 0, 0, 0], &br#"{"type":"ping"}"#[..]].concat();
    ana.write(&ping.repeat(1_000)).await;
    let mut answers = Vec::new();
    let code = loop {
        match ana.next().await {
            Frame::Text(text) => answers.push(serde_json::from_str::<serde_json::Value>(&text).expect("JSON")),
            Frame::Close(code) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, Some(4008));
    let count = |kind| answers.iter().filter(|answer| answer["type"] == kind).count();
    assert!(count("pong") >= 10 && count("error") >= 100, "{answers:?}");
    assert_eq!(count("pong") + count("error") + 1, answers.len(), "every message has its answer");
    drop(ana);
    assert_eq!(timeless(luz.next().await), user_left("ana", "general"));
    luz.expect_nothing_before(app.mark().await).await;
}

// half-open sockets are closed after a missed pong
#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_closed() {
    let app = TestApp::start_with(|config| config.egress.ping_interval = Duration::from_secs(1)).await;
    let mut luz = app.connect("luz").await;
    let mut silent = RawSocket::connect(app.http(), "silent").await;
    assert!(matches!(silent.next().await, Frame::Text(_)));
    // Whoever is to stay answers its pings all the while.
    let (first, ()) = tokio::join!(silent.next_or_ping(), luz.await_pings(4));
    assert_eq!(first, Frame::Ping);
    assert_eq!(silent.next().await, Frame::Close(Some(4101)));
    drop(silent);
    assert_eq!(timeless(luz.next().await), user_joined("silent", "general"));
    assert_eq!(timeless(luz.next().await), user_left("silent", "general"));
    luz.settle().await;
}

// what was said is relayed, also when whoever said it hung up right behind it
#[tokio::test]
async fn what_a_client_says_before_it_hangs_up_is_heard() {
    let app = TestApp::start().await;
    let mut bea = app.connect("bea?room=a").await;
    let mut ana = app.connect("ana?room=a").await;
    bea.next_of_type("user_joined").await;
    // More than is handled before others get their turn.
    for number in 0..40 {
        ana.send(json!({"type": "chat_message", "message": number.to_string()})).await;
    }
    ana.half_close().await;
    for number in 0..40 {
        assert_eq!(bea.next_of_type("chat_message").await["message"], number.to_string());
    }
    assert_eq!(bea.next_of_type("user_left").await["client_id"], "ana");
}

// a client that vanishes without a word is noticed
#[tokio::test]
async fn a_client_that_hangs_up_leaves() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let raw = RawSocket::connect(app.http(), "ana").await;
    luz.next_of_type("user_joined").await;
    drop(raw);
    assert_eq!(timeless(luz.next().await), user_left("ana", "general"));
}

// wire-contract, Additions: close codes: 1001, the server is going away
#[tokio::test]
async fn when_the_server_ends_clients_are_told_to_come_back() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let place = app.mark().await;
    let running = app.begin_shutdown();
    ana.expect_nothing_before(place).await;
    assert_eq!(ana.close_code().await, 1001);
    drop(ana);
    running.await.expect("no panic").expect("no failure");
}
