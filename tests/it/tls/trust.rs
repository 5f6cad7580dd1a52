//! The rights of a certificate end while its connection is open.

use std::{
    fs,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use chrono::{DateTime, Datelike, TimeDelta};
use exposia_notifications::{
    clock::{Clock, Manual, System},
    config::Config,
    wire::proto::v1::{PublishRequest, SubscribeRequest, notification_service_client::NotificationServiceClient},
};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ALL_VERSIONS, version::TLS12};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, body::Body};

use super::{
    Authority, Files, HTTP_2, Pair, TlsApp, connect,
    mtls::{self, with},
};
use crate::support::{TOKEN, run_to_end, scratch, within};

/// One connection whose end can be seen.
struct Line {
    client: NotificationServiceClient<Sender>,
    ended: JoinHandle<hyper::Result<()>>,
}

/// Sends the calls of a client over the connection.
#[derive(Clone)]
struct Sender(SendRequest<Body>);

impl tower::Service<Request<Body>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Line {
    async fn open(app: &TlsApp, pair: Option<&Pair>) -> Self {
        let config = match pair {
            Some(pair) => app.authority.showing(ALL_VERSIONS, &[HTTP_2], pair),
            None => app.authority.trusting(&[HTTP_2]),
        };
        let stream = connect(app.app.grpc_address(), config).await.expect("a handshake");
        let opening = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within("HTTP/2", opening).await.expect("HTTP/2");
        let origin = "https://localhost".parse().expect("an origin");
        let client = NotificationServiceClient::with_origin(Sender(sender), origin);
        Self { client, ended: tokio::spawn(connection) }
    }

    async fn publish(&mut self, token: Option<&str>, payload: usize) -> Code {
        let payload_json = format!(r#"{{"filler":"{}"}}"#, "x".repeat(payload)).into();
        let body = Some(exposia_notifications::wire::proto::v1::publish_request::Body::PayloadJson(payload_json));
        let event = PublishRequest { event: "presentacion.creada".to_owned(), body, ..Default::default() };
        mtls::code(within("an answer", self.client.publish(with(token, event))).await)
    }
}

// SECURITY.md: whoever is on a list of revoked certificates is let in no more, and open connections end; the newest list counts,
// whichever of the files it is in
#[tokio::test]
async fn a_certificate_that_is_revoked_is_believed_no_longer() {
    let (clients, others, folder) = (Authority::new(), Authority::named("others"), scratch());
    let lists = folder.path().join("revoked.pem");
    fs::write(&lists, clients.revoking(&[], 2020)).expect("written");
    let change = |config: &mut Config| config.listen.tls.mtls_crl_file = Some(lists.clone());
    let app = mtls::start_with(Arc::new(System::default()), &[&clients, &others], &folder, change).await;
    let pairs = [1, 2, 3].map(|number| clients.client_numbered("presentaciones-php", number));
    // Its CA has no list.
    let other = others.client_numbered("presentaciones-php", 1);
    let mut first = Line::open(&app, Some(&pairs[0])).await;
    let mut second = Line::open(&app, Some(&pairs[1])).await;
    let mut third = Line::open(&app, Some(&pairs[2])).await;
    let mut other = Line::open(&app, Some(&other)).await;
    for line in [&mut first, &mut second, &mut third, &mut other] {
        assert_eq!(line.publish(None, 0).await, Code::Ok);
    }
    let ended = async |line: &mut Line| {
        within("the end of the connection", &mut line.ended).await.expect("no panic").expect_err("it was cut off");
    };
    fs::write(&lists, clients.revoking(&[], 2020) + &clients.revoking(&[1], 2021)).expect("written");
    ended(&mut first).await;
    assert_eq!(second.publish(None, 0).await, Code::Ok);
    let all = clients.pem() + &others.pem() + &clients.revoking(&[1, 2], 2022);
    fs::write(folder.path().join("clients.pem"), all).expect("written");
    ended(&mut second).await;
    for line in [&mut third, &mut other] {
        assert_eq!(line.publish(None, 0).await, Code::Ok);
    }
    for (pair, is_let_in) in pairs.iter().zip([false, false, true]) {
        // In TLS 1.3 the client is through before the server has looked at its certificate.
        let config = app.authority.showing(&[&TLS12], &[HTTP_2], pair);
        assert_eq!(connect(app.app.grpc_address(), config).await.is_ok(), is_let_in);
    }
}

// `check` says when a list is too old, and when it is of a CA that is not believed
#[tokio::test]
async fn a_list_that_is_of_little_use_is_told() {
    let (clients, folder) = (Authority::new(), scratch());
    let files = Files::with(&Authority::new().server());
    let path = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
        folder.path().join(name).to_str().expect("text").to_owned()
    };
    let (authorities, grants) = (path("clients.pem", &clients.pem()), path("grants.toml", ""));
    let strange = Authority::named("somebody else").revoking(&[1], 2020);
    let year = System::default().wall().year();
    for (list, expected) in [
        (clients.revoking(&[1], 2020), "should have been replaced by 2021-01-01T00:00:00Z"),
        (strange, "is of none of the CAs in MTLS_CA_FILE"),
        (clients.revoking(&[1], year), ""),
    ] {
        let list = path("revoked.pem", &list);
        let mtls = [("MTLS_CA_FILE", &*authorities), ("MTLS_CRL_FILE", &*list), ("MTLS_GRANTS", &*grants)];
        let output = run_to_end(&["check"], &[files.settings().as_slice(), &mtls].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains(expected), "{expected}: {said}");
        assert_eq!(said.contains("MTLS_CRL_FILE"), !expected.is_empty(), "{said}");
    }
}

fn general() -> SubscribeRequest {
    SubscribeRequest { rooms: vec!["general".to_owned()], ..Default::default() }
}

// SECURITY.md: when the CAs are replaced, a connection ends whose certificate they do not believe, with a stream that publishes
// and one that nobody reads; others go on
#[tokio::test]
async fn open_connections_are_judged_again_when_the_authorities_change() {
    let (old, new, folder) = (Authority::new(), Authority::new(), scratch());
    let app = mtls::start(&[&old, &new], &folder).await;
    let php = |clients: &Authority| clients.client("presentaciones-php", vec![]);
    let mut forsaken = Line::open(&app, Some(&php(&old))).await;
    let mut kept = Line::open(&app, Some(&php(&new))).await;
    let mut bare = Line::open(&app, None).await;

    let (requests, waiting) = mpsc::channel(1);
    let event = || PublishRequest { event: "presentacion.creada".to_owned(), ..Default::default() };
    requests.send(event()).await.expect("nobody waits");
    let publishing = forsaken.client.publish_stream(ReceiverStream::new(waiting));
    let mut results = within("a stream", publishing).await.expect("a stream").into_inner();
    let unread = within("a stream", forsaken.client.subscribe(general())).await.expect("a stream");
    let mut read = within("a stream", kept.client.subscribe(general())).await.expect("a stream").into_inner();
    // More than the unread stream takes.
    assert_eq!(kept.publish(None, 500_000).await, Code::Ok);

    fs::write(folder.path().join("clients.pem"), new.pem()).expect("written");
    let publishing = async {
        // What was answered before the end may be read behind it.
        while let Ok(Some(_)) = results.message().await {
            let _ = requests.send(event()).await;
        }
    };
    within("the end of what publishes", publishing).await;
    within("the end of the connection", &mut forsaken.ended).await.expect("no panic").expect_err("it was cut off");
    drop(unread);
    for (line, token) in [(&mut kept, None), (&mut bare, Some(TOKEN))] {
        assert_eq!(line.publish(token, 0).await, Code::Ok);
        assert!(!line.ended.is_finished());
    }
    within("a notification", read.message()).await.expect("the stream goes on").expect("the stream goes on");
}

// SECURITY.md: a certificate that expires while its connection is open lets nobody do anything more, and ends what is followed
#[tokio::test]
async fn a_certificate_ends_by_the_clock_while_its_connection_is_open() {
    let (clients, folder) = (Authority::new(), scratch());
    let end = DateTime::from_timestamp(2_524_608_000, 0).expect("the year 2050");
    let clock = Arc::new(Manual::new(end - TimeDelta::seconds(1)));
    let app = mtls::start_by(Arc::clone(&clock) as _, &[&clients], &folder).await;
    let mut php = Line::open(&app, Some(&clients.client_until_2050("presentaciones-php"))).await;
    let mut followed = within("a stream", php.client.subscribe(general())).await.expect("a stream").into_inner();
    assert_eq!(php.publish(None, 0).await, Code::Ok);
    clock.step(TimeDelta::seconds(1));
    assert_eq!(php.publish(None, 0).await, Code::Unauthenticated);
    let end = async {
        loop {
            if let Err(status) = followed.message().await {
                return status;
            }
        }
    };
    assert_eq!(within("the end of the stream", end).await.code(), Code::Unauthenticated);
}
