//! Resident memory of a process.

use std::fs;

use crate::{Result, failed};

/// Bytes that are resident now.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    read(pid, "VmRSS:")
}

/// The most that were since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> Result<u64> {
    read(pid, "VmHWM:")
}

/// Forgets what was resident until now.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn read(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.ok_or_else(|| failed(format!("/proc/{pid}/status has no {field}")))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
