//! What is left out of a message, and what is of another type than one expects.

use serde_json::{Value, json};

use super::without_time;
use crate::support::{Client, TestApp};

/// Two clients in `general`, the first of which hears the second.
async fn two(app: &TestApp) -> (Client, Client) {
    let mut luz = app.connect("luz").await;
    let ana = app.connect("ana").await;
    luz.next_of_type("user_joined").await;
    (luz, ana)
}

fn heard(message: &str) -> String {
    format!(r#"{{"type":"chat_message","client_id":"ana","message":{message},"room":"general","timestamp":"T"}}"#)
}

// wire-contract, WebSocket: `{"type":"chat_message"}` without `message` is the same with `""`
#[tokio::test]
async fn chat_without_a_message_says_nothing() {
    let app = TestApp::start().await;
    let (mut luz, mut ana) = two(&app).await;
    for nothing in [r#"{"type":"chat_message"}"#, r#"{"type":"chat_message","message":""}"#] {
        ana.send_text(nothing).await;
        assert_eq!(without_time(&luz.next_text().await), heard(r#""""#), "{nothing}");
    }
    let marker = app.mark().await;
    ana.expect_nothing_before(marker).await;
    luz.expect_nothing_before(marker).await;
}

// wire-contract, WebSocket: `{"type":"join_room"}` without `room` is the same with `general`
#[tokio::test]
async fn joining_no_room_in_particular_is_going_to_general() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?room=tema_1").await;
    let moved = r#"{"type":"room_changed","message":"Te uniste a la sala general","room":"general","timestamp":"T"}"#;
    for _ in 0..2 {
        ana.send_text(r#"{"type":"join_room"}"#).await;
        assert_eq!(without_time(&ana.next_text().await), moved);
        assert_eq!(app.stats().await["rooms"], json!({"general": 1}));
    }
    for addition in ["subscribe", "unsubscribe"] {
        assert_eq!(ana.ask(json!({ "type": addition })).await["type"], "error", "{addition} never had a default");
    }
}

// wire-contract, WebSocket: a `message` that is not text is passed on as the JSON value that it is
#[tokio::test]
async fn a_message_that_is_not_text_is_passed_on_as_it_is() {
    let app = TestApp::start().await;
    let (mut luz, mut ana) = two(&app).await;
    let values = [
        "7",
        "-0.50",
        "1e2",
        "123456789012345678901234567890",
        "null",
        "true",
        "[]",
        r#"[1, [null], {"a": "\u00f1"}]"#,
        r#"{"z":1,"a":{"texto":"hola"},"z":2}"#,
    ];
    for value in values {
        ana.send_text(&format!(r#"{{"type":"chat_message","message":{value}}}"#)).await;
        assert_eq!(without_time(&luz.next_text().await), heard(value));
    }
    let spaced = format!(r#"{{"type":"chat_message","message": {} , "x":1}}"#, "{\n  \"a\": 1\n}");
    ana.send_text(&spaced).await;
    assert_eq!(without_time(&luz.next_text().await), heard("{\n  \"a\": 1\n}"));
    ana.expect_nothing_before(app.mark().await).await;
}

// what a client could not read is passed on to none
#[tokio::test]
async fn a_message_that_json_cannot_hold_reaches_nobody() {
    let app = TestApp::start().await;
    let (mut luz, mut ana) = two(&app).await;
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    for value in [r#""\ud800""#, r#"["\udc00"]"#, r#"{"\ud800":1}"#, "1e400", "[-1e400]", "NaN", &deep] {
        ana.send_text(&format!(r#"{{"type":"chat_message","message":{value}}}"#)).await;
        let answer: Value = ana.next().await;
        assert_eq!(answer["message"], "Formato de mensaje inválido. Debe ser JSON válido.", "{value}");
    }
    // One level less, and it can be passed on.
    let deepest = &deep[1..deep.len() - 1];
    ana.send_text(&format!(r#"{{"type":"chat_message","message":{deepest}}}"#)).await;
    assert_eq!(without_time(&luz.next_text().await), heard(deepest));
    luz.expect_nothing_before(app.mark().await).await;
}

// README, Messages: what a chat message says has at most `MAX_CHAT_BYTES`, text or not
#[tokio::test]
async fn a_long_value_is_as_long_as_a_long_text() {
    let app = TestApp::start().await;
    let (mut luz, mut ana) = two(&app).await;
    let longest = json!(["x".repeat(16 * 1024 - 4)]);
    ana.send(json!({"type": "chat_message", "message": longest})).await;
    assert_eq!(luz.next().await["message"], longest);
    let longer = json!(["x".repeat(16 * 1024 - 3)]);
    let refused = ana.ask(json!({"type": "chat_message", "message": longer})).await;
    assert_eq!(refused["message"], "El mensaje es demasiado largo: admite como máximo 16384 bytes");
    luz.expect_nothing_before(app.mark().await).await;
}
