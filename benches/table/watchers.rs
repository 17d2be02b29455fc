//! What a watcher that nothing happens to keeps in memory.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::oneshot::{presencectl, role};
use crate::peers::Peers;
use crate::report::{Bound, Report, Row, Unit};
use crate::stream::{NODE_STREAM, SETTLE_LONG, watch};
use crate::stub::Stub;

const MANY: usize = 100_000;

pub(crate) fn idle(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let own = settled(&stub, &mut watch(&stub), SETTLE_LONG)?;
    let limit = role("lines", &stub.address.to_string(), "/connect");
    let limit = settled(&stub, &mut { limit }, SETTLE_LONG)?;
    let websocat = peers.websocat.as_ref().map(|websocat| {
        let mut command = Command::new(&websocat.path);
        command.args(["-U", &format!("ws://{}/connect", stub.address)]);
        settled(&stub, &mut command, SETTLE_LONG)
    });
    let node = peers.node.as_ref().map(|(node, sdk)| {
        let mut command = Command::new(&node.path);
        command
            .args(["-e", NODE_STREAM])
            .arg(sdk)
            .args([&stub.url(), "1"]);
        settled(&stub, &mut command, SETTLE_LONG)
    });
    let websocat = report.figure("websocat", websocat);
    let node = report.figure("Node SDK", node);
    report.row(
        Row::new("watching 10 users, idle", Unit::Mebibytes)
            .ours(own)
            .limit(limit)
            .peer("websocat", websocat)
            .peer("Node SDK", node)
            .aim("MiB", own, Bound::AtMost(6.0)),
    );
    Ok(())
}

pub(crate) fn many(_: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let few = settled(&stub, &mut watch(&stub), SETTLE_LONG)?;
    let mut list = tempfile::NamedTempFile::new()?;
    for n in 0..MANY {
        writeln!(list, "user-{n:06}")?;
    }
    let mut command = presencectl(&stub.url());
    command
        .args([
            "watch",
            "users",
            "-o",
            "ndjson",
            "--snapshot",
            "none",
            "-q",
            "--in",
        ])
        .arg(format!("@{}", list.path().display()));
    // Until the thousand calls are answered, the memory grows.
    let many = settled(&stub, &mut command, Duration::from_secs(15))?;
    let each = (many - few) * 1048576.0 / MANY as f64;
    report.row(
        Row::new("watching 100,000 users, a user", Unit::Bytes)
            .ours(each)
            .aim("bytes", each, Bound::AtMost(250.0)),
    );
    Ok(())
}

/// What a client has in memory once it is connected and nothing happens.
fn settled(stub: &Stub, command: &mut Command, settle: Duration) -> io::Result<f64> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let socket = stub.socket(settle);
    let resident = resident(child.id());
    child.kill()?;
    child.wait()?;
    socket?;
    resident
}

/// The resident memory of a process in MiB.
pub(crate) fn resident(process: u32) -> io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<f64>()
                .ok()
        })
        .map(|kibibytes| kibibytes / 1024.0)
        .ok_or_else(|| io::Error::other("the process is gone"))
}
