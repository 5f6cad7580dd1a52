//! Each message over the WebSocket as it is written, byte for byte.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::without_time;
use crate::support::{Client, TestApp};

const NOT_JSON: &str =
    r#"{"type":"error","message":"Formato de mensaje inválido. Debe ser JSON válido.","timestamp":"T"}"#;
const NOT_AN_OBJECT: &str =
    r#"{"type":"error","message":"Formato de mensaje inválido. Debe ser un objeto JSON.","timestamp":"T"}"#;
const PONG: &str = r#"{"type":"pong","timestamp":"T"}"#;

/// Sends a text and gives the answer, which must be the next thing that comes, with `T` for its time.
async fn say(client: &mut Client, text: &str) -> String {
    client.send_text(text).await;
    without_time(&client.next_text().await)
}

#[tokio::test]
async fn each_message_is_as_the_original_wrote_it() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let mut ana = app.connect("ana").await;
    let joined = r#"{"type":"user_joined","message":"Usuario ana se unió a la sala","client_id":"ana","room":"general","timestamp":"T"}"#;
    assert_eq!(without_time(&luz.next_text().await), joined);
    assert_eq!(say(&mut ana, r#"{"type":"ping"}"#).await, PONG);
    ana.send_text(r#"{"type":"chat_message","message":"¡Hola a \"todos\"! 😀"}"#).await;
    let chat = r#"{"type":"chat_message","client_id":"ana","message":"¡Hola a \"todos\"! 😀","room":"general","timestamp":"T"}"#;
    assert_eq!(without_time(&luz.next_text().await), chat);
    let unknown = r#"{"type":"error","message":"Tipo de mensaje no reconocido: baile","timestamp":"T"}"#;
    assert_eq!(say(&mut ana, r#"{"type":"baile"}"#).await, unknown);
    let body = r#"{"event":"e","payload":{"b":1,"a":2},"timestamp":"ayer","source":"s"}"#;
    let answer = app.notify(body).await.json();
    let notification = format!(
        r#"{{"type":"system_notification","event":"e","payload":{{"b":1,"a":2}},"timestamp":"ayer","source":"s","id":{},"seq":1}}"#,
        answer["id"]
    );
    assert_eq!(ana.next_text().await, notification);
    let moved = r#"{"type":"room_changed","message":"Te uniste a la sala tema_1","room":"tema_1","timestamp":"T"}"#;
    assert_eq!(say(&mut ana, r#"{"type":"join_room","room":"tema_1"}"#).await, moved);
    assert_eq!(luz.next_text().await, notification);
    let mut eva = app.connect("eva?room=tema_1").await;
    ana.next_of_type("user_joined").await;
    eva.send(json!({"type": "chat_message", "message": "x"})).await;
    ana.next_of_type("chat_message").await;
    eva.close().await;
    let left = r#"{"type":"user_left","message":"Usuario eva salió de la sala","client_id":"eva","room":"tema_1","timestamp":"T"}"#;
    assert_eq!(without_time(&ana.next_text().await), left);
}

#[tokio::test]
async fn the_first_message_begins_as_the_original_wrote_it() {
    let app = TestApp::start().await;
    let ana = app.connect("ana?user_id=456&room=tema_1").await;
    let epoch = &ana.established["epoch"];
    let mut again = crate::support::open(app.http(), "luz?user_id=7&room=tema_1").await.expect("a connection");
    let first = crate::support::within("a message", futures_util::StreamExt::next(&mut again)).await;
    let first = first.expect("a message").expect("the connection is open");
    let expected = format!(
        r#"{{"type":"connection_established","message":"Conectado exitosamente como luz","room":"tema_1","timestamp":"T","client_id":"luz","user_id":"7","epoch":{epoch},"seq":0}}"#
    );
    assert_eq!(without_time(first.to_text().expect("text")), expected);
}

// a message of another kind than text is read like one; nothing is no JSON, however it comes
#[tokio::test]
async fn binary_and_empty_messages_are_answered() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let cases: [(Message, &str); 7] = [
        (Message::binary(br#"{"type":"ping"}"#.to_vec()), PONG),
        (Message::binary("{\"type\":\"ping\",\"ñ\":\"😀\"}".as_bytes().to_vec()), PONG),
        (Message::binary(vec![]), NOT_JSON),
        (Message::binary(vec![0xff, 0x00]), NOT_JSON),
        (Message::text(""), NOT_JSON),
        (Message::text(" "), NOT_JSON),
        (Message::binary(b"[]".to_vec()), NOT_AN_OBJECT),
    ];
    for (message, expected) in cases {
        ana.send_message(message.clone()).await;
        assert_eq!(without_time(&ana.next_text().await), expected, "{message:?}");
    }
}

// of a field that comes twice the last one counts, as in the bodies of publishers
#[tokio::test]
async fn of_a_field_that_comes_twice_the_last_counts() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    assert_eq!(say(&mut ana, r#"{"type":"baile","type":"ping"}"#).await, PONG);
    assert_eq!(say(&mut ana, r#"{"type":"baile","ty\u0070e":"ping","x":1,"x":2}"#).await, PONG);
    let moved = say(&mut ana, r#"{"room":"a","type":"join_room","room":"b"}"#).await;
    assert!(moved.contains(r#""room":"b""#), "{moved}");
}

// whatever is wrong is told, in these words, and the next message is heard
#[tokio::test]
async fn what_is_wrong_is_told_and_the_connection_stays() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let not_text = "El campo 'room' es obligatorio y debe ser texto.";
    let cases = [
        ("[1]", "Formato de mensaje inválido. Debe ser un objeto JSON."),
        (r#""ping""#, "Formato de mensaje inválido. Debe ser un objeto JSON."),
        ("null", "Formato de mensaje inválido. Debe ser un objeto JSON."),
        ("NaN", "Formato de mensaje inválido. Debe ser JSON válido."),
        (r#"{"type":"ping"}{"type":"ping"}"#, "Formato de mensaje inválido. Debe ser JSON válido."),
        (r#"{"type":"join_room","room":7}"#, not_text),
        (r#"{"type":"join_room","room":null}"#, not_text),
        (r#"{"type":"join_room","room":["a"]}"#, not_text),
        (r#"{"type":"chat_message","message":"x","room":7}"#, not_text),
        (r#"{"type":"chat_message","message":"x","room":"tema_1"}"#, "No estás en la sala tema_1"),
        (r#"{"type":"Ping"}"#, "Tipo de mensaje no reconocido: Ping"),
    ];
    for (wrong, told) in cases {
        let error = json!({"type": "error", "message": told, "timestamp": "T"});
        let answer = say(&mut ana, wrong).await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer).expect("JSON"), error, "{wrong}");
        super::assert_in_order(&answer, &["type", "message", "timestamp"]);
        assert_eq!(say(&mut ana, r#"{"type":"ping"}"#).await, PONG);
    }
    assert_eq!(app.stats().await["clients"][0]["room"], "general");
}
