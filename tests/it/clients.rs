//! Clients in other languages, and a stranger that knows only the description of the interface.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::support::{Server, TOKEN};

/// How long a suite may take, the installation of what it needs counted in.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Runs a command of the project against `server` and asserts that it succeeds.
pub(crate) async fn assert_succeeds(server: &Server, folder: &str, program: &str, arguments: &[&str]) {
    let (base_url, grpc_addr) = (format!("http://{}", server.http()), server.grpc().to_string());
    let binary = env!("CARGO_BIN_EXE_exposia-notifications");
    let environment = [("BASE_URL", &*base_url), ("GRPC_ADDR", &*grpc_addr), ("TOKEN", TOKEN), ("SERVER", binary)];
    assert_succeeds_with(&environment, folder, program, arguments).await;
}

/// Runs a command of the project, with these variables, and asserts that it succeeds.
pub(crate) async fn assert_succeeds_with(
    environment: &[(&str, &str)],
    folder: &str,
    program: &str,
    arguments: &[&str],
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).envs(environment.iter().copied());
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, running).await.expect("the suite ends").expect("the program is there");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
}

// the snippets of the README are correct, and those that publish survive restarts of the service
#[tokio::test]
#[ignore = "needs python3, node, php and a JDK; scripts/test runs it"]
async fn the_snippets_of_the_readme_work() {
    let server = Server::start(&[]).await;
    assert_succeeds(&server, ".", "tests/clients/run", &[]).await;
}

// the wire is the same where it is compressed, to a client that always offers that
#[tokio::test]
#[ignore = "needs python3, node, php and a JDK; scripts/test runs it"]
async fn the_wire_is_the_same_when_it_is_compressed() {
    let server = Server::start(&[("PERMESSAGE_DEFLATE", "on")]).await;
    assert_succeeds(&server, ".", "tests/clients/run", &["--compressed", "-k", "test_wire"]).await;
}

// an OpenAPI document that schemathesis passes against the running server
#[tokio::test]
#[ignore = "needs python3 and schemathesis from PyPI; scripts/test runs it"]
async fn the_interface_is_as_its_description_says() {
    let server = Server::start(&[]).await;
    assert_succeeds(&server, ".", "tests/clients/schemathesis", &[]).await;
}
