//! `check`: the settings looked at without serving.

use std::collections::BTreeMap;

use crate::support::{Server, run_in, run_to_end, scratch};

const GUARDED: [(&str, &str); 4] = [
    ("ENVIRONMENT", "production"),
    ("WS_TOKEN", "old-s3cr3t,new-s3cr3t"),
    ("JWT_SECRET", "s3cr3t that is as long as it has to be"),
    ("ALLOWED_ORIGINS", "https://example.com"),
];

// `check` prints what is in force, each setting with where it comes from, secrets redacted
#[tokio::test]
async fn what_is_in_force_is_printed_without_the_secrets() {
    let settings = [&GUARDED[..], &[("JWT_ISSUER", "one,two")]].concat();
    let output = run_to_end(&["--jwt-leeway", "5s", "check"], &settings).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let words = |line| -> Vec<&str> { str::split_whitespace(line).collect() };
    let lines: BTreeMap<&str, Vec<&str>> = said.lines().map(words).map(|line| (line[0], line[1..].to_vec())).collect();
    assert_eq!(lines["PORT"], ["environment", "0"]);
    assert_eq!(lines["JWT_ISSUER"], ["environment", "one,two"]);
    assert_eq!(lines["JWT_LEEWAY"], ["flag", "5s"]);
    assert_eq!(lines["PING_INTERVAL"], ["default", "25s"]);
    assert_eq!(lines["ROUTES"], ["not", "set"]);
    for secret in ["WS_TOKEN", "JWT_SECRET"] {
        assert_eq!(lines[secret], ["environment", "[secret]"]);
    }
    assert!(!said.contains("s3cr3t"), "{said}");
    let variables =
        include_str!("../../.env.example").lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let missing: Vec<_> = variables.map(|(name, _)| name).filter(|name| !lines.contains_key(name)).collect();
    assert_eq!(missing, [""; 0]);
}

// `check` warns of what the start would warn of
#[tokio::test]
async fn what_stands_open_is_said() {
    for (settings, open) in [(&[][..], true), (&GUARDED[..], false)] {
        let output = run_to_end(&["check"], settings).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.starts_with("warning: subscribers need no token"), open, "{said}");
    }
}

// `check` reports all faults at once, of values, of what they say together, and of what they point to
#[tokio::test]
async fn all_faults_are_found_at_once() {
    let folder = scratch();
    std::fs::write(folder.path().join("file"), "not a rule, not a key, not a folder").expect("a file");
    let settings = [
        ("MAX_CONNECTIONS", "many"),
        ("ENVIRONMENT", "production"),
        ("WS_TOKEN", "dev"),
        ("JWT_SECRET", "short"),
        ("JWT_PUBLIC_KEY_FILE", "file"),
        ("ROUTES", "file"),
        ("HOST", "192.0.2.1"),
        ("JOURNAL", "sqlite"),
        ("DATA_DIR", "file/data"),
    ];
    let output = run_in(folder.path(), &["check"], &settings).await;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("text");
    let faulty = settings.map(|(name, _)| name).into_iter().filter(|name| !["ENVIRONMENT", "JOURNAL"].contains(name));
    for name in faulty {
        assert_eq!(
            said.lines().filter(|line| line.starts_with(&format!("error: {name}"))).count(),
            1,
            "{name}: {said}"
        );
    }
}

// `check` may run beside the service, and leaves nothing behind
#[tokio::test]
async fn the_settings_of_a_running_service_are_checked() {
    let server = Server::start(&[]).await;
    let (port, grpc_port) = (server.http().port().to_string(), server.grpc().port().to_string());
    let folder = scratch();
    let settings = [("PORT", &*port), ("GRPC_PORT", &*grpc_port), ("JOURNAL", "sqlite"), ("DATA_DIR", "new/data")];
    let output = run_in(folder.path(), &["check"], &settings).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

// the settings that `check` and `health` ask about may stand behind them, as in front
#[tokio::test]
async fn the_flags_of_the_server_may_follow() {
    for arguments in [["check", "--port", "9123"], ["--port", "9123", "check"]] {
        let output = run_to_end(&arguments, &[]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8(output.stdout).expect("text");
        let port = said.lines().find(|line| line.starts_with("PORT")).expect("a line for each setting");
        assert_eq!(port.split_whitespace().collect::<Vec<_>>(), ["PORT", "flag", "9123"]);
    }
}

// a variable that is one slip away from a setting is told, by `check` and at the start
#[tokio::test]
async fn a_mistyped_setting_is_told() {
    const WARNING: &str = "GRPC_PROT: there is no such setting; GRPC_PORT may be meant";
    let output = run_to_end(&["check"], &[("GRPC_PROT", "5")]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stderr).expect("text").contains(WARNING));
    let server = Server::start(&[("GRPC_PROT", "5")]).await;
    server.signal("TERM").await;
    assert!(server.end().await.1.contains(WARNING));
}
