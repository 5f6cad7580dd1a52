//! Answers over HTTP: the fields that the original had come in its order, with its texts.

use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_in_order, without_time};
use crate::support::{Answer, TestApp, assert_recent};

// wire-contract, HTTP: every answer
#[tokio::test]
async fn the_fields_of_each_answer_come_in_the_order_of_the_original() {
    let app = TestApp::start().await;
    let _ana = app.connect("ana?user_id=456").await;
    let notified = app.notify(r#"{"event":"e","payload":{}}"#).await;
    let tested = Answer::to(app.request(Method::POST, "/test-notification")).await;
    let answers = [
        (
            app.get("/").await,
            &["service", "version", "description", "endpoints", "websocket", "notify", "stats", "health", "timestamp"]
                [..],
        ),
        (app.get("/health").await, &["status", "service", "timestamp", "connections"]),
        (notified, &["success", "message", "event", "timestamp"]),
        (tested, &["success", "message", "connections"]),
        (
            app.get("/stats").await,
            &[
                "total_connections",
                "rooms",
                "clients",
                "client_id",
                "user_id",
                "room",
                "connected_at",
                "recent_notifications",
                "type",
                "event",
                "payload",
                "timestamp",
                "source",
                "total_notifications_sent",
            ],
        ),
        (app.get("/history").await, &["history", "type", "event", "payload", "timestamp", "source", "total"]),
    ];
    for (answer, fields) in &answers {
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text());
        assert_in_order(answer.text(), fields);
    }
}

// wire-contract, HTTP: `GET /`, to the letter
#[tokio::test]
async fn the_index_describes_the_service_in_the_words_of_the_original() {
    let app = TestApp::start().await;
    let index = app.get("/").await.json();
    assert_eq!(index["description"], "Servicio de notificaciones en tiempo real");
    let described: Value = app.get("/openapi.json").await.json();
    let example = &described["paths"]["/"]["get"]["responses"]["200"]["content"]["application/json"]["example"];
    assert_eq!(example["description"], index["description"]);
}

// wire-contract, HTTP: `GET /health` and the answer of `POST /notify`, byte for byte as far as the original wrote them
#[tokio::test]
async fn short_answers_begin_as_the_original_wrote_them() {
    let app = TestApp::start().await;
    let health = without_time(app.get("/health").await.text());
    assert_eq!(health, r#"{"status":"healthy","service":"websocket-notifications","timestamp":"T","connections":0}"#);
    let notified = without_time(app.notify(r#"{"event":"a.\"b\"","payload":{}}"#).await.text());
    let expected = r#"{"success":true,"message":"Notificación enviada exitosamente","event":"a.\"b\"","timestamp":"T""#;
    assert!(notified.starts_with(expected), "{notified}");
    let tested = Answer::to(app.request(Method::POST, "/test-notification")).await;
    assert_eq!(tested.text(), r#"{"success":true,"message":"Notificación de prueba enviada","connections":0}"#);
    let refused = Answer::to(app.request(Method::POST, "/notify?token=otro").body("{}")).await;
    assert_eq!((refused.status, refused.text()), (401, r#"{"detail":"Token inválido"}"#));
}

// wire-contract, HTTP: the payload of `POST /test-notification` has its keys in the order `message`, `timestamp`, `test`
#[tokio::test]
async fn the_test_notification_is_written_as_the_original_wrote_it() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    assert_eq!(Answer::to(app.request(Method::POST, "/test-notification")).await.status, 200);
    let text = ana.next_text().await;
    let expected = concat!(
        r#"{"type":"system_notification","event":"test.notification","#,
        r#""payload":{"message":"Esta es una notificación de prueba","timestamp":"T","test":true},"timestamp":""#
    );
    assert!(without_time(&text).starts_with(expected), "{text}");
    let notification: Value = serde_json::from_str(&text).expect("JSON");
    assert_recent(&notification["timestamp"]);
    assert_eq!(notification["source"], "test-endpoint");
}

// wire-contract, HTTP: a `timestamp` or `source` of `""` counts as absent
#[tokio::test]
async fn an_empty_timestamp_or_source_counts_as_absent() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    for durability in ["fsync", "ephemeral"] {
        let body = json!({"event": "e", "payload": {}, "timestamp": "", "source": "", "durability": durability});
        assert_eq!(app.notify(body.to_string()).await.status, 200);
        let notification = ana.next().await;
        assert_recent(&notification["timestamp"]);
        assert_eq!(notification["source"], "unknown");
    }
    let body = json!({"event": "e", "payload": {"timestamp": "", "source": ""}, "timestamp": " ", "source": " "});
    assert_eq!(app.notify(body.to_string()).await.status, 200);
    let notification = ana.next().await;
    assert_eq!((&notification["timestamp"], &notification["source"]), (&json!(" "), &json!(" ")));
    assert_eq!(notification["payload"], json!({"timestamp": "", "source": ""}));
    let kept = app.get("/history").await.json();
    assert_recent(&kept["history"][0]["timestamp"]);
    assert_eq!(kept["history"][0]["source"], "unknown");
}

// the requests of the original's README, as its languages write them
#[tokio::test]
async fn the_publishers_of_the_original_are_understood() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?user_id=456&room=tema_1").await;
    let event =
        json!({"event": "presentacion.creada", "payload": {"id": 123, "titulo": "Mi Presentación", "usuarioId": 456}});
    let post =
        |path: &str, kind: &str| app.request(Method::POST, path).header("content-type", kind).body(event.to_string());
    let ways = [
        post("/notify?token=dev", "application/json"),
        // axios, requests and RestTemplate
        post("/notify?token=dev", "application/json").header("accept", "application/json, text/plain, */*"),
        post("/notify?token=dev", "application/json;charset=UTF-8").header("accept", "text/plain, */*"),
        // Laravel's `Http::withToken`
        post("/notify", "application/json").bearer_auth("dev"),
    ];
    for way in ways {
        assert_eq!(Answer::to(way).await.status, 200);
        let notification = ana.next().await;
        assert_eq!((&notification["event"], &notification["payload"]), (&event["event"], &event["payload"]));
    }
}

// the events that the README of the original lists go where it says
#[tokio::test]
async fn the_events_of_the_original_go_where_its_readme_says() {
    let app = TestApp::start().await;
    let mut user = app.connect("usuario?user_id=456&room=privada").await;
    let mut topic = app.connect("tema?room=tema_7").await;
    let mut general = app.connect("general").await;
    for (event, payload, [to_user, to_topic, to_general]) in [
        ("presentacion.creada", json!({"temaId": 7, "usuarioId": 456}), [true, true, true]),
        ("presentacion.eliminada", json!({"temaId": 7, "usuarioId": 456}), [false, true, false]),
        ("grabacion.creada", json!({}), [true, true, true]),
        ("feedback.creado", json!({"usuarioId": 456}), [true, true, true]),
        ("metrica.creada", json!({}), [false, false, true]),
        ("calificacion.creada", json!({"temaId": 7}), [true, true, true]),
        ("calificacion.ia.aplicada", json!({"usuarioId": 456}), [false, false, true]),
        ("user.456.logro", json!({"temaId": 7}), [true, false, false]),
        ("user.logro", json!({"usuarioId": "456"}), [true, false, false]),
    ] {
        let seq = app.publish(event, payload).await["sequence"].as_u64().expect("a place");
        let marker = app.mark().await;
        for (client, receives) in [(&mut user, to_user), (&mut topic, to_topic), (&mut general, to_general)] {
            if receives {
                client.expect_nothing_before(seq).await;
            }
            client.expect_nothing_before(marker).await;
        }
    }
}
