//! Client certificates on the gRPC listener.

use std::{fs, sync::Arc};

use exposia_notifications::{
    clock::{Clock, System},
    config::Config,
    wire::proto::v1::{
        DisconnectRequest, PublishRequest, RevokeUserRequest, SubscribeRequest, Target,
        notification_service_client::NotificationServiceClient, publish_result::Outcome,
    },
};
use rcgen::SanType;
use rustls::version::TLS12;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, transport::Identity};

use super::{Authority, HTTP_2, Pair, TlsApp, connect, grpc};
use crate::{
    gate::{SECRET, mint},
    support::{TOKEN, eventually, scratch, within},
};

const GRANTS: &str = r#"
    [[grants]]
    subject = "presentaciones-php"
    publish = ["presentacion.*"]

    [[grants]]
    subject = "spiffe://exposia/admin"
    admin = true
    rooms = ["*"]
"#;

/// A service that believes client certificates of `clients`, with [`GRANTS`] in a file.
pub(super) async fn start(clients: &[&Authority], folder: &tempfile::TempDir) -> TlsApp {
    start_by(Arc::new(System::default()), clients, folder).await
}

/// The same by the time of `clock`.
pub(super) async fn start_by(clock: Arc<dyn Clock>, clients: &[&Authority], folder: &tempfile::TempDir) -> TlsApp {
    start_with(clock, clients, folder, |_| {}).await
}

/// The same with further settings.
pub(super) async fn start_with(
    clock: Arc<dyn Clock>,
    clients: &[&Authority],
    folder: &tempfile::TempDir,
    change: impl FnOnce(&mut Config),
) -> TlsApp {
    let (authorities, grants) = (folder.path().join("clients.pem"), folder.path().join("grants.toml"));
    fs::write(&authorities, clients.iter().map(|clients| clients.pem()).collect::<String>()).expect("written");
    fs::write(&grants, GRANTS).expect("written");
    TlsApp::start_by(clock, |config| {
        config.listen.tls.mtls_ca_file = Some(authorities);
        config.gate.mtls_grants = Some(grants);
        change(config);
    })
    .await
}

async fn client(app: &TlsApp, pair: Option<&Pair>) -> NotificationServiceClient<tonic::transport::Channel> {
    let tls = grpc::trusting(app);
    let tls = match pair {
        Some(pair) => tls.identity(Identity::from_pem(&pair.certificate, &pair.key)),
        None => tls,
    };
    NotificationServiceClient::new(grpc::channel(app, tls).await.expect("a connection"))
}

pub(super) fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().expect("a header value");
        request.metadata_mut().insert("authorization", header);
    }
    request
}

pub(super) fn code<T>(outcome: Result<T, Status>) -> Code {
    outcome.map_or_else(|status| status.code(), |_| Code::Ok)
}

// a certificate's subject maps to a grant; without a certificate the token counts, and without either nobody is known
#[tokio::test]
async fn a_certificate_may_do_what_its_grant_says() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let php = clients.client("presentaciones-php", vec![]);
    let spiffe = "spiffe://exposia/admin".try_into().expect("a URI");
    let admin = clients.client("root", vec![SanType::URI(spiffe)]);
    let stranger = clients.client("stranger", vec![]);
    // Certificate, token; publishing what php may, publishing something else, following all, disconnecting.
    let table = [
        (Some(&php), None, [Code::Ok, Code::PermissionDenied, Code::PermissionDenied, Code::PermissionDenied]),
        (Some(&admin), None, [Code::PermissionDenied, Code::PermissionDenied, Code::Ok, Code::Ok]),
        (Some(&stranger), None, [Code::PermissionDenied; 4]),
        (Some(&stranger), Some(TOKEN), [Code::Ok; 4]),
        (Some(&php), Some("wrong"), [Code::Unauthenticated; 4]),
        (None, Some(TOKEN), [Code::Ok; 4]),
        (None, Some("wrong"), [Code::Unauthenticated; 4]),
        (None, None, [Code::Unauthenticated; 4]),
    ];
    for (row, (pair, token, expected)) in table.into_iter().enumerate() {
        let mut client = client(&app, pair).await;
        let publish = |event: &str| with(token, PublishRequest { event: event.into(), ..Default::default() });
        let everything = SubscribeRequest { everything: true, ..Default::default() };
        let disconnect = DisconnectRequest { client_id: "nobody".into(), ..Default::default() };
        let outcomes = [
            code(client.publish(publish("presentacion.creada")).await),
            code(client.publish(publish("otra.cosa")).await),
            code(client.subscribe(with(token, everything)).await),
            code(client.disconnect(with(token, disconnect)).await),
        ];
        assert_eq!(outcomes, expected, "row {row}");
    }
}

// a certificate lends no right to a token that is not good: a proxy that has one would do so for everybody
#[tokio::test]
async fn a_token_is_judged_whatever_certificate_stands_beside_it() {
    let (clients, folder) = (Authority::new(), scratch());
    let secret = |config: &mut Config| config.gate.jwt_secret = Some(SECRET.parse().expect("a secret"));
    let app = start_with(Arc::new(System::default()), &[&clients], &folder, secret).await;
    let mut client = client(&app, Some(&clients.client("presentaciones-php", vec![]))).await;
    let claims = |sub: &str, exp: i64| json!({ "sub": sub, "publish": ["*"], "exp": exp });
    let revoked = mint(claims("eva", i64::from(u32::MAX)));
    let revocation = RevokeUserRequest { user_id: "eva".to_owned(), ..Default::default() };
    client.revoke_user(with(Some(TOKEN), revocation)).await.expect("revoked");
    let good = mint(claims("ana", i64::from(u32::MAX)));
    let expired = mint(claims("ana", 1_000_000_000));
    let cases = [
        (None, Code::Ok),
        (Some(good.as_str()), Code::Ok),
        (Some(TOKEN), Code::Ok),
        (Some(&expired), Code::Unauthenticated),
        (Some(&revoked), Code::Unauthenticated),
        (Some("nonsense"), Code::Unauthenticated),
        (Some(""), Code::Ok),
    ];
    for (token, expected) in cases {
        let request = PublishRequest { event: "presentacion.creada".into(), ..Default::default() };
        assert_eq!(code(client.publish(with(token, request)).await), expected, "{token:?}");
    }
    let mut nonsense = Request::new(PublishRequest { event: "presentacion.creada".into(), ..Default::default() });
    let bytes = http::HeaderValue::from_bytes(b"Bearer \xff\xfe").expect("a value");
    let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, bytes)]);
    *nonsense.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    assert_eq!(code(client.publish(nonsense).await), Code::Unauthenticated);
}

// a row of the grants may say whom the events are for, as a claim does
#[tokio::test]
async fn a_grant_limits_whom_its_events_are_for() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let row = "\n[[grants]]\nsubject = \"tareas\"\npublish = [\"*\"]\naudiences = [\"room:tema_*\"]\n";
    fs::write(folder.path().join("grants.toml"), [GRANTS, row].concat()).expect("written");
    let mut client = client(&app, Some(&clients.client("tareas", vec![]))).await;
    let publish = |room: &str| {
        let target = Target { rooms: vec![room.to_owned()], ..Default::default() };
        Request::new(PublishRequest { event: "tarea.x".into(), target: Some(target), ..Default::default() })
    };
    eventually("the new grant", async || client.publish(publish("tema_1")).await.ok()).await;
    let status = client.publish(publish("admin")).await.expect_err("refused");
    let message = "cert:tareas may not publish for \"room:admin\": no pattern of its claim `audiences` fits";
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, message));
}

// keys belong to the row of the grants: to all certificates that it is for, and to no other
#[tokio::test]
async fn a_key_belongs_to_the_grant_of_a_certificate() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let any = "\n[[grants]]\nsubject = \"pedidos-*\"\npublish = [\"presentacion.*\"]\n";
    fs::write(folder.path().join("grants.toml"), [GRANTS, any].concat()).expect("written");
    let publish = |token, source: &str| {
        let (event, source) = ("presentacion.creada".to_owned(), source.to_owned());
        with(token, PublishRequest { event, source, idempotency_key: "k".to_owned(), ..Default::default() })
    };
    let mut first = client(&app, Some(&clients.client("pedidos-1", vec![]))).await;
    eventually("the new grant", async || first.publish(publish(None, "pedidos")).await.ok()).await;
    // Certificate, token, content; whether it is known, or how it is refused.
    let table = [
        ("pedidos-1", None, "pedidos", Ok(true)),
        ("pedidos-2", None, "pedidos", Ok(true)),
        ("pedidos-2", None, "otra", Err(Code::AlreadyExists)),
        ("presentaciones-php", None, "php", Ok(false)),
        ("presentaciones-php", None, "php", Ok(true)),
        ("presentaciones-php", Some(TOKEN), "token", Ok(false)),
        ("pedidos-1", Some(TOKEN), "token", Ok(true)),
    ];
    for (row, (name, token, source, expected)) in table.into_iter().enumerate() {
        let mut client = client(&app, Some(&clients.client(name, vec![]))).await;
        let outcome = client.publish(publish(token, source)).await;
        let outcome = outcome.map(|answer| answer.into_inner().duplicate).map_err(|status| status.code());
        assert_eq!(outcome, expected, "row {row}");
    }
}

// a certificate of another authority fails the handshake, and the service goes on
#[tokio::test]
async fn a_certificate_of_another_authority_fails_the_handshake() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let known = clients.client("presentaciones-php", vec![]);
    let forged = Authority::new().client("presentaciones-php", vec![]);
    for (pair, expected) in [(&forged, false), (&known, true)] {
        // In TLS 1.3 the client is through before the server has looked at its certificate.
        let config = app.authority.showing(&[&TLS12], &[HTTP_2], pair);
        assert_eq!(connect(app.app.grpc_address(), config).await.is_ok(), expected);
    }
    assert_eq!(app.get("/health").await.0, 200);
}

// the grants follow their file, for connections that are open, too
#[tokio::test]
async fn grants_follow_their_file() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let mut php = client(&app, Some(&clients.client("presentaciones-php", vec![]))).await;
    let request = || PublishRequest { event: "otra.cosa".into(), ..Default::default() };
    assert_eq!(code(php.publish(request()).await), Code::PermissionDenied);
    fs::write(folder.path().join("grants.toml"), GRANTS.replace("presentacion.*", "otra.*")).expect("written");
    eventually("the new grant", async || (code(php.publish(request()).await) == Code::Ok).then_some(())).await;
}

// a stream that publishes, and one that nobody reads, go by the grants in force, not by those when they began
#[tokio::test]
async fn streams_follow_the_grants() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let mut php = client(&app, Some(&clients.client("presentaciones-php", vec![]))).await;
    let spiffe = "spiffe://exposia/admin".try_into().expect("a URI");
    let mut admin = client(&app, Some(&clients.client("root", vec![SanType::URI(spiffe)]))).await;
    let everything = SubscribeRequest { everything: true, ..Default::default() };
    let mut following = admin.subscribe(everything).await.expect("let in").into_inner();
    let (requests, queue) = mpsc::channel(1);
    let mut results = php.publish_stream(ReceiverStream::new(queue)).await.expect("let in").into_inner();
    let mut publish = async || {
        let request = PublishRequest { event: "otra.cosa".into(), ..Default::default() };
        requests.send(request).await.expect("the stream goes on");
        let result = within("a result", results.message()).await.expect("the stream goes on").expect("a result");
        matches!(result.outcome, Some(Outcome::Accepted(_))).then_some(())
    };
    assert_eq!(publish().await, None);
    let grants = GRANTS.replace("presentacion.*", "otra.*").replace(r#"rooms = ["*"]"#, r#"rooms = ["a"]"#);
    fs::write(folder.path().join("grants.toml"), grants).expect("written");
    eventually("the new grant", publish).await;
    let ended = within("the end of the stream", async {
        loop {
            if let Err(ended) = following.message().await {
                break ended;
            }
        }
    });
    let ended = ended.await;
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended}");
}

// SECURITY.md: a name of one kind does not pass for one of another, unless the row says that it is for that kind
#[tokio::test]
async fn a_name_does_not_pass_for_one_of_another_kind() {
    let (clients, folder) = (Authority::new(), scratch());
    let app = start(&[&clients], &folder).await;
    let rows = r#"
        [[grants]]
        subject = "spiffe://exposia/admin"
        admin = true

        [[grants]]
        subject = "*.example.com"
        admin = true

        [[grants]]
        subject = "email:luz@ops.example"
        admin = true

        [[grants]]
        subject = "cn:spiffe://exposia/old"
        admin = true
    "#;
    fs::write(folder.path().join("grants.toml"), rows).expect("written");
    let disconnect = || with(None, DisconnectRequest { client_id: "nobody".into(), ..Default::default() });
    let uri = |text: &str| SanType::URI(text.try_into().expect("a URI"));
    let dns = |text: &str| SanType::DnsName(text.try_into().expect("a name"));
    let email = |text: &str| SanType::Rfc822Name(text.try_into().expect("an address"));
    let mut first = client(&app, Some(&clients.client("luz", vec![email("luz@ops.example")]))).await;
    eventually("the new grants", async || (code(first.disconnect(disconnect()).await) == Code::Ok).then_some(())).await;
    let table = [
        ("spiffe://exposia/admin", vec![], Code::PermissionDenied),
        ("spiffe://exposia/admin", vec![email("spiffe://exposia/admin")], Code::PermissionDenied),
        ("mallory", vec![email("mallory@a.example.com")], Code::PermissionDenied),
        ("mallory", vec![uri("https://evil/a.example.com")], Code::PermissionDenied),
        ("mallory@a.example.com", vec![], Code::PermissionDenied),
        ("luz@ops.example", vec![], Code::PermissionDenied),
        ("a.example.com", vec![], Code::Ok),
        ("web", vec![dns("a.example.com")], Code::Ok),
        ("root", vec![uri("spiffe://exposia/admin")], Code::Ok),
        ("spiffe://exposia/old", vec![], Code::Ok),
    ];
    for (row, (common_name, names, expected)) in table.into_iter().enumerate() {
        let mut client = client(&app, Some(&clients.client(common_name, names))).await;
        assert_eq!(code(client.disconnect(disconnect()).await), expected, "row {row}: {common_name}");
    }
}
