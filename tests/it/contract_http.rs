//! The HTTP part of the wire contract, row by row.

use std::{convert::Infallible, num::NonZeroUsize, time::Duration};

use chrono::Utc;
use exposia_notifications::wire::json;
use futures_util::{future::join_all, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::support::{Answer, InHand, TOKEN, TestApp, assert_recent, eventually, exchange, send_then_read, timeless};

/// A body of `POST /notify` around the text of a payload.
fn body(payload: &str) -> String {
    format!(r#"{{"event":"e","payload":{payload}}}"#)
}

/// The text of the payload in the text of a notification.
fn payload_of(notification: &str) -> &str {
    let (_, rest) = notification.split_once(r#""payload":"#).expect("a payload");
    rest.split_once(r#","timestamp":"#).expect("a timestamp").0
}

// wire-contract, HTTP: `GET /`
#[tokio::test]
async fn the_index_names_the_service_and_its_endpoints() {
    let app = TestApp::start().await;
    let answer = app.get("/").await;
    assert_eq!(answer.status, 200);
    let index = timeless(answer.json());
    assert_eq!(index["service"], "ExposIA WebSocket Notifications");
    assert!(index["version"].is_string() && index["description"].is_string());
    let endpoints = &index["endpoints"];
    assert_eq!(endpoints["websocket"], "/ws/{client_id}");
    assert_eq!(endpoints["notify"], "POST /notify");
    assert_eq!(endpoints["stats"], "GET /stats");
    assert_eq!(endpoints["health"], "GET /health");
}

// wire-contract, HTTP: `GET /health`
#[tokio::test]
async fn health_says_healthy_and_counts_connections() {
    let app = TestApp::start().await;
    let _ana = app.connect("ana").await;
    let answer = app.get("/health").await;
    assert_eq!(answer.status, 200);
    let expected = json!({"status": "healthy", "service": "websocket-notifications", "connections": 1});
    assert_eq!(timeless(answer.json()), expected);
}

// wire-contract, HTTP: `POST /notify`, 200
#[tokio::test]
async fn notify_answers_what_was_sent_and_delivers_it() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let answer = app.notify(r#"{"event":"metrica.creada","payload":{"id":1}}"#).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer["success"], true);
    assert_eq!(answer["message"], "Notificación enviada exitosamente");
    assert_eq!(answer["event"], "metrica.creada");
    assert_recent(&answer["timestamp"]);
    assert_eq!((&answer["receivers"], &answer["duplicate"]), (&json!(1), &json!(false)));
    let notification = ana.next().await;
    assert_eq!(notification["event"], "metrica.creada");
    assert_eq!(notification["payload"], json!({"id": 1}));
    assert_eq!((&notification["seq"], &notification["id"]), (&answer["sequence"], &answer["id"]));
}

// wire-contract, HTTP: the token comes as `?token=`, as `Authorization: Bearer <token>` or as `X-Token`
#[tokio::test]
async fn the_token_comes_in_three_ways() {
    let app = TestApp::start().await;
    let request = |path| app.request(Method::POST, path).body(body("{}"));
    let ways = [
        request("/notify?token=dev"),
        request("/notify").header("authorization", "Bearer dev"),
        request("/notify").header("x-token", "dev"),
    ];
    for way in ways {
        assert_eq!(Answer::to(way).await.status, 200);
    }
}

// what is for one caller, or is of this moment, is in no cache; what is the same for all is asked for anew
#[tokio::test]
async fn no_cache_keeps_what_was_asked_for_with_a_token() {
    let app = TestApp::start().await;
    let get = |path: &str| app.request(Method::GET, path);
    let post = |path: &str| app.request(Method::POST, path).body(body("{}"));
    let cases = [
        (get("/history"), 200, "no-store"),
        (get("/history?room=a%00b"), 422, "no-store"),
        (get("/stats"), 200, "no-store"),
        (get("/health"), 200, "no-store"),
        (get("/"), 200, "no-store"),
        (get("/no/such/path"), 404, "no-store"),
        (post("/routes/explain").bearer_auth(TOKEN), 200, "no-store"),
        (post("/routes/explain"), 401, "no-store"),
        (post("/notify?token=dev"), 200, "no-store"),
        (get("/console"), 200, "no-cache"),
        (get("/console/client.js"), 200, "no-cache"),
        (get("/openapi.json"), 200, "no-cache"),
        (get("/console?token=dev"), 200, "no-store"),
        (get("/openapi.json").header("x-token", "wrong"), 200, "no-store"),
        (get("/console/client.js").header("cookie", "token=x"), 200, "no-store"),
    ];
    for (row, (request, status, expected)) in cases.into_iter().enumerate() {
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("cache-control")), (status, expected), "row {row}");
    }
}

// the console sends nothing to another origin, and tells none where it is
#[tokio::test]
async fn the_console_keeps_to_its_own_origin() {
    let app = TestApp::start().await;
    for path in ["/console", "/console/", "/console/client.js"] {
        let answer = app.get(path).await;
        let policy = answer.header("content-security-policy");
        let connects: Vec<_> =
            policy.split(';').map(str::trim).filter(|part| part.starts_with("connect-src")).collect();
        assert_eq!(connects, ["connect-src 'self'"], "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
    }
}

// wire-contract, HTTP: `POST /notify`, 401 for a missing or wrong token
#[tokio::test]
async fn without_the_token_nothing_is_published() {
    let app = TestApp::start().await;
    let request = |path| app.request(Method::POST, path).body(body("{}"));
    let ways = [
        request("/notify"),
        request("/notify?token=wrong"),
        request("/notify?token="),
        request("/notify?other=dev"),
        request("/notify").header("authorization", "Bearer wrong"),
        request("/notify").header("authorization", "dev"),
        request("/notify").header("authorization", "Basic dev"),
        request("/notify").header("x-token", "wrong"),
        request("/notify").header("x-token", ""),
        app.request(Method::POST, "/notify").body("not JSON"),
        app.request(Method::POST, "/routes/explain").body(body("{}")),
    ];
    for way in ways {
        assert_eq!(Answer::to(way).await.refused(401), "Token inválido");
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
}

/// Asserts that `body` is refused with 422 for the field at `path`.
async fn assert_field_refused(app: &TestApp, body: &Value, path: &[&str]) {
    let detail = app.notify(body.to_string()).await.refused(422);
    let location: Vec<_> = ["body"].iter().chain(path).collect();
    assert_eq!(detail[0]["loc"], json!(location), "{body}: {detail}");
    assert!(detail[0]["msg"].is_string() && detail[0]["type"].is_string(), "{detail}");
}

// wire-contract, HTTP: `POST /notify`, 422 for a missing field
#[tokio::test]
async fn a_missing_field_is_named() {
    let app = TestApp::start().await;
    assert_field_refused(&app, &json!({"payload": {}}), &["event"]).await;
    assert_field_refused(&app, &json!({"event": "e"}), &["payload"]).await;
    assert_field_refused(&app, &json!({"event": "", "payload": {}}), &["event"]).await;
}

// wire-contract, HTTP: `POST /notify`, 422 for a wrong type
#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let app = TestApp::start().await;
    for wrong in [json!(1), json!(null), json!(true), json!([]), json!({})] {
        assert_field_refused(&app, &json!({"event": wrong, "payload": {}}), &["event"]).await;
    }
    for wrong in [json!(1), json!(null), json!(true), json!([]), json!("{}")] {
        assert_field_refused(&app, &json!({"event": "e", "payload": wrong}), &["payload"]).await;
    }
    for wrong in [json!(1), json!(true), json!([]), json!({})] {
        assert_field_refused(&app, &json!({"event": "e", "payload": {}, "timestamp": wrong}), &["timestamp"]).await;
        assert_field_refused(&app, &json!({"event": "e", "payload": {}, "source": wrong}), &["source"]).await;
    }
    for wrong in [json!([]), json!(1), json!("e"), json!(null), json!(true)] {
        assert_field_refused(&app, &wrong, &[]).await;
    }
}

// wire-contract, HTTP: `POST /notify`, 422: texts are bounded
#[tokio::test]
async fn texts_of_more_than_256_characters_are_refused() {
    let app = TestApp::start().await;
    let (longest, longer) = ("ñ".repeat(256), "ñ".repeat(257));
    let at = |field: &str, text: &str| {
        let mut body = json!({"event": "e", "payload": {}});
        body[field] = text.into();
        body
    };
    for field in ["event", "source", "timestamp"] {
        assert_eq!(app.notify(at(field, &longest).to_string()).await.status, 200, "{field}");
        assert_field_refused(&app, &at(field, &longer), &[field]).await;
    }
}

// wire-contract, HTTP: `POST /notify`, 400 for a body that is not JSON; NaN, Infinity, lone surrogates and numbers that JSON
// cannot hold are refused
#[tokio::test]
async fn what_is_not_json_is_refused() {
    let app = TestApp::start().await;
    let mut bodies: Vec<Vec<u8>> = ["", "hola", "{", r#"{"event":"e","payload":{}} x"#, "event=e", "{'event':'e'}"]
        .map(|text| text.as_bytes().to_vec())
        .into();
    for value in ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", r#""\ud800""#, r#""\udc00x""#, "01", "+1", "1."] {
        bodies.push(body(&format!(r#"{{"a":[{value}]}}"#)).into());
    }
    bodies.push(br#"{"event":"\ud800","payload":{}}"#.to_vec());
    bodies.push(br#"{"event":"e","payload":{"\udfff":1}}"#.to_vec());
    bodies.push(b"{\"event\":\"e\",\"payload\":{\"a\":\"\xff\xfe\"}}".to_vec());
    bodies.push(b"{\"event\":\"e\xc3\",\"payload\":{}}".to_vec());
    bodies.push(b"{\"event\":\"e\",\"payload\":{\"a\":\"\n\"}}".to_vec());
    bodies.push(format!(r#"{{"ignored":NaN,{}"#, &body("{}")[1..]).into());
    for bad in bodies {
        let shown = String::from_utf8_lossy(&bad).into_owned();
        let detail = app.notify(bad).await.refused(400);
        assert!(detail.is_string(), "{shown}: {detail}");
    }
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
}

// wire-contract, HTTP: `POST /notify`, 400: nesting is bounded
#[tokio::test]
async fn deep_nesting_is_refused_and_usual_nesting_is_not() {
    let app = TestApp::start().await;
    let nested = |depth: usize| body(&format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(app.notify(nested(100)).await.status, 200);
    app.notify(nested(200)).await.refused(400);
    app.notify(nested(100_000)).await.refused(400);
    app.notify(body(&r#"{"a":"#.repeat(50_000))).await.refused(400);
    assert_eq!(app.get("/health").await.status, 200);
}

/// A body that does not say how long it is.
fn chunked(text: &str) -> reqwest::Body {
    let chunks: Vec<_> = text.as_bytes().chunks(64 * 1024).map(bytes::Bytes::copy_from_slice).collect();
    let frames = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    reqwest::Body::wrap(StreamBody::new(stream::iter(frames)))
}

// wire-contract, HTTP: `POST /notify`, 413; the default limit is 1 MiB
#[tokio::test]
async fn a_body_of_1_mib_is_accepted_and_one_byte_more_is_not() {
    let app = TestApp::start().await;
    let of_size = |size: usize| {
        let empty = body(r#"{"a":""}"#).len();
        body(&format!(r#"{{"a":"{}"}}"#, "x".repeat(size - empty)))
    };
    assert_eq!(app.notify(of_size(1024 * 1024)).await.status, 200);
    app.notify(of_size(1024 * 1024 + 1)).await.refused(413);
    assert_eq!(app.notify(chunked(&of_size(1024 * 1024))).await.status, 200);
    app.notify(chunked(&of_size(1024 * 1024 + 1))).await.refused(413);
}

// wire-contract, HTTP: `POST /notify`, 413, also to a client that reads no answer before it has sent everything
#[tokio::test]
async fn a_client_that_sends_far_too_much_still_reads_413() {
    let app = TestApp::start().await;
    let size = 4 * 1024 * 1024;
    let head = format!(
        "POST /notify HTTP/1.1\r\nHost: x\r\nX-Token: {TOKEN}\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    );
    let answer = send_then_read(app.http(), (head + &"x".repeat(size)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(r#"{"detail":"#), "{answer}");
}

// wire-contract, HTTP: `POST /test-notification`
#[tokio::test]
async fn the_test_notification_is_published() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let answer = Answer::to(app.request(Method::POST, "/test-notification")).await;
    assert_eq!(answer.status, 200);
    let expected = json!({"success": true, "message": "Notificación de prueba enviada", "connections": 1});
    assert_eq!(answer.json(), expected);
    let notification = ana.next().await;
    assert_eq!(notification["event"], "test.notification");
    assert_eq!(notification["source"], "test-endpoint");
    let expected = json!({"message": "Esta es una notificación de prueba", "test": true});
    assert_eq!(timeless(notification["payload"].clone()), expected);
    assert_recent(&notification["timestamp"]);
}

// wire-contract, HTTP: `GET /stats`
#[tokio::test]
async fn stats_show_connections_rooms_clients_and_the_last_ten() {
    let app = TestApp::start().await;
    let _ana = app.connect("ana?user_id=456&room=tema_1&rooms=admin").await;
    let _luz = app.connect("luz").await;
    for number in 1..=12 {
        app.publish("metrica.creada", json!({"n": number})).await;
    }
    let stats = app.stats().await;
    assert_eq!(stats["total_connections"], 2);
    assert_eq!(stats["rooms"], json!({"admin": 1, "general": 1, "tema_1": 1}));
    let clients = stats["clients"].as_array().expect("a list");
    let ana = clients.iter().find(|client| client["client_id"] == "ana").expect("ana");
    assert_eq!((&ana["user_id"], &ana["room"]), (&json!("456"), &json!("tema_1")));
    assert_recent(&ana["connected_at"]);
    let luz = clients.iter().find(|client| client["client_id"] == "luz").expect("luz");
    assert_eq!((&luz["user_id"], &luz["room"]), (&Value::Null, &json!("general")));
    let recent = stats["recent_notifications"].as_array().expect("a list");
    let numbers: Vec<_> = recent.iter().map(|notification| notification["payload"]["n"].clone()).collect();
    assert_eq!(json!(numbers), json!([3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    assert_eq!(stats["total_notifications_sent"], 12);
}

// wire-contract, Routing: rooms appear on first use and go with their last member
#[tokio::test]
async fn rooms_come_and_go_with_their_members() {
    let app = TestApp::start().await;
    assert_eq!(app.stats().await["rooms"], json!({"general": 0}));
    let ana = app.connect("ana?room=admin").await;
    assert_eq!(app.stats().await["rooms"], json!({"admin": 1, "general": 0}));
    ana.close().await;
    app.until_connected(0).await;
    assert_eq!(app.stats().await["rooms"], json!({"general": 0}));
}

// wire-contract, HTTP: `GET /history`
#[tokio::test]
async fn history_shows_the_last_hundred_oldest_first() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/history").await.json(), json!({"history": [], "total": 0}));
    for number in 1..=103 {
        app.publish("metrica.creada", json!({"n": number})).await;
    }
    let answer = app.get("/history").await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let history = answer["history"].as_array().expect("a list");
    let numbers: Vec<_> = history.iter().map(|entry| entry["payload"]["n"].as_u64().expect("n")).collect();
    assert_eq!(numbers, (4..=103).collect::<Vec<_>>());
    assert_eq!(answer["total"], 100);
    assert_eq!(history[0]["type"], "system_notification");
}

// wire-contract, HTTP: CORS is open in development (any origin, method and header; pre-flight answered)
#[tokio::test]
async fn a_browser_of_any_origin_may_publish_in_development() {
    let app = TestApp::start().await;
    let wanted = "authorization,content-type,x-token,idempotency-key";
    let preflight = app
        .request(Method::OPTIONS, "/notify")
        .header("origin", "http://example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", wanted);
    let answer = Answer::to(preflight).await;
    assert!((200..300).contains(&answer.status), "{}", answer.status);
    assert!(["*", "http://example.com"].contains(&answer.header("access-control-allow-origin")));
    assert!(["*", "POST"].iter().any(|method| answer.header("access-control-allow-methods").contains(method)));
    // Fetch, 4.8: `*` does not cover `Authorization`; it must be named.
    let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
    assert!(allowed.contains("authorization"), "a browser would not send Authorization: {allowed}");
    assert!(allowed.contains('*') || wanted.split(',').all(|name| allowed.contains(name)), "{allowed}");

    let request = app.request(Method::POST, "/notify").bearer_auth(TOKEN).header("origin", "http://example.com");
    let answer = Answer::to(request.body(body("{}"))).await;
    assert_eq!(answer.status, 200);
    assert!(["*", "http://example.com"].contains(&answer.header("access-control-allow-origin")));
    let refused = Answer::to(app.request(Method::POST, "/notify").header("origin", "http://example.com")).await;
    assert_eq!(refused.status, 401);
    assert!(["*", "http://example.com"].contains(&refused.header("access-control-allow-origin")));
    // The original, as every CORS middleware of its framework, says nothing of it to whoever is no page.
    let answer = app.notify(body("{}")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin"), answer.header("vary")), (200, "", ""));
}

// wire-contract, HTTP: timestamps are written in RFC 3339, UTC, with `Z`; `source` defaults to "unknown"
#[tokio::test]
async fn what_the_publisher_left_out_the_server_adds() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    for body in
        [json!({"event": "e", "payload": {}}), json!({"event": "e", "payload": {}, "timestamp": null, "source": null})]
    {
        assert_eq!(app.notify(body.to_string()).await.status, 200);
        let notification = ana.next().await;
        assert_recent(&notification["timestamp"]);
        assert_eq!(notification["source"], "unknown");
    }
}

// wire-contract, HTTP: a `timestamp` or `source` that the publisher gave at the top level is passed on untouched
#[tokio::test]
async fn timestamp_and_source_are_passed_on_untouched() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    for timestamp in ["2025-01-09T10:30:00", "2025-01-09T10:30:00.123456-05:00", "ayer", " "] {
        let body = json!({"event": "e", "payload": {}, "timestamp": timestamp, "source": "presentaciones \"ñ\" 😀"});
        assert_eq!(app.notify(body.to_string()).await.status, 200);
        let notification = ana.next().await;
        assert_eq!(notification["timestamp"], timestamp);
        assert_eq!(notification["source"], "presentaciones \"ñ\" 😀");
    }
}

// wire-contract, HTTP: a payload reaches subscribers as the publisher wrote it: key order, integers beyond 2^53, floats,
// `null`, nesting, Unicode; numbers keep their digits, also beyond 64 bits
#[tokio::test]
async fn a_payload_arrives_byte_for_byte() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let payloads = [
        r#"{"z":1,"a":2,"m":{"y":1,"b":2}}"#,
        r#"{"n":9007199254740993,"m":-9223372036854775809}"#,
        r#"{"n":123456789012345678901234567890123456789012345678901234567890}"#,
        r#"{"f":1.50,"g":1e2,"h":-0,"i":-0.0,"j":0.1e-7,"k":1E+5,"l":3.141592653589793238462643383279}"#,
        r#"{"n":null,"t":true,"f":false,"s":"","l":[],"o":{}}"#,
        r#"{"deep":{"a":[{"b":[[[{"c":null}]]]}]}}"#,
        r#"{"ñ":"áéíóú 漢字 😀 العربية","\u00f1":"\u00e1 \ud83d\ude00 \/ \b\f\n\r\t\"\\"}"#,
        "{ \"a\" : [ 1 ,\t2 ],\r\n \"b\" : { } }",
        r#"{"a":1,"a":2}"#,
        "{}",
    ];
    for payload in payloads {
        assert_eq!(app.notify(body(payload)).await.status, 200, "{payload}");
        assert_eq!(payload_of(&ana.next_text().await), payload);
    }
    let history = app.get("/history").await;
    payloads.iter().for_each(|payload| assert!(history.text().contains(payload), "{payload}"));
}

// wire-contract, HTTP: compatible means additive: unknown fields are passed over
#[tokio::test]
async fn unknown_fields_are_ignored() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let text = r#"{"version":2,"event":"e","extra":{"event":"x","payload":[1]},"payload":{"a":1},"tags":["x"]}"#;
    assert_eq!(app.notify(text).await.status, 200);
    let text = ana.next_text().await;
    assert_eq!(payload_of(&text), r#"{"a":1}"#);
    assert!(!text.contains("extra") && !text.contains("tags"), "{text}");
}

// errors are JSON `{detail}` everywhere, also for 404 and 405
#[tokio::test]
async fn what_does_not_exist_is_answered_in_json() {
    let app = TestApp::start().await;
    for path in ["/nothing", "/ws", "/ws/", "/console/nothing", "/console/../Cargo.toml", "/%00"] {
        app.get(path).await.refused(404);
    }
    for path in ["/ws/%FF", "/console/%FF"] {
        let answer = app.get(path).await;
        assert!((400..500).contains(&answer.status));
        answer.refused(answer.status);
    }
    app.get("/notify").await.refused(405);
    for (method, path) in [(Method::POST, "/health"), (Method::DELETE, "/notify"), (Method::PUT, "/ws/ana")] {
        let answer = Answer::to(app.request(method, path)).await;
        answer.refused(405);
        assert!(!answer.header("allow").is_empty(), "405 names what is allowed");
    }
}

// a request head has a limit (wire-contract, HTTP: 64 KiB)
#[tokio::test]
async fn a_giant_head_is_refused_and_a_large_one_is_not() {
    let app = TestApp::start().await;
    let with_header = |size: usize| app.request(Method::GET, "/health").header("x-filler", "x".repeat(size));
    assert_eq!(Answer::to(with_header(60 * 1024)).await.status, 200);
    let request = format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Filler: {}\r\n\r\n", "x".repeat(128 * 1024));
    let answer = exchange(app.http(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(app.get("/health").await.status, 200);
}

// malformed HTTP gets a clear answer
#[tokio::test]
async fn malformed_http_is_refused() {
    let app = TestApp::start().await;
    for request in [
        "hola\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ] {
        let answer = exchange(app.http(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    assert_eq!(app.get("/health").await.status, 200);
}

// a slow handshake is ended
#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let app = TestApp::start_with(|config| config.listen.handshake_timeout = Duration::from_millis(50)).await;
    // The answer is whatever the server says when it hangs up; it does not keep the connection.
    let answer = exchange(app.http(), b"GET /health HTTP/1.1\r\nHost:").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

// HTTP connections have a limit
#[tokio::test]
async fn one_connection_too_many_gets_503() {
    let app = TestApp::start_with(|config| {
        config.listen.max_http_connections = NonZeroUsize::MIN;
    })
    .await;
    // The only one that may be open is busy.
    let busy = InHand::begin(app.http()).await;
    let answer = exchange(app.http(), b"").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: "), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(serde_json::from_str::<Value>(body).expect("JSON")["detail"].is_string());
    drop(busy);
}

// wire-contract, gRPC: `POST /notify` takes the same target; it replaces the rules
#[tokio::test]
async fn a_target_replaces_the_rules() {
    let app = TestApp::start().await;
    let mut user = app.connect("a?room=x&user_id=456").await;
    let mut admin = app.connect("b?room=admin").await;
    let mut other = app.connect("c?room=y&user_id=45").await;
    let target = json!({"users": ["456"], "rooms": ["admin"], "everyone": false});
    let answer = app.publish_to(target, "presentacion.creada", json!({})).await;
    assert_eq!(answer["receivers"], 2);
    assert_eq!(user.next().await["seq"], answer["sequence"]);
    assert_eq!(admin.next().await["seq"], answer["sequence"]);
    let marker = app.mark().await;
    for client in [&mut user, &mut admin, &mut other] {
        client.expect_nothing_before(marker).await;
    }
}

// wire-contract, gRPC: a bad target is refused, and the field is named
#[tokio::test]
async fn a_bad_target_is_refused() {
    let app = TestApp::start().await;
    let cases = [
        (json!([]), vec!["target"]),
        (json!("admin"), vec!["target"]),
        (json!({}), vec!["target"]),
        (json!({"everyone": false}), vec!["target"]),
        (json!({"users": "456"}), vec!["target"]),
        (json!({"users": [456]}), vec!["target"]),
        (json!({"everyone": 1}), vec!["target"]),
        (json!({"users": [""]}), vec!["target", "users"]),
        (json!({"rooms": ["a\nb"]}), vec!["target", "rooms"]),
        (json!({"rooms": vec!["x"; 101]}), vec!["target", "rooms"]),
    ];
    for (target, path) in cases {
        assert_field_refused(&app, &json!({"event": "e", "payload": {}, "target": target}), &path).await;
    }
    let without = json!({"event": "e", "payload": {}, "target": null});
    assert_eq!(app.notify(without.to_string()).await.status, 200);
}

/// A publish under an idempotency key.
async fn publish_under(app: &TestApp, key: &str, payload: &str) -> Answer {
    let request = app.request(Method::POST, "/notify").bearer_auth(TOKEN).header("idempotency-key", key);
    Answer::to(request.header(CONTENT_TYPE, "application/json").body(body(payload))).await
}

// a key seen before answers the whole first result with `duplicate`, and delivers nothing
#[tokio::test]
async fn a_retry_under_its_key_is_answered_and_not_delivered() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let first = publish_under(&app, "k1", r#"{"a":1}"#).await.json();
    assert_recent(&first["timestamp"]);
    let later = async || (json::timestamp(Utc::now()).as_str() > first["timestamp"].as_str()?).then_some(());
    eventually("another millisecond", later).await;
    let retry = publish_under(&app, "k1", r#"{"a":1}"#).await.json();
    let mut expected = first.clone();
    (expected["duplicate"], expected["receivers"]) = (json!(true), json!(0));
    assert_eq!((&first["duplicate"], &first["receivers"]), (&json!(false), &json!(1)));
    assert!(first["durability"].is_string(), "{first}");
    assert_eq!(retry, expected);
    assert_eq!(ana.next().await["seq"], first["sequence"]);
    ana.expect_nothing_before(app.mark().await).await;
}

// idempotency holds under concurrent duplicates
#[tokio::test]
async fn concurrent_duplicates_are_delivered_once() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    for round in 0..10 {
        let key = format!("k{round}");
        let answers = join_all((0..20).map(|_| publish_under(&app, &key, "{}"))).await;
        let answers: Vec<Value> = answers.iter().map(Answer::json).collect();
        assert_eq!(answers.iter().filter(|answer| answer["duplicate"] == false).count(), 1);
        assert!(answers.iter().all(|answer| answer["id"] == answers[0]["id"]));
        assert_eq!(ana.next().await["seq"], answers[0]["sequence"]);
    }
    ana.expect_nothing_before(app.mark().await).await;
}

// the same key with another content is refused
#[tokio::test]
async fn a_key_used_for_another_content_is_a_conflict() {
    let app = TestApp::start().await;
    assert_eq!(publish_under(&app, "k", r#"{"a":1}"#).await.status, 200);
    publish_under(&app, "k", r#"{"a":2}"#).await.refused(409);
    assert_eq!(publish_under(&app, "", "{}").await.json()["duplicate"], false);
    assert_eq!(publish_under(&app, "", "{}").await.json()["duplicate"], false);
    publish_under(&app, &"k".repeat(257), "{}").await.refused(422);
    publish_under(&app, "ñ", "{}").await.refused(422);
    assert_eq!(app.stats().await["total_notifications_sent"], 3);
}

// an OpenAPI 3.1 document
#[tokio::test]
async fn the_interface_describes_itself() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    for path in ["/", "/health", "/notify", "/test-notification", "/stats", "/history", "/routes/explain"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(app.get("/console").await.status, 200);
}

// a body may begin with a byte order mark, as some editors and platforms write it
#[tokio::test]
async fn a_byte_order_mark_is_passed_over() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    let body = format!("\u{feff}{}", body(r#"{"a":1}"#));
    let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(TOKEN).body(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(payload_of(&ana.next_text().await), r#"{"a":1}"#);
}

// whoever mistypes a field that decides who gets an event is told, and other unknown fields are ignored
#[tokio::test]
async fn a_mistyped_field_is_told() {
    let app = TestApp::start().await;
    for (typed, meant) in [("targt", "target"), ("durabilty", "durability"), ("ttll", "ttl")] {
        let body = json!({ "event": "e", "payload": {}, (typed): { "users": ["7"] } });
        let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(TOKEN).body(body.to_string())).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        let fault = &answer.json()["detail"][0];
        assert_eq!(fault["loc"], json!(["body", typed]));
        assert_eq!(fault["msg"], format!("there is no such field; `{meant}` may be meant"));
    }
    let body = json!({ "event": "e", "payload": {}, "ttl": 5, "ttll": 1, "targt": { "users": ["7"] } });
    let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(TOKEN).body(body.to_string())).await;
    assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", "targt"]));
    let body =
        json!({ "event": "e", "payload": {}, "targt": 1, "target": { "users": ["7"] }, "tema": 2, "tel": "600" });
    let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(TOKEN).body(body.to_string())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

// of two keys nobody knows which one is meant
#[tokio::test]
async fn an_idempotency_key_comes_once() {
    let app = TestApp::start().await;
    let request = app.request(Method::POST, "/notify").bearer_auth(TOKEN).body(body("{}"));
    let answer = Answer::to(request.header("idempotency-key", "a").header("idempotency-key", "b")).await;
    assert_eq!(answer.refused(400), "the header Idempotency-Key must come once");
}
