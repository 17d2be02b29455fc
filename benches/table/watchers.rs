//! What a watcher that nothing happens to keeps in memory.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::commands::role;
use crate::peers::Peers;
use crate::processes::{peak, private_memory, resident};
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
