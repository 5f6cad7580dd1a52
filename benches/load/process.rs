//! What a process and its children use.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::Result;

/// The unit of times in `/proc`, the same on every Linux that runs this.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server that is watched from outside.
#[derive(Debug)]
pub(crate) struct Server(Vec<u32>);

impl Server {
    /// The process `pid` and the children it has now.
    pub(crate) fn new(pid: u32) -> Self {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        Self([pid].into_iter().chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect())
    }

    /// Seconds of CPU, user's and system's, so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let mut ticks = 0;
        for pid in &self.0 {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // The name stands in parentheses, and may have spaces in it.
            let fields = stat.rsplit_once(')').ok_or("no name in stat")?.1;
            for field in fields.split_whitespace().skip(11).take(2) {
                ticks += field.parse::<u64>()?;
            }
        }
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    /// Bytes of resident memory; what processes share is counted once.
    pub(crate) fn resident(&self) -> Result<f64> {
        let mut kib = 0;
        for pid in &self.0 {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
            kib += line.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        Ok((kib * 1024) as f64)
    }
}

/// Seconds of CPU that this process has used so far.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    Server(vec![std::process::id()]).cpu_seconds()
}

/// Keeps this process on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    let mut taskset = Command::new("taskset");
    taskset.args(["-acp", &cpu.to_string(), &pid]).stdout(Stdio::null());
    if taskset.status()?.success() { Ok(()) } else { Err("taskset failed".into()) }
}
