//! The life of the process, from its settings to its exit code: the binary itself, with signals.

use std::{collections::BTreeSet, net::TcpListener, process::Output, time::Duration};

use exposia_notifications::wire::proto::v1::{
    PublishRequest, notification_service_client::NotificationServiceClient, publish_result::Outcome,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::support::{Answer, Client, InHand, RawSocket, Server, eventually, run_in, run_to_end, scratch, within};

const BODY: &str = r#"{"event":"e","payload":{}}"#;

// `SIGTERM`: health turns to not serving, new publishes get 503
#[tokio::test]
async fn while_it_drains_health_and_new_publishes_get_503() {
    let mut server = Server::start(&[]).await;
    let in_hand = InHand::begin(server.http()).await;
    server.signal("TERM").await;
    server.line_with("shutting down").await;

    let draining = async || {
        let answer = server.request(Method::GET, "/health").send().await.expect("health is answered while draining");
        let status = answer.status().as_u16();
        (status != 200).then_some((status, answer.json::<Value>().await.expect("JSON")))
    };
    let (status, body) = eventually("not serving", draining).await;
    assert_eq!((status, &body["status"]), (503, &json!("draining")));
    let refused = Answer::to(server.request(Method::POST, "/notify").bearer_auth("dev").body(BODY)).await;
    refused.refused(503);
    assert!(!refused.header("retry-after").is_empty());

    let answer = in_hand.finish().await;
    assert!(["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"].contains(&answer.as_str()), "{answer}");
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

// a request in hand is answered before the end
#[tokio::test]
async fn a_request_in_hand_is_answered() {
    let mut server = Server::start(&[]).await;
    let in_hand = InHand::begin(server.http()).await;
    server.signal("TERM").await;
    server.line_with("shutting down").await;
    let answer = in_hand.finish().await;
    assert!(["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"].contains(&answer.as_str()), "{answer}");
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

fn with_token(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("authorization", "Bearer dev".parse().expect("a value"));
    Ok(request)
}

type Grpc = NotificationServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

async fn grpc(server: &Server) -> Grpc {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc())).expect("an address");
    let channel = within("a connection", endpoint.connect()).await.expect("the listener is up");
    NotificationServiceClient::with_interceptor(channel, with_token as _)
}

/// Publishes one event after the other until the server refuses, and gives the places of those that it accepted.
async fn publish_until_refused(mut grpc: Grpc, progress: mpsc::Sender<()>) -> Vec<u64> {
    let (requests, queue) = mpsc::channel(1);
    let mut results = grpc.publish_stream(ReceiverStream::new(queue)).await.expect("a stream").into_inner();
    let mut accepted = Vec::new();
    loop {
        let _ = requests.send(PublishRequest { event: "e".into(), ..Default::default() }).await;
        match within("a result", results.message()).await {
            Ok(result) => match result.expect("the stream does not end well").outcome.expect("an outcome") {
                Outcome::Accepted(answer) => accepted.push(answer.sequence),
                Outcome::Rejected(rejection) => assert_eq!(Code::from(rejection.code), Code::Unavailable),
            },
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                return accepted;
            }
        }
        let _ = progress.try_send(());
    }
}

// publishes in hand finish, new ones get UNAVAILABLE, sockets close with 1001 behind all that was accepted, exit 0
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_delivered_before_the_end() {
    let server = Server::start(&[]).await;
    let mut ana = Client::connect(server.http(), "ana").await;
    let (progress, mut under_way) = mpsc::channel(500);
    let mut publishing = JoinSet::new();
    for _ in 0..4 {
        publishing.spawn(publish_until_refused(grpc(&server).await, progress.clone()));
    }
    for _ in 0..500 {
        within("progress", under_way.recv()).await;
    }
    server.signal("TERM").await;
    let mut accepted: Vec<u64> =
        within("the end of the publishers", publishing.join_all()).await.into_iter().flatten().collect();
    accepted.sort_unstable();
    assert!(accepted.len() >= 500);
    assert_eq!(ana.next_seqs(accepted.len()).await, accepted);
    let goodbye = ana.next().await;
    assert_eq!((&goodbye["type"], &goodbye["seq"]), (&json!("reconnect"), &json!(accepted.last())));
    assert_eq!(ana.close_code().await, 1001);
    drop(ana);
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

// new publishes get UNAVAILABLE: also those that are sent without a pause
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_full_flow_is_told_unavailable() {
    let server = Server::start(&[]).await;
    let (requests, queue) = mpsc::channel(64);
    let mut grpc = grpc(&server).await;
    let mut results = grpc.publish_stream(ReceiverStream::new(queue)).await.expect("a stream").into_inner();
    let mut publishing = JoinSet::new();
    publishing.spawn(async move {
        while requests.send(PublishRequest { event: "e".into(), ..Default::default() }).await.is_ok() {}
    });
    let mut count = 0;
    let end = loop {
        match within("a result", results.message()).await {
            Ok(result) => assert!(result.is_some(), "the stream does not end well"),
            Err(status) => break status,
        }
        count += 1;
        if count == 500 {
            server.signal("TERM").await;
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    drop((results, grpc));
    publishing.join_all().await;
    assert_eq!(server.end().await.0.code(), Some(0));
}

// Ctrl-C is the same
#[tokio::test]
async fn ctrl_c_ends_it_too() {
    let server = Server::start(&[]).await;
    let mut ana = Client::connect(server.http(), "ana").await;
    server.signal("INT").await;
    assert_eq!(ana.close_code().await, 1001);
    drop(ana);
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

// exit 0 within the grace time, whatever clients do
#[tokio::test]
async fn clients_that_do_not_let_go_are_left_behind_in_time() {
    let server = Server::start(&[("SHUTDOWN_GRACE", "2s")]).await;
    let _in_hand = InHand::begin(server.http()).await;
    let _silent = RawSocket::connect(server.http(), "silent").await;
    let _idle = TcpStream::connect(server.http()).await.expect("a connection");
    let _idle_grpc = TcpStream::connect(server.grpc()).await.expect("a connection");
    server.signal("TERM").await;
    let (status, log) = server.end_within(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{log}");
}

// a second signal ends it at once
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&[("SHUTDOWN_GRACE", "1h")]).await;
    let _in_hand = InHand::begin(server.http()).await;
    server.signal("TERM").await;
    server.line_with("shutting down").await;
    server.signal("TERM").await;
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(1), "{log}");
}

/// What the process said, which must be lines for people and no backtrace.
fn complaints(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    text.lines().map(str::to_owned).collect()
}

// a port in use: one clear line and exit code 1
#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for variable in ["PORT", "GRPC_PORT"] {
        let output = run_to_end(&[], &[(variable, &port)]).await;
        assert_eq!(output.status.code(), Some(1));
        let lines = complaints(&output);
        assert!(lines.len() == 1 && lines[0].contains(variable) && lines[0].contains(&port), "{lines:?}");
    }
}

/// Runs with bad settings, and gives what is said about them.
async fn faults(settings: &[(&str, &str)]) -> Vec<String> {
    let output = run_to_end(&[], settings).await;
    assert_eq!(output.status.code(), Some(2), "{settings:?}");
    complaints(&output)
}

// a bad value: one clear line and exit code 2; all faults reported at once
#[tokio::test]
async fn bad_values_are_reported_all_at_once() {
    let bad = [
        ("PORT", "many"),
        ("GRPC_PORT", "70000"),
        ("SHUTDOWN_GRACE", "soon"),
        ("LOG_LEVEL", "loud"),
        ("JOURNAL", "paper"),
        ("MAX_CONNECTIONS", "0"),
        ("ENVIRONMENT", "moon"),
    ];
    let lines = faults(&bad).await;
    assert_eq!(lines.len(), bad.len(), "{lines:#?}");
    for (variable, value) in bad {
        let about = |line: &&String| line.contains(&format!("{variable}:")) && line.contains(value);
        assert_eq!(lines.iter().filter(about).count(), 1, "{variable}: {lines:#?}");
    }
}

// all faults reported at once, also those of a value that is none and of values that do not go together
#[tokio::test]
async fn faults_of_every_kind_are_reported_together() {
    let settings = [
        ("ENVIRONMENT", "production"),
        ("WS_TOKEN", "dev"),
        ("ROUTES", "/nowhere/routes.toml"),
        ("PORT", "9999"),
        ("GRPC_PORT", "9999"),
    ];
    let lines = faults(&settings).await;
    let mentions = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
    for text in ["WS_TOKEN", "ROUTES", "PORT and GRPC_PORT"] {
        assert!(mentions(&lines, text), "{text}: {lines:#?}");
    }
    let with_bad_value = [&settings[..], &[("LOG_LEVEL", "loud")]].concat();
    let lines = faults(&with_bad_value).await;
    for text in ["LOG_LEVEL", "WS_TOKEN", "ROUTES", "PORT and GRPC_PORT"] {
        assert!(mentions(&lines, text), "{text}: {lines:#?}");
    }
}

// a bad flag says so, with exit code 2
#[tokio::test]
async fn bad_flags_are_reported() {
    for arguments in [&["--port", "many"][..], &["--no-such-flag"], &["no-such-command"]] {
        let output = run_to_end(arguments, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(complaints(&output)[0].starts_with("error: "));
    }
}

// architecture: `.env` is honoured, and the environment goes before it
#[tokio::test]
async fn a_file_env_is_read() {
    let folder = scratch();
    std::fs::write(folder.path().join(".env"), "LOG_LEVEL=loud\nPORT=many\n").expect("a file");
    let output = run_in(folder.path(), &[], &[]).await;
    assert_eq!(output.status.code(), Some(2));
    let lines = complaints(&output);
    assert!(lines.len() == 1 && lines[0].contains("LOG_LEVEL"), "PORT is set besides: {lines:?}");
}

// `.env` stands behind flags and the environment and before the defaults, for every command, and shows in no help
#[tokio::test]
async fn a_file_env_is_behind_the_environment_and_before_the_defaults() {
    let folder = scratch();
    let file = "\u{feff}MAX_BODY_BYTES=1000\nexport BODY_TIMEOUT='7s'\nPUBLISH_QUEUE=11\nPUBLISH_QUEUE=many\n\
        WS_TOKEN=a-s3cr3t,another\nJWT_SECRET=\"a s3cr3t of at least 32 characters\"\nMAX_MESAGE_BYTES=1\n";
    std::fs::write(folder.path().join(".env"), file).expect("a file");
    let below = folder.path().join("below");
    std::fs::create_dir(&below).expect("a folder");
    let settings = [("MAX_BODY_BYTES", "2000")];
    let output = run_in(&below, &["check", "--idempotency-window", "3m"], &settings).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = |name| said.lines().map(|line| line.split_whitespace().collect()).find(|line: &Vec<_>| line[0] == name);
    for expected in [
        ["MAX_BODY_BYTES", "environment", "2000"],
        ["BODY_TIMEOUT", "environment", "7s"],
        ["PUBLISH_QUEUE", "environment", "11"],
        ["IDEMPOTENCY_WINDOW", "flag", "3m"],
        ["PUBLISH_TIMEOUT", "default", "5s"],
        ["WS_TOKEN", "environment", "[secret]"],
    ] {
        assert_eq!(line(expected[0]).as_deref(), Some(&expected[..]), "{output:?}");
    }
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warned.contains("MAX_MESAGE_BYTES"), "{output:?}");

    let minted = run_in(&below, &["token", "mint", "--sub", "7"], &[]).await;
    assert!(minted.status.success(), "{minted:?}");
    for arguments in [&["--help"][..], &["check", "-h"], &["help", "journal"], &["journal"]] {
        let beside = run_in(&below, arguments, &[]).await;
        assert_eq!(beside, run_to_end(arguments, &[]).await, "{arguments:?}");
    }
}

const OPEN_PRODUCTION: [(&str, &str); 3] =
    [("ENVIRONMENT", "production"), ("SUBSCRIBER_AUTH", "open"), ("ALLOWED_ORIGINS", "https://example.com")];

// with `ENVIRONMENT=production` it refuses to start with the token `dev` or an empty one
#[tokio::test]
async fn production_needs_a_token_of_its_own() {
    for settings in [&[("WS_TOKEN", "dev")][..], &[("WS_TOKEN", "")], &[]] {
        let lines = faults(&[&OPEN_PRODUCTION, settings].concat()).await;
        assert!(lines.len() == 1 && lines[0].contains("WS_TOKEN"), "{lines:?}");
    }
}

// production asks for a key for subscribers' tokens, or to be told that there is none
#[tokio::test]
async fn production_asks_how_subscribers_are_known() {
    let production = [("ENVIRONMENT", "production"), ("WS_TOKEN", "s3cr3t-0f-pr0duct10n"), ("ALLOWED_ORIGINS", "*")];
    let cases = [
        (&[][..], "SUBSCRIBER_AUTH"),
        (&[("JWT_SECRET", "short")], "JWT_SECRET"),
        (&[("SUBSCRIBER_AUTH", "token")], "SUBSCRIBER_AUTH"),
        (&[("JWT_PUBLIC_KEY_FILE", "/nowhere.pem")], "JWT_PUBLIC_KEY_FILE"),
        (&[("JWT_PUBLIC_KEY_FILE", "/dev/null")], "JWT_PUBLIC_KEY_FILE"),
    ];
    for (settings, culprit) in cases {
        let lines = faults(&[&production, settings].concat()).await;
        assert!(lines.len() == 1 && lines[0].contains(culprit), "{lines:?}");
    }
}

// an empty secret would let anybody sign, in development too
#[tokio::test]
async fn an_empty_secret_is_none() {
    let lines = faults(&[("JWT_SECRET", "")]).await;
    assert!(lines.len() == 1 && lines[0].contains("JWT_SECRET"), "{lines:?}");
}

// in development, with no key, it is as open as the original, and says so loudly at its start
#[tokio::test]
async fn a_server_that_is_open_says_so() {
    assert!(Server::start(&[]).await.has_said("subscribers need no token"));
}

const PRODUCTION: [(&str, &str); 4] = [
    ("ENVIRONMENT", "production"),
    ("WS_TOKEN", "s3cr3t-0f-pr0duct10n"),
    ("SUBSCRIBER_AUTH", "open"),
    ("ALLOWED_ORIGINS", "https://example.com"),
];
const SECRET: &str = PRODUCTION[1].1;

// in production `/stats` and `/history` need the token
#[tokio::test]
async fn production_guards_what_can_be_read() {
    let server = Server::start(&PRODUCTION).await;
    for (method, path) in [(Method::GET, "/stats"), (Method::GET, "/history"), (Method::POST, "/test-notification")] {
        let request = || server.request(method.clone(), path);
        assert_eq!(Answer::to(request()).await.refused(401), "Token inválido");
        Answer::to(request().bearer_auth("dev")).await.refused(401);
        assert_eq!(Answer::to(request().bearer_auth(SECRET)).await.status, 200, "{path}");
    }
    assert_eq!(Answer::to(server.request(Method::GET, "/health")).await.status, 200);
    let answer = Answer::to(server.request(Method::GET, "/").header("origin", "http://example.com")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
}

// an unreadable file: one clear line
#[tokio::test]
async fn an_unreadable_file_of_rules_is_one_clear_line() {
    for path in ["/nowhere/routes.toml", "/"] {
        let lines = faults(&[("ROUTES", path)]).await;
        assert!(lines.len() == 1 && lines[0].contains("ROUTES") && lines[0].contains(path), "{lines:?}");
    }
}

// `… health`
#[tokio::test]
async fn the_health_command_answers_with_its_exit_code() {
    let server = Server::start(&[]).await;
    let port = server.http().port().to_string();
    let output = run_to_end(&["health"], &[("PORT", &port), ("HOST", "0.0.0.0")]).await;
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"healthy\n"[..]), "{output:?}");
    let degraded = Server::start(&[("JWT_JWKS_URL", "http://127.0.0.1:1/jwks.json")]).await;
    let output = run_to_end(&["health"], &[("PORT", &degraded.http().port().to_string())]).await;
    assert_eq!(output.status.code(), Some(0), "it serves: {output:?}");
    assert!(output.stdout.starts_with(b"degraded: JWT_JWKS_URL: no keys"), "{output:?}");
    let grpc_port = server.grpc().port().to_string();
    let output = run_to_end(&["health"], &[("PORT", &grpc_port)]).await;
    assert_eq!(output.status.code(), Some(1), "that is not HTTP/1.1");
    server.signal("TERM").await;
    server.end().await;
    let output = run_to_end(&["health"], &[("PORT", &port)]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(complaints(&output).len(), 1);
}

// `--help` is the manual; architecture: `.env.example` lists every setting
#[tokio::test]
async fn help_and_the_example_file_list_the_same_settings() {
    let output = run_to_end(&["--help"], &[]).await;
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("text");
    let in_help: BTreeSet<&str> =
        help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
    let example = include_str!("../../.env.example");
    let assignments = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let is_variable = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let in_example: BTreeSet<&str> = assignments.map(|(name, _)| name).filter(is_variable).collect();
    assert!(in_example.contains("PORT") && in_help.contains("PORT"));
    assert_eq!(in_help.difference(&in_example).collect::<Vec<_>>(), [&""; 0], "not in .env.example");
    assert_eq!(in_example.difference(&in_help).collect::<Vec<_>>(), [&""; 0], "not in --help");
}

/// Lets a server do a bit of everything, and gives its log.
async fn log_of_a_life(settings: &[(&str, &str)], token: &str) -> String {
    let server = Server::start(settings).await;
    let mut ana = Client::connect(server.http(), &format!("ana?token={token}")).await;
    let post = |path: &str| server.request(Method::POST, path).body(r#"{"event":"e","payload":{"a":"c0nf1dent1al"}}"#);
    assert_eq!(Answer::to(post(&format!("/notify?token={token}"))).await.status, 200);
    assert_eq!(Answer::to(post("/notify").bearer_auth(token)).await.status, 200);
    assert_eq!(Answer::to(post("/notify").header("x-token", token)).await.status, 200);
    for refused in [post("/notify?token=wr0ng-t0ken"), post("/notify").bearer_auth("wr0ng-t0ken")] {
        Answer::to(refused).await.refused(401);
    }
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc())).expect("an address");
    let bearer = format!("Bearer {token}");
    let mut grpc = NotificationServiceClient::with_interceptor(
        endpoint.connect().await.expect("a connection"),
        move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", bearer.parse().expect("a value"));
            Ok(request)
        },
    );
    grpc.publish(PublishRequest { event: "e".into(), ..Default::default() }).await.expect("accepted");
    ana.next_seqs(4).await;
    ana.send_text("c0nf1dent1al").await;
    ana.settle().await;
    ana.close().await;
    drop(grpc);
    server.signal("TERM").await;
    server.end().await.1
}

// structured logs, JSON in production, with one span a request and a session
#[tokio::test]
async fn logs_are_json_in_production() {
    let log = log_of_a_life(&PRODUCTION, SECRET).await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()));
    // One line sums up a session, with whose it was.
    let sums_up = |line: &&Value| line["fields"]["message"] == "session closed";
    let closed: Vec<_> = lines.iter().filter(sums_up).collect();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0]["span"], json!({"name": "session", "client_id": "ana"}));
}

// a log that nobody takes holds nothing up, and is all there for whoever takes it later
#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    // Their lines are twice what the system holds for a reader, 64 KiB.
    const SESSIONS: usize = 1_000;
    let mut server = Server::start_unheard(&[&PRODUCTION[..], &[("LOG_SESSIONS", "off")]].concat()).await;
    for session in 0..SESSIONS {
        Client::connect(server.http(), &format!("{session}?token={SECRET}")).await.close().await;
    }
    assert_eq!(Answer::to(server.request(Method::GET, "/health")).await.status, 200);
    for _ in 0..SESSIONS {
        server.line_with("session closed").await;
    }
}

// pretty in development
#[tokio::test]
async fn logs_are_for_people_in_development() {
    let log = log_of_a_life(&[], "dev").await;
    assert!(log.lines().all(|line| !line.starts_with('{')), "{log}");
    assert!(log.contains("session closed"), "{log}");
}

// style, section 11: secrets do not print, and payloads stay out of logs
#[tokio::test]
async fn no_token_and_no_payload_is_ever_logged() {
    for level in ["INFO", "DEBUG", "TRACE"] {
        let settings = [&PRODUCTION[..], &[("LOG_LEVEL", level)]].concat();
        let log = log_of_a_life(&settings, SECRET).await;
        assert!(log.contains("serving"));
        for secret in [SECRET, "wr0ng-t0ken", "c0nf1dent1al"] {
            assert!(!log.contains(secret), "{level}: {log}");
        }
    }
    let output = run_to_end(&["--help"], &PRODUCTION).await;
    assert!(!String::from_utf8_lossy(&output.stdout).contains(SECRET));
}

// SIGHUP ends the service as SIGTERM does; what others use as signals of their own does nothing
#[tokio::test]
async fn signals_that_people_send_end_it_in_order_or_not_at_all() {
    let server = Server::start(&[]).await;
    let mut ana = Client::connect(server.http(), "ana").await;
    for name in ["USR1", "USR2"] {
        server.signal(name).await;
        ana.settle().await;
    }
    server.signal("HUP").await;
    assert_eq!(ana.next().await["type"], "reconnect");
    assert_eq!(server.end().await.0.code(), Some(0));
}

// an address that is none of this machine is told as what it is
#[tokio::test]
async fn a_host_that_is_not_here_is_named() {
    let output = run_to_end(&[], &[("HOST", "192.0.2.1")]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.starts_with("error: HOST: cannot listen on 192.0.2.1"), "{said}");
}
