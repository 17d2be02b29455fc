//! What a watcher that nothing happens to keeps in memory.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::oneshot::role;
use crate::peers::Peers;
use crate::report::{Bound, Report, Row, Unit};
use crate::stream::{NODE_STREAM, SETTLE_LONG, watch, watch_list};
use crate::stub::Stub;

const MANY: usize = 100_000;
const LISTED: usize = 1_000_000;

pub(crate) fn idle(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let settled = |command: &mut Command| settled(&stub, command, SETTLE_LONG, private_memory);
    let own = settled(&mut watch(&stub))?;
    let limit = settled(&mut role("lines", &stub.address.to_string(), "/connect"))?;
    let websocat = peers.websocat.as_ref().map(|websocat| {
        let mut command = Command::new(&websocat.path);
        command.args(["-U", &format!("ws://{}/connect", stub.address)]);
        settled(&mut command)
    });
    let node = peers.node.as_ref().map(|(node, sdk)| {
        let mut command = Command::new(&node.path);
        command
            .args(["-e", NODE_STREAM])
            .arg(sdk)
            .args([&stub.url(), "1"]);
        settled(&mut command)
    });
    let websocat = report.figure("websocat", websocat);
    let node = report.figure("Node SDK", node);
    report.row(
        Row::new("watching 10 users, idle, private memory", Unit::Mebibytes)
            .ours(own)
            .limit(limit)
            .peer("websocat", websocat)
            .peer("Node SDK", node)
            .aim("MiB", own, Bound::AtMost(0.8)),
    );
    Ok(())
}

pub(crate) fn many(_: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let few = settled(&stub, &mut watch(&stub), SETTLE_LONG, resident)?;
    let mut list = tempfile::NamedTempFile::new()?;
    for n in 0..MANY {
        writeln!(list, "user-{n:06}")?;
    }
    let mut command = watch_list(&stub, &format!("@{}", list.path().display()));
    // Until the thousand calls are answered, the memory grows.
    let many = settled(&stub, &mut command, Duration::from_secs(15), resident)?;
    let each = (many - few) * 1048576.0 / MANY as f64;
    report.row(
        Row::new("watching 100,000 users, a user", Unit::Bytes)
            .ours(each)
            .aim("bytes", each, Bound::AtMost(250.0)),
    );
    let mut list = tempfile::NamedTempFile::new()?;
    for n in 0..LISTED {
        writeln!(list, "user-{n:015}")?;
    }
    let mut command = watch_list(&stub, &format!("@{}", list.path().display()));
    // Later, the users who are subscribed take memory too.
    let most = settled(&stub, &mut command, Duration::ZERO, peak)?;
    report.row(
        Row::new("a list of 1,000,000 ids, at most", Unit::Mebibytes)
            .ours(most)
            .aim("MiB", most, Bound::AtMost(64.0)),
    );
    Ok(())
}

/// What a client has in memory once it is connected and nothing happens.
fn settled(
    stub: &Stub,
    command: &mut Command,
    settle: Duration,
    memory: fn(u32) -> io::Result<f64>,
) -> io::Result<f64> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let socket = stub.socket(settle);
    let memory = memory(child.id());
    child.kill()?;
    child.wait()?;
    socket?;
    memory
}

/// The resident memory of a process in MiB.
pub(crate) fn resident(process: u32) -> io::Result<f64> {
    memory_field(process, "status", &["VmRSS:"])
}

/// The peak of the resident memory of a process in MiB.
pub(crate) fn peak(process: u32) -> io::Result<f64> {
    memory_field(process, "status", &["VmHWM:"])
}

/// The memory in MiB that a process has written, and so shares with no other. The pages of the program are shared.
fn private_memory(process: u32) -> io::Result<f64> {
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
