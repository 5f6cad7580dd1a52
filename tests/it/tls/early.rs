//! Answers over TLS that are ready before the request has come whole.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

use super::TlsApp;
use crate::support::within;

/// The status that curl reads when it posts so many bytes with a wrong token.
async fn status(app: &TlsApp, version: &str, bytes: usize) -> String {
    let url = format!("https://localhost:{}/notify", app.app.http().port());
    let resolve = format!("localhost:{}:127.0.0.1", app.app.http().port());
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", version, "--resolve", &resolve, "--output", "/dev/null"]);
    command.args(["--header", "X-Token: wrong", "--header", "Expect:", "--data-binary", "@-"]);
    command.args(["--write-out", "%{http_code} %{http_version} %{exitcode}", &url]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut curl = command.spawn().expect("curl is there");
    let mut stdin = curl.stdin.take().expect("a pipe");
    stdin.write_all(&vec![b'x'; bytes]).await.expect("curl reads");
    drop(stdin);
    let output = within("the end of curl", curl.wait_with_output()).await.expect("curl runs");
    String::from_utf8(output.stdout).expect("text")
}

// curl, and php-curl with it, reads a refusal over HTTP/2 and over HTTP/1.1, whatever it still has to send
#[tokio::test]
#[ignore = "needs curl; scripts/test runs it"]
async fn an_early_answer_is_read_by_curl() {
    let app = TlsApp::start().await;
    for (version, number) in [("--http2", "2"), ("--http1.1", "1.1")] {
        for bytes in [28, 20 * 1024, 70 * 1024, 1024 * 1024] {
            for attempt in 0..15 {
                let read = status(&app, version, bytes).await;
                assert_eq!(read, format!("401 {number} 0"), "{version}, {bytes} bytes, attempt {attempt}");
            }
        }
    }
}
