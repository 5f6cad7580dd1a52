//! The routing part of the wire contract: each rule over the wire, another table, and explanations.

use exposia_notifications::{
    app::App,
    config::Config,
    wire::proto::v1::{self, explain_route_request::Body},
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic_types::StatusExt;

use super::support::{Answer, Client, TOKEN, TestApp, scratch};

/// Clients of every kind: of a user, in a room, in `general`.
struct Audience {
    app: TestApp,
    clients: Vec<(&'static str, Client)>,
}

impl Audience {
    async fn gather() -> Self {
        let app = TestApp::start().await;
        let mut clients = Vec::new();
        for (name, address) in [
            ("user 456", "a?user_id=456&room=x1"),
            ("user 123", "b?user_id=123&room=x2"),
            ("tema_7", "c?room=tema_7"),
            ("general", "d"),
            ("elsewhere", "e?room=x3&user_id=general"),
        ] {
            clients.push((name, app.connect(address).await));
        }
        Self { app, clients }
    }

    /// Publishes the event and asserts that exactly these receive it.
    async fn assert_received_by(&mut self, event: &str, payload: &str, expected: &[&str]) {
        let body = format!(r#"{{"event":{},"payload":{payload}}}"#, json!(event));
        let answer = self.app.notify(body).await;
        assert_eq!(answer.status, 200, "{event} {payload}: {}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["receivers"], expected.len(), "{event} {payload}");
        let place = answer["sequence"].as_u64().expect("a place");
        let marker = self.app.mark().await;
        for (name, client) in &mut self.clients {
            if expected.contains(name) {
                client.expect_nothing_before(place).await;
            }
            client.expect_nothing_before(marker).await;
        }
    }
}

const EVERYONE: &[&str] = &["user 456", "user 123", "tema_7", "general", "elsewhere"];

// wire-contract, Routing 1: `user.` goes to the connections of that user: `payload.usuarioId`, number or string
#[tokio::test]
async fn user_events_go_to_the_user_of_the_payload() {
    let mut audience = Audience::gather().await;
    audience.assert_received_by("user.logro", r#"{"usuarioId":456}"#, &["user 456"]).await;
    audience.assert_received_by("user.logro", r#"{"usuarioId":"456","temaId":7}"#, &["user 456"]).await;
    audience.assert_received_by("user.123.logro", r#"{"usuarioId":456}"#, &["user 456"]).await;
    audience.assert_received_by("user.logro", r#"{"usuarioId":999}"#, &[]).await;
    audience.assert_received_by("user.logro", r#"{"usuarioId":"general"}"#, &["elsewhere"]).await;
}

// wire-contract, Routing 1: without `usuarioId`, the second segment; null or another type counts as absent
#[tokio::test]
async fn user_events_go_to_the_user_of_the_second_segment() {
    let mut audience = Audience::gather().await;
    audience.assert_received_by("user.123.logro", "{}", &["user 123"]).await;
    audience.assert_received_by("user.123.logro.nuevo", r#"{"temaId":7}"#, &["user 123"]).await;
    for usuario in ["null", "true", "[456]", r#"{"id":456}"#] {
        let payload = format!(r#"{{"usuarioId":{usuario}}}"#);
        audience.assert_received_by("user.123.logro", &payload, &["user 123"]).await;
    }
}

// wire-contract, Routing 1: `user.{evento}` with neither goes on to the next rules
#[tokio::test]
async fn user_events_without_a_user_go_on() {
    let mut audience = Audience::gather().await;
    audience.assert_received_by("user.123", "{}", &["general"]).await;
    audience.assert_received_by("user.logro", r#"{"usuarioId":null}"#, &["general"]).await;
    audience.assert_received_by("user.logro", r#"{"temaId":7}"#, &["tema_7"]).await;
    audience.assert_received_by("usuario.logro", r#"{"usuarioId":456}"#, &["general"]).await;
}

// wire-contract, Routing 2: four events go to everyone
#[tokio::test]
async fn four_events_go_to_everyone() {
    let mut audience = Audience::gather().await;
    for event in ["presentacion.creada", "grabacion.creada", "calificacion.creada", "feedback.creado"] {
        audience.assert_received_by(event, r#"{"usuarioId":456,"temaId":7}"#, EVERYONE).await;
    }
    audience.assert_received_by("presentacion.creada.x", "{}", &["general"]).await;
    audience.assert_received_by("Presentacion.creada", "{}", &["general"]).await;
}

// wire-contract, Routing 3: `payload.temaId` is present: room `tema_{temaId}`
#[tokio::test]
async fn events_about_a_topic_go_to_its_room() {
    let mut audience = Audience::gather().await;
    audience.assert_received_by("presentacion.eliminada", r#"{"temaId":7}"#, &["tema_7"]).await;
    audience.assert_received_by("presentacion.eliminada", r#"{"temaId":"7"}"#, &["tema_7"]).await;
    audience.assert_received_by("metrica.creada", r#"{"temaId":70}"#, &[]).await;
}

// wire-contract, Routing 4: otherwise: room `general`
#[tokio::test]
async fn the_rest_goes_to_general() {
    let mut audience = Audience::gather().await;
    audience.assert_received_by("metrica.creada", "{}", &["general"]).await;
    audience.assert_received_by("metrica.creada", r#"{"temaId":null}"#, &["general"]).await;
    audience.assert_received_by("metrica.creada", r#"{"datos":{"temaId":7,"usuarioId":456}}"#, &["general"]).await;
    audience.assert_received_by(".", "{}", &["general"]).await;
}

// wire-contract, Routing: a name that cannot be a room's is refused, and does not go elsewhere
#[tokio::test]
async fn a_field_that_makes_no_name_is_refused() {
    let app = TestApp::start().await;
    let long = "x".repeat(200);
    let body = json!({"event": "metrica.creada", "payload": {"temaId": long}});
    assert_eq!(app.notify(body.to_string()).await.refused(422)[0]["loc"], json!(["body", "payload"]));
    let body = json!({"event": "user.x", "payload": {"usuarioId": "a\nb"}});
    assert_eq!(app.notify(body.to_string()).await.refused(422)[0]["loc"], json!(["body", "payload"]));
}

/// A file with a rule table, and the settings that name it.
fn with_routes(text: &str) -> (TempDir, impl FnOnce(&mut Config) + use<>) {
    let folder = scratch();
    let path = folder.path().join("routes.toml");
    std::fs::write(&path, text).expect("a file");
    (folder, move |config: &mut Config| config.broker.routes = Some(path))
}

// a TOML file named by `ROUTES` replaces the rules
#[tokio::test]
async fn a_file_replaces_the_rules() {
    let table = r#"
        [[rules]]
        name = "urgent"
        events = ["alerta.*", "*.urgente"]
        field = "nivel"
        room = "alertas-{nivel}"

        [[rules]]
        name = "rest"
        everyone = true
    "#;
    let (_folder, routes) = with_routes(table);
    let app = TestApp::start_with(routes).await;
    let mut alerts = app.connect("a?room=alertas-3").await;
    let mut general = app.connect("b").await;
    for event in ["alerta.nueva.x", "sistema.urgente"] {
        let answer = app.publish(event, json!({"nivel": 3})).await;
        assert_eq!(answer["receivers"], 1);
        alerts.expect_nothing_before(answer["sequence"].as_u64().expect("a place")).await;
    }
    assert_eq!(app.publish("user.7.x", json!({"usuarioId": 7, "temaId": 1})).await["receivers"], 2);
    alerts.next_seqs(1).await;
    general.next_seqs(1).await;
    general.expect_nothing_before(app.mark().await).await;
}

// a bad file refuses to start and says which rule and why
#[tokio::test]
async fn a_bad_file_refuses_to_start() {
    let refusal = async |text: &str| {
        let (_folder, routes) = with_routes(text);
        let mut config = Config::defaults();
        routes(&mut config);
        App::build(config).await.expect_err("a bad file").to_string()
    };
    let second = "[[rules]]\nname = \"uno\"\nroom = \"a\"\n[[rules]]\nname = \"dos\"\nroom = \"{\"\n";
    let fault = refusal(second).await;
    assert!(fault.starts_with("ROUTES: ") && fault.contains("routes.toml"), "{fault}");
    assert!(fault.contains("rule 2 (dos)") && fault.contains("brace"), "{fault}");
    assert!(refusal("[[rules]]\nname = \"a\"\nevents = \"x\"\nroom = \"b\"").await.contains("last rule"));
    assert!(refusal("hola").await.starts_with("ROUTES: "));
}

// `POST /routes/explain` answers which rule matches and who would receive it, without publishing
#[tokio::test]
async fn rest_explains_where_an_event_would_go() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana?room=tema_7&user_id=456").await;
    let mut luz = app.connect("luz").await;
    let explain = async |body: Value| app.post("/routes/explain", body.to_string()).await.json();
    let audience =
        |users: &[&str], rooms: &[&str], everyone| json!({"users": users, "rooms": rooms, "everyone": everyone});
    let expected = |rule: &str, index: i32, audience: Value, clients: &[&str]| {
        json!({
            "rule": rule, "rule_index": index, "audience": audience, "receivers": clients.len(), "client_ids": clients,
        })
    };

    let answer = explain(json!({"event": "metrica.creada", "payload": {"temaId": 7}})).await;
    assert_eq!(answer, expected("tema", 3, audience(&[], &["tema_7"], false), &["ana"]));
    let answer = explain(json!({"event": "user.1.x", "payload": {"usuarioId": 456}})).await;
    assert_eq!(answer, expected("user-by-payload", 0, audience(&["456"], &[], false), &["ana"]));
    let answer = explain(json!({"event": "user.1.x", "payload": {}})).await;
    assert_eq!(answer, expected("user-by-segment", 1, audience(&["1"], &[], false), &[]));
    let answer = explain(json!({"event": "e", "payload": {}})).await;
    assert_eq!(answer, expected("general", 4, audience(&[], &["general"], false), &["luz"]));
    let answer = explain(json!({"event": "e", "payload": {}, "target": {"users": ["456"], "rooms": ["tema_7"]}})).await;
    assert_eq!(answer, expected("target", -1, audience(&["456"], &["tema_7"], false), &["ana"]));
    let mut answer = explain(json!({"event": "feedback.creado", "payload": {}})).await;
    answer["client_ids"].as_array_mut().expect("a list").sort_by_key(ToString::to_string);
    assert_eq!(answer, expected("everyone", 2, audience(&[], &[], true), &["ana", "luz"]));

    app.post("/routes/explain", r#"{"event":"e"}"#).await.refused(422);
    app.post("/routes/explain", "x").await.refused(400);
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
    let marker = app.mark().await;
    ana.expect_nothing_before(marker).await;
    luz.expect_nothing_before(marker).await;
}

// gRPC `ExplainRoute`
#[tokio::test]
async fn grpc_explains_where_an_event_would_go() {
    let app = TestApp::start().await;
    let _ana = app.connect("ana?room=tema_7").await;
    let mut grpc = app.grpc().await;
    let request = |event: &str, payload: &'static str| v1::ExplainRouteRequest {
        event: event.into(),
        body: Some(Body::PayloadJson(payload.into())),
        target: None,
    };
    let answer = grpc.explain_route(request("metrica.creada", r#"{"temaId":"7"}"#)).await.expect("an answer");
    let expected = v1::ExplainRouteResponse {
        rule: "tema".into(),
        rule_index: 3,
        audience: Some(v1::Target { rooms: vec!["tema_7".into()], ..Default::default() }),
        receivers: 1,
        client_ids: vec!["ana".into()],
    };
    assert_eq!(answer.into_inner(), expected);
    let target = v1::Target { everyone: true, ..Default::default() };
    let answer = grpc.explain_route(v1::ExplainRouteRequest { target: Some(target), ..request("e", "{}") }).await;
    let answer = answer.expect("an answer").into_inner();
    assert_eq!((answer.rule.as_str(), answer.rule_index, answer.receivers), ("target", -1, 1));
    let refused = grpc.explain_route(request("", "{}")).await.expect_err("an empty event");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(refused.get_error_details().bad_request().expect("a bad request").field_violations[0].field, "event");
    assert_eq!(app.stats().await["total_notifications_sent"], 0);
}

// a whole number is its digits however it is written, over REST and as a `Struct`
#[tokio::test]
async fn a_whole_number_names_the_same_user_on_both_ways() {
    let app = TestApp::start().await;
    let mut ana = Client::connect(app.http(), "ana?user_id=456").await;
    for number in ["456", "456.0", "4.56e2"] {
        let body = format!(r#"{{"event":"user.e","payload":{{"usuarioId":{number}}}}}"#);
        let answer = Answer::to(app.request(Method::POST, "/notify").bearer_auth(TOKEN).body(body)).await;
        assert_eq!((answer.status, answer.json()["receivers"].as_u64()), (200, Some(1)), "{number}");
        assert!(ana.next_text().await.contains(number));
    }
}
