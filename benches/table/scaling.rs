//! What work costs by its size: it should grow in proportion, not faster.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::analysis::Recording;
use crate::commands::presencectl;
use crate::crowd::Mock;
use crate::peers::Peers;
use crate::processes::{cpu_seconds, peak};
use crate::report::{Bound, Report, Row, Unit};
use crate::stream::watch_list;
use crate::stub::Stub;

/// How much more a unit may cost at the largest size than at the smallest.
const GROWTH_MAX: f64 = 2.0;

/// A row of a table: the size, the seconds that it takes, and memory in MiB.
struct Cost {
    size: usize,
    seconds: f64,
    memory: f64,
}

/// Adds a table, and a row with the ratio of the cost of a unit at the largest size to that at the smallest.
fn add_table(report: &mut Report, what: &str, unit: &str, costs: &[Cost]) {
    let each = |cost: &Cost| cost.seconds * 1e6 / cost.size as f64;
    let mut table = format!("\n{what}\n\n| {unit} | time | each | memory |\n|---|---|---|---|\n");
    for cost in costs {
        let _ = writeln!(
            table,
            "| {} | {:.0} ms | {:.2} µs | {:.0} MiB |",
            cost.size,
            cost.seconds * 1e3,
            each(cost),
            cost.memory
        );
    }
    report.note(&table);
    if let [first, .., last] = costs {
        let growth = each(last) / each(first);
        report.row(
            Row::new(
                format!("{what}, {} {unit}, each", last.size),
                Unit::Microseconds,
            )
            .ours(each(last))
            .aim(
                &format!("× the same with {}", first.size),
                growth,
                Bound::AtMost(GROWTH_MAX),
            ),
        );
    }
}

/// From the start to the first event of ten users out of many, in processor time.
pub(crate) fn watch(_: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let mut costs = Vec::new();
    // The system counts processor time in hundredths of a second, which is too coarse for fewer.
    for users in [10_000, 30_000, 100_000] {
        let list = ids(users)?;
        let mut child = watch_list(&stub, &format!("@{}", list.path().display()))
            .args(["-e", "presence.coverage"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        let cost = Cost {
            size: users,
            seconds: cpu_seconds(child.id())?,
            memory: peak(child.id())?,
        };
        child.kill()?;
        child.wait()?;
        if !line.contains(&format!(r#""subscribed":{users}"#)) {
            return Err(io::Error::other(line));
        }
        costs.push(cost);
    }
    add_table(
        report,
        "watch, processor time until subscribed",
        "users",
        &costs,
    );
    Ok(())
}

pub(crate) fn query_users(_: &Peers, report: &mut Report) -> io::Result<()> {
    let mut costs = Vec::new();
    for users in [1_000, 10_000, 100_000] {
        let mock = Mock::start(users)?;
        let mut command = with_credentials(&mock);
        command.args(["query-users", "--all", "-o", "ndjson"]);
        let start = Instant::now();
        let (lines, memory) = count_lines(&mut command)?;
        if lines != users {
            return Err(io::Error::other(format!("{lines} of {users} users")));
        }
        costs.push(Cost {
            size: users,
            seconds: start.elapsed().as_secs_f64(),
            memory,
        });
    }
    add_table(report, "query-users --all", "users", &costs);
    Ok(())
}

pub(crate) fn report_lines(_: &Peers, report: &mut Report) -> io::Result<()> {
    for (what, sizes) in [
        (
            "report uptime of 1,000 users",
            [(100_000, 1_000), (1_000_000, 1_000)],
        ),
        (
            "report uptime of 100,000 users",
            [(100_000, 100_000), (1_000_000, 100_000)],
        ),
    ] {
        let mut costs = Vec::new();
        for (lines, users) in sizes {
            let (seconds, memory, _) = Recording::create(lines, users, 1)?.uptime()?;
            costs.push(Cost {
                size: lines,
                seconds,
                memory,
            });
        }
        add_table(report, what, "lines", &costs);
    }
    Ok(())
}

pub(crate) fn hold(_: &Peers, report: &mut Report) -> io::Result<()> {
    let mock = Mock::start(0)?;
    let mut costs = Vec::new();
    for users in [500, 5_000] {
        let list = ids(users)?;
        let start = Instant::now();
        let mut child = with_credentials(&mock)
            .args(["hold", "-y", "-o", "ndjson", "--in"])
            .arg(format!("@{}", list.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().expect("it is piped");
        let connected = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .filter(|line| line.contains("presence.snapshot"))
            .take(users)
            .count();
        costs.push(Cost {
            size: users,
            seconds: start.elapsed().as_secs_f64(),
            memory: peak(child.id())?,
        });
        child.kill()?;
        child.wait()?;
        if connected != users {
            return Err(io::Error::other(format!(
                "{connected} of {users} connected"
            )));
        }
    }
    add_table(report, "hold, until all are connected", "users", &costs);
    if let Some(last) = costs.last() {
        report.row(
            Row::new("hold, 5,000 users connected", Unit::Milliseconds)
                .ours(last.seconds * 1e3)
                .aim("s", last.seconds, Bound::AtMost(10.0)),
        );
    }
    Ok(())
}

fn with_credentials(mock: &Mock) -> Command {
    let mut command = presencectl(&mock.url);
    command
        .env("STREAM_API_KEY", &mock.key)
        .env("STREAM_API_SECRET", &mock.secret);
    command
}

/// A file with the ids of users.
fn ids(users: usize) -> io::Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    let mut out = io::BufWriter::new(file.as_file());
    for n in 0..users {
        writeln!(out, "user-{n}")?;
    }
    out.flush()?;
    drop(out);
    Ok(file)
}

/// How many lines a program writes, and its peak of memory in MiB.
fn count_lines(command: &mut Command) -> io::Result<(usize, f64)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdout = child.stdout.take().expect("it is piped");
    let (mut lines, mut memory) = (0, 0.0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        memory = peak(child.id()).unwrap_or(memory);
        match io::Read::read(&mut stdout, &mut buffer)? {
            0 => break,
            count => lines += memchr::memchr_iter(b'\n', &buffer[..count]).count(),
        }
    }
    child.wait()?;
    Ok((lines, memory))
}
