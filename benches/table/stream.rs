//! A million events, from a socket to stdout; and a thousand a second, each timed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::certificate::Certificate;
use crate::commands::{presencectl, role};
use crate::peers::Peers;
use crate::report::{Bound, Report, Row, Unit, median};
use crate::stub::{EventMix, Stub, event, frame};

const EVENTS: usize = 1_000_000;
/// For programs that would take a minute.
const FEW: usize = 100_000;
const ROUNDS: usize = 3;
/// How long a client has after its connection for whatever it does before events come.
pub(crate) const SETTLE: Duration = Duration::from_millis(700);
/// The same for one that starts slowly.
pub(crate) const SETTLE_LONG: Duration = Duration::from_millis(1500);
const USERS: &str = "user-0,user-1,user-2,user-3,user-4,user-5,user-6,user-7,user-8,user-9";

/// An expression that reads some fields.
const EXPRESSION: &str = "{id: .user.id, online: .user.online}";
/// A condition that every event satisfies.
const CONDITION: &str = r#"(.type | startswith("user.")) and .user.id != """#;
/// An expression that needs the whole record.
const WHOLE: &str = "to_entries | length";

pub(crate) fn rates(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    verify(&stub)?;
    let watch = |events: usize, flags: &[&str]| {
        let mut command = watch(&stub);
        command.arg("-n").arg(events.to_string()).args(flags);
        command
    };
    let every_filter = ["-e", "user.*", "--user", USERS];
    let usual = EventMix::Usual;
    let lines = || role("lines", &stub.address.to_string(), "/connect");
    let websocat = peers.websocat.as_ref().map(|websocat| {
        let url = format!("ws://{}/connect", stub.address);
        move || {
            let mut command = Command::new(&websocat.path);
            command.args(["-U", "-B", "1000000", &url]);
            command
        }
    });
    let (mut own, mut clashing, mut raw, mut least) = <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    let (mut verbatim, mut jq, mut general) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
    for _ in 0..ROUNDS {
        let rate = |command: &mut Command, mix, events| rate(&stub, command, mix, events, SETTLE);
        least.push(rate(&mut lines(), usual, EVENTS)?);
        own.push(rate(&mut watch(EVENTS, &every_filter), usual, EVENTS)?);
        clashing.push(rate(
            &mut watch(EVENTS, &every_filter),
            EventMix::Clashing,
            EVENTS,
        )?);
        raw.push(rate(&mut watch(EVENTS, &["--raw"]), usual, EVENTS)?);
        let path = ["--jq", ".user.id"];
        jq.push(rate(&mut watch(EVENTS, &path), usual, EVENTS)?);
        let expression = ["--jq", EXPRESSION];
        general.push(rate(&mut watch(FEW, &expression), usual, FEW)?);
        if let Some(websocat) = &websocat {
            verbatim.push(rate(&mut websocat(), usual, EVENTS)?);
        }
    }
    let node = peers.node.as_ref().map(|(node, sdk)| {
        let mut command = Command::new(&node.path);
        command
            .args(["-e", NODE_STREAM])
            .arg(sdk)
            .args([&stub.url(), &FEW.to_string()]);
        rate(&stub, &mut command, usual, FEW, SETTLE_LONG)
    });
    let piped = |expression: &str| {
        let (jq, websocat) = (peers.jq.as_ref()?, peers.websocat.as_ref()?);
        let script = format!(
            "'{}' -U -B 1000000 ws://{}/connect | '{}' -c '{expression}'",
            websocat.path.display(),
            stub.address,
            jq.path.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        Some(rate(&stub, &mut command, usual, FEW * 2, SETTLE))
    };
    let some_median = |values: Vec<f64>| (!values.is_empty()).then(|| median(values));
    let (own, least, verbatim) = (median(own), median(least), some_median(verbatim));
    let node = report.figure("Node SDK", node);
    let piped_path = report.figure("websocat | jq", piped(".user.id"));
    let piped_general = report.figure("websocat | jq", piped(EXPRESSION));
    report.row(
        Row::new(
            "1,000,000 events, all our fields and filters",
            Unit::PerSecond,
        )
        .ours(own)
        .limit(least)
        .peer("websocat verbatim", verbatim)
        .peer("Node SDK", node)
        .ratio("websocat", verbatim, Bound::AtLeast(1.5))
        .ratio("Node SDK", node, Bound::AtLeast(15.0)),
    );
    report.row(
        Row::new(
            "the same, each with a field that clashes with ours",
            Unit::PerSecond,
        )
        .ours(median(clashing))
        .limit(least)
        .ratio("without clashes", Some(own), Bound::AtLeast(0.9)),
    );
    report.row(
        Row::new("the same with --raw", Unit::PerSecond)
            .ours(median(raw))
            .limit(least)
            .ratio("without --raw", Some(own), Bound::AtLeast(1.0)),
    );
    report.row(
        Row::new("the same through --jq .user.id", Unit::PerSecond)
            .ours(median(jq))
            .peer("websocat | jq", piped_path)
            .ratio("websocat | jq", piped_path, Bound::AtLeast(2.5)),
    );
    report.row(
        Row::new(
            format!("100,000 events through --jq '{EXPRESSION}'"),
            Unit::PerSecond,
        )
        .ours(median(general))
        .peer("websocat | jq", piped_general)
        .ratio("websocat | jq", piped_general, Bound::AtLeast(1.5)),
    );
    Ok(())
}

/// The same over TLS.
pub(crate) fn tls_rates(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let Some(certificate) = Certificate::create(peers, report)? else {
        return Ok(());
    };
    let stub = Stub::start(Some(certificate.server_config()?))?;
    let url = format!("https://localhost:{}", stub.address.port());
    let watch = || {
        let mut command = watch_at(&url, USERS);
        command.env("SSL_CERT_FILE", certificate.roots()).args([
            "-n",
            &EVENTS.to_string(),
            "-e",
            "user.*",
        ]);
        command
    };
    let usual = EventMix::Usual;
    let (mut own, mut verbatim) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(rate(&stub, &mut watch(), usual, EVENTS, SETTLE)?);
        if let Some(websocat) = &peers.websocat {
            let url = format!("wss://localhost:{}/connect", stub.address.port());
            let mut command = Command::new(&websocat.path);
            command.args(["-U", "-B", "1000000", "--insecure", &url]);
            verbatim.push(rate(&stub, &mut command, usual, EVENTS, SETTLE)?);
        }
    }
    let verbatim = (!verbatim.is_empty()).then(|| median(verbatim));
    report.row(
        Row::new("1,000,000 events over TLS", Unit::PerSecond)
            .ours(median(own))
            .peer("websocat verbatim", verbatim)
            .ratio("websocat", verbatim, Bound::AtLeast(1.2)),
    );
    Ok(())
}

/// Our program, following ten users.
pub(crate) fn watch(stub: &Stub) -> Command {
    watch_list(stub, USERS)
}

/// Our program, following a list of users.
pub(crate) fn watch_list(stub: &Stub, list: &str) -> Command {
    watch_at(&stub.url(), list)
}

fn watch_at(url: &str, list: &str) -> Command {
    let mut command = presencectl(url);
    command.args([
        "watch",
        "users",
        "--in",
        list,
        "-o",
        "ndjson",
        "--snapshot",
        "none",
        "-q",
    ]);
    command
}

/// That every event becomes a line: a program that loses some would win.
fn verify(stub: &Stub) -> io::Result<()> {
    let events = 20_000;
    let mut child = watch(stub)
        .args(["-n", &events.to_string(), "-e", "user.*"])
        .stdout(Stdio::piped())
        .spawn()?;
    let socket = stub.socket(SETTLE)?;
    let sender = std::thread::spawn(move || Stub::pump(socket, events, EventMix::Clashing));
    let stdout = child.stdout.take().expect("it is piped");
    let mut good = 0;
    for line in BufReader::new(stdout).lines() {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        let change = match record["type"].as_str() {
            Some("user.presence.changed") => Some("online"),
            Some("user.updated") => Some("status"),
            _ => None,
        };
        let changed = record["changed"].as_array();
        if changed.is_some_and(|changed| change.is_none_or(|name| changed.contains(&name.into())))
            && record["user"]["invisible"].is_null()
            && record["seq"].is_u64()
            && record["source"] == "ws"
            && record["shadowed"]["source"] == "mobile"
        {
            good += 1;
        }
    }
    child.wait()?;
    drop(sender.join());
    if good == events {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{good} good lines from {events} events"
    )))
}

/// Events a second, from the first byte sent to the end of the process.
fn rate(
    stub: &Stub,
    command: &mut Command,
    mix: EventMix,
    events: usize,
    settle: Duration,
) -> io::Result<f64> {
    let mut child = spawn(command, Stdio::from(File::create("/dev/null")?))?;
    let socket = stub.socket(settle)?;
    let pumped = Stub::pump(socket, events, mix)?;
    let started = pumped.started;
    // Those who do not count end when the server does.
    pumped.socket.close();
    child.wait()?;
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

fn spawn(command: &mut Command, stdout: Stdio) -> io::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
}

/// Where the lines of a latency measurement go.
#[derive(Debug, Clone, Copy)]
enum LineTarget {
    Pipe,
    File,
}

pub(crate) fn latency(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let url = format!("ws://{}/connect", stub.address);
    for (what, target) in [("a pipe", LineTarget::Pipe), ("a file", LineTarget::File)] {
        let (mut own, mut least, mut verbatim) = <(Delays, Delays, Delays)>::default();
        let delay = |command: &mut Command, settle| delay(&stub, command, target, settle);
        for _ in 0..ROUNDS {
            let limit = &mut role("tungstenite-lines", &stub.address.to_string(), "/connect");
            least.push(delay(limit, SETTLE)?);
            own.push(delay(&mut watch(&stub), SETTLE)?);
            if let Some(websocat) = &peers.websocat {
                let mut command = Command::new(&websocat.path);
                command.args(["-U", &url]);
                verbatim.push(delay(&mut command, SETTLE)?);
            }
        }
        let mut node = Delays::default();
        if let (Some((program, sdk)), LineTarget::Pipe) = (&peers.node, target) {
            let mut command = Command::new(&program.path);
            command
                .args(["-e", NODE_STREAM])
                .arg(sdk)
                .args([&stub.url(), "100000000"]);
            node.push(delay(&mut command, SETTLE_LONG)?);
        }
        for (name, percentile, bound) in [("p50", 0.5, 1.05), ("p99", 0.99, 1.1)] {
            let least = least.median_of(percentile);
            report.row(
                Row::new(
                    format!("send to line in {what}, 1,000 events a second, {name}"),
                    Unit::Microseconds,
                )
                .ours(own.median_of(percentile).unwrap_or(f64::NAN))
                .limit(least.unwrap_or(f64::NAN))
                .peer("websocat", verbatim.median_of(percentile))
                .peer("Node SDK", node.median_of(percentile))
                .ratio("limit", least, Bound::AtMost(bound)),
            );
        }
    }
    Ok(())
}

/// The delays of some runs, in microseconds, sorted within each run.
#[derive(Debug, Default)]
struct Delays(Vec<Vec<f64>>);

impl Delays {
    fn push(&mut self, mut run: Vec<f64>) {
        run.sort_by(f64::total_cmp);
        self.0.push(run);
    }

    /// The median over the runs of a percentile of each.
    fn median_of(&self, percentile: f64) -> Option<f64> {
        let of_run = |run: &Vec<f64>| run.get((run.len() as f64 * percentile) as usize).copied();
        let values: Option<Vec<f64>> = self.0.iter().map(of_run).collect();
        values.filter(|values| !values.is_empty()).map(median)
    }
}

/// The times from the sending of events to their lines, in microseconds.
fn delay(
    stub: &Stub,
    command: &mut Command,
    target: LineTarget,
    settle: Duration,
) -> io::Result<Vec<f64>> {
    const COUNT: usize = 2000;
    let file = tempfile::NamedTempFile::new()?;
    let stdout = match target {
        LineTarget::Pipe => Stdio::piped(),
        LineTarget::File => Stdio::from(file.reopen()?),
    };
    let mut child = spawn(command, stdout)?;
    let mut socket = stub.socket(settle)?;
    let begin = Instant::now();
    let mut source: Box<dyn Read + Send> = match child.stdout.take() {
        Some(stdout) => Box::new(stdout),
        None => Box::new(WaitForMore(file.reopen()?, begin)),
    };
    let reader = std::thread::spawn(move || -> io::Result<Vec<f64>> {
        let mut delays = Vec::new();
        let mut reader = BufReader::with_capacity(64 * 1024, &mut source);
        let mut line = Vec::new();
        while delays.len() < COUNT && reader.read_until(b'\n', &mut line)? > 0 {
            let now = begin.elapsed().as_nanos();
            if let Some(at) = memchr::memmem::find(&line, br#""sent":""#)
                && let Some(sent) = line.get(at + 8..at + 28)
                && let Ok(sent) = String::from_utf8_lossy(sent).parse::<u128>()
            {
                delays.push(now.saturating_sub(sent) as f64 / 1e3);
            }
            line.clear();
        }
        Ok(delays)
    });
    for n in 0..COUNT {
        let due = begin + Duration::from_millis(n as u64 + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Some(begin.elapsed().as_nanos());
        socket.send(&frame(&event(n, EventMix::Usual, sent)))?;
    }
    let delays = reader
        .join()
        .map_err(|_| io::Error::other("the reader failed"))??;
    let _ = child.kill();
    child.wait()?;
    Ok(delays)
}

/// Reads a file that grows, without a pause: for at most half a minute from its beginning.
struct WaitForMore(File, Instant);

impl Read for WaitForMore {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.1.elapsed() < Duration::from_secs(30) {
            match self.0.read(buffer)? {
                0 => std::thread::yield_now(),
                count => return Ok(count),
            }
        }
        Ok(0)
    }
}

/// Instructions and allocations per event in user space, which a busy machine does not change.
pub(crate) fn instructions(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let Some(valgrind) = &peers.valgrind else {
        report.note("instructions are not counted: valgrind is missing");
        return Ok(());
    };
    let stub = Stub::start(None)?;
    let count = |tool: &str, flags: &[&str], mix: EventMix, events: usize| -> io::Result<f64> {
        let ours = watch(&stub);
        let mut command = Command::new(&valgrind.path);
        command
            .args([
                &format!("--tool={tool}"),
                &format!("--{tool}-out-file=/dev/null"),
            ])
            .arg(ours.get_program())
            .args(ours.get_args())
            .args(flags)
            .args(["-n", &events.to_string()])
            .envs(
                ours.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let socket = stub.socket(Duration::from_secs(3))?;
        let pumped = Stub::pump(socket, events, mix)?;
        let output = child.wait_with_output()?;
        drop(pumped);
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .find_map(|line| {
                let (_, count) = line.split_once("Collected :").or_else(|| {
                    let (_, total) = line.split_once("Total:")?;
                    total.trim().split_once("bytes in ")
                })?;
                count
                    .split_whitespace()
                    .next()?
                    .replace(',', "")
                    .parse()
                    .ok()
            })
            .ok_or_else(|| io::Error::other(format!("{tool} did not count: {output:?}")))
    };
    for (what, flags, mix) in [
        ("all our fields", &["-e", "user.*"][..], EventMix::Usual),
        (
            "a field that clashes",
            &["-e", "user.*"],
            EventMix::Clashing,
        ),
        ("--raw", &["--raw"], EventMix::Usual),
        ("--jq .user.id", &["--jq", ".user.id"], EventMix::Usual),
        (
            "--jq with some fields",
            &["--jq", EXPRESSION],
            EventMix::Usual,
        ),
        ("--where", &["--where", CONDITION], EventMix::Usual),
        (
            "--jq with the whole record",
            &["--jq", WHOLE],
            EventMix::Usual,
        ),
    ] {
        for (tool, unit) in [
            ("callgrind", Unit::Instructions),
            ("dhat", Unit::Allocations),
        ] {
            let (few, many) = (4_000, 24_000);
            let each = count(tool, flags, mix, many)? - count(tool, flags, mix, few)?;
            let each = each / (many - few) as f64;
            report.row(Row::new(format!("one event, {what}"), unit).ours(each));
        }
    }
    Ok(())
}

/// Prints each event as a line, as its documentation shows it, and ends after a number of them.
pub(crate) const NODE_STREAM: &str = "
const [sdk, baseURL, count] = process.argv.slice(1);
const { StreamChat } = require(require.resolve('stream-chat', { paths: [sdk] }));
const client = new StreamChat('key', { baseURL });
let left = Number(count);
client.on((event) => {
  if (!event.user) return;
  process.stdout.write(JSON.stringify(event) + '\\n');
  if (--left === 0) process.exit(0);
});
client.connectUser({ id: 'watcher' }, client.devToken('watcher')).catch((error) => {
  console.error(error);
  process.exit(1);
});
";
