//! The real binary, on ports of its own choice.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

use crate::{Result, args};

pub(crate) struct Server {
    process: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
    /// How long it took until it listened.
    pub(crate) started_in: Duration,
    /// Reads on, so that the process never waits for somebody to read what it says.
    _log: JoinSet<()>,
}

impl Server {
    /// Starts the service with `settings` on top of its defaults, and waits until it listens.
    pub(crate) async fn start(dir: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let started = Instant::now();
        let mut process = Command::new(args::server())
            .envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("GRPC_PORT", "0"), ("LOG_FORMAT", "json")])
            .env("DATA_DIR", dir)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stderr.take().ok_or("no standard error")?).lines();
        let (http, grpc) = loop {
            let line = lines.next_line().await?.ok_or("the service ended before it listened")?;
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { return Err(line.into()) };
            let fields = &line["fields"];
            if fields["message"] == "listening" {
                let address = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
                break (address("http"), address("grpc"));
            }
        };
        let started_in = started.elapsed();
        let mut log = JoinSet::new();
        log.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("ERROR") || line.contains("WARN") {
                    crate::report::note(line);
                }
            }
        });
        Ok(Self { process, http, grpc, started_in, _log: log })
    }

    /// How many events it accepted.
    pub(crate) async fn accepted(&self) -> Result<u64> {
        let stats: serde_json::Value = reqwest::get(format!("http://{}/stats", self.http)).await?.json().await?;
        Ok(stats["total_notifications_sent"].as_u64().ok_or("no count of what was accepted")?)
    }

    /// How much memory it holds, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let id = self.process.id().ok_or("the service ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// Lets it end as it wants to.
    pub(crate) async fn close(mut self) -> Result<()> {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("the service ended")?;
        kill_process(id, Signal::TERM)?;
        self.process.wait().await?;
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.kill().await?;
        Ok(())
    }
}
