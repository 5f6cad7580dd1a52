//! The binary itself, as a process.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

use super::within;

/// How many lines of a log may wait to be looked at.
const MAX_LINES: usize = 100_000;

/// A command that runs the binary in `folder`, with `settings` and nothing else of the environment.
fn command(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exposia-notifications"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("GRPC_PORT", "0")])
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The same with at most so many file descriptors.
fn limited(descriptors: u32, folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let unlimited = command(folder, arguments, settings);
    let unlimited = unlimited.as_std();
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(unlimited.get_program()).args(unlimited.get_args());
    command.current_dir(folder).env_clear();
    command.envs(unlimited.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// An empty folder without a `.env`.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Runs the binary until it ends by itself.
pub(crate) async fn run_to_end(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    run_in(scratch().path(), arguments, settings).await
}

/// The same with at most so many file descriptors.
pub(crate) async fn run_limited(descriptors: u32, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let folder = scratch();
    let running = limited(descriptors, folder.path(), arguments, settings).output();
    within("the end of the process", running).await.expect("the binary runs")
}

/// Runs the binary in `folder` until it ends by itself.
pub(crate) async fn run_in(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let running = command(folder, arguments, settings).output();
    within("the end of the process", running).await.expect("the binary runs")
}

/// Runs the binary until it ends by itself, with `input` to read.
pub(crate) async fn run_with_input(arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Output {
    let folder = scratch();
    let mut child = command(folder.path(), arguments, settings).stdin(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("the binary reads");
    drop(stdin);
    within("the end of the process", child.wait_with_output()).await.expect("the binary runs")
}

/// A server process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The lines of its log as they come.
    lines: mpsc::Receiver<String>,
    /// The lines that were looked at.
    log: Vec<String>,
    http: SocketAddr,
    grpc: SocketAddr,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts it and waits until it serves.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_heard(settings, MAX_LINES).await
    }

    /// The same; but beyond what the system holds of its log, only lines that are waited for are read.
    pub(crate) async fn start_unheard(settings: &[(&str, &str)]) -> Self {
        Self::start_heard(settings, 1).await
    }

    /// The same with at most so many file descriptors.
    pub(crate) async fn start_limited(descriptors: u32, settings: &[(&str, &str)]) -> Self {
        let folder = scratch();
        let command = limited(descriptors, folder.path(), &[], settings);
        let mut server = Self::launch_command(command, folder, MAX_LINES).await;
        server.line_with("serving").await;
        server
    }

    async fn start_heard(settings: &[(&str, &str)], max_lines: usize) -> Self {
        let mut server = Self::launch_heard(settings, max_lines).await;
        server.line_with("serving").await;
        server
    }

    /// Starts it and does not wait until it serves.
    pub(crate) async fn launch(settings: &[(&str, &str)]) -> Self {
        Self::launch_heard(settings, MAX_LINES).await
    }

    async fn launch_heard(settings: &[(&str, &str)], max_lines: usize) -> Self {
        let folder = scratch();
        let command = command(folder.path(), &[], settings);
        Self::launch_command(command, folder, max_lines).await
    }

    async fn launch_command(mut command: Command, folder: tempfile::TempDir, max_lines: usize) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let (sender, lines) = mpsc::channel(max_lines);
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                let _ = sender.send(line).await;
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = Client::builder().pool_max_idle_per_host(0).build().expect("a client");
        let mut server = Self { child, lines, log: Vec::new(), http: nowhere, grpc: nowhere, client, _folder: folder };
        let listening = server.line_with("listening").await;
        server.http = address(&listening, "http");
        server.grpc = address(&listening, "grpc");
        server
    }

    /// Where HTTP and WebSocket are.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where gRPC is.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// A request on a connection of its own.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.http))
    }

    /// Whether a line of the log so far has `text` in it.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }

    /// Waits for a line of the log with `text` in it.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = within(text, self.lines.recv()).await;
            let line = line.unwrap_or_else(|| panic!("the log ended without `{text}`:\n{}", self.log.join("\n")));
            self.log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Takes in its log for so long.
    pub(crate) async fn hear_for(&mut self, time: Duration) {
        let hearing = async {
            while let Some(line) = self.lines.recv().await {
                self.log.push(line);
            }
        };
        let _ = tokio::time::timeout(time, hearing).await;
    }

    /// Writes a line to its standard input.
    pub(crate) async fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("the process runs");
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, name: &str) {
        let process = self.process().to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status().await.expect("kill runs");
        assert!(status.success());
    }

    /// Waits until the process ends, and gives how, and the whole log.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let status = within("the end of the process", self.child.wait()).await.expect("a status");
        let rest = async {
            while let Some(line) = self.lines.recv().await {
                self.log.push(line);
            }
        };
        within("the end of the log", rest).await;
        (status, self.log.join("\n"))
    }

    /// The same, within `limit`.
    pub(crate) async fn end_within(self, limit: Duration) -> (ExitStatus, String) {
        tokio::time::timeout(limit, self.end()).await.unwrap_or_else(|_| panic!("did not end within {limit:?}"))
    }
}

/// The address behind `name` in a line of the log: `name=1.2.3.4:5`, or `"name":"1.2.3.4:5"`.
fn address(line: &str, name: &str) -> SocketAddr {
    let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line}"));
    let rest = rest.trim_start_matches(['=', '"', ':']);
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|error| panic!("{error}: {line}"))
}
