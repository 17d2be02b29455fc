//! What the system says about a process: its memory and its processor time.

use std::io;

/// The resident memory of a process in MiB.
pub(crate) fn resident(process: u32) -> io::Result<f64> {
    memory_field(process, "status", &["VmRSS:"])
}

/// The peak of the resident memory of a process in MiB.
pub(crate) fn peak(process: u32) -> io::Result<f64> {
    memory_field(process, "status", &["VmHWM:"])
}

/// The memory in MiB that a process has written, and so shares with no other. The pages of the program are shared.
pub(crate) fn private_memory(process: u32) -> io::Result<f64> {
    memory_field(process, "smaps_rollup", &["Private_Dirty:"])
}

/// The sum of some fields of a file about a process, in MiB.
fn memory_field(process: u32, file: &str, names: &[&str]) -> io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}"))?;
    let kibibytes: f64 = text
        .lines()
        .filter_map(|line| {
            let value = names.iter().find_map(|name| line.strip_prefix(name))?;
            value.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        })
        .sum();
    if kibibytes > 0.0 {
        return Ok(kibibytes / 1024.0);
    }
    Err(io::Error::other("the process is gone"))
}

/// The processor time of a process so far, in seconds. The system counts it in hundredths.
pub(crate) fn cpu_seconds(process: u32) -> io::Result<f64> {
    cpu_fields(&process.to_string(), 11..13)
}

/// The processor time of the children of this process that have ended.
pub(crate) fn children_cpu_seconds() -> io::Result<f64> {
    cpu_fields("self", 13..15)
}

fn cpu_fields(process: &str, fields: std::ops::Range<usize>) -> io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name in parentheses, which may contain blanks.
    let (_, rest) = text.rsplit_once(')').unwrap_or_default();
    let ticks = rest.split_whitespace().collect::<Vec<_>>();
    let ticks: f64 = ticks
        .get(fields)
        .into_iter()
        .flatten()
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    Ok(ticks / 100.0)
}
