//! A million events, from a socket to stdout; and a thousand a second, each timed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::oneshot::{presencectl, role};
use crate::peers::Peers;
use crate::report::{Bound, Report, Row, Unit, median};
use crate::stub::{Stub, event, frame};

const EVENTS: usize = 1_000_000;
/// For programs that would take a minute.
const FEW: usize = 100_000;
const ROUNDS: usize = 3;
/// How long a client has after its connection for whatever it does before events come.
pub(crate) const SETTLE: Duration = Duration::from_millis(700);
/// The same for one that starts slowly.
pub(crate) const SETTLE_LONG: Duration = Duration::from_millis(1500);
const USERS: &str = "user-0,user-1,user-2,user-3,user-4,user-5,user-6,user-7,user-8,user-9";

pub(crate) fn rates(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    verify(&stub)?;
    let watch = |flags: &[&str]| {
        let mut command = watch(&stub);
        command.arg("-n").arg(EVENTS.to_string()).args(flags);
        command
    };
    let lines = || role("lines", &stub.address.to_string(), "/connect");
    let websocat = peers.websocat.as_ref().map(|websocat| {
        let url = format!("ws://{}/connect", stub.address);
        move || {
            let mut command = Command::new(&websocat.path);
            command.args(["-U", "-B", "1000000", &url]);
            command
        }
    });
    let (mut own, mut raw, mut least, mut verbatim, mut jq) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for _ in 0..ROUNDS {
        least.push(rate(&stub, &mut lines(), EVENTS, SETTLE)?);
        own.push(rate(&stub, &mut watch(&["-e", "user.*"]), EVENTS, SETTLE)?);
        raw.push(rate(&stub, &mut watch(&["--raw"]), EVENTS, SETTLE)?);
        jq.push(rate(
            &stub,
            &mut watch(&["--jq", ".user.id"]),
            EVENTS,
            SETTLE,
        )?);
        if let Some(websocat) = &websocat {
            verbatim.push(rate(&stub, &mut websocat(), EVENTS, SETTLE)?);
        }
    }
    let node = peers.node.as_ref().map(|(node, sdk)| {
        let mut command = Command::new(&node.path);
        command
            .args(["-e", NODE_STREAM])
            .arg(sdk)
            .args([&stub.url(), &FEW.to_string()]);
        rate(&stub, &mut command, FEW, SETTLE_LONG)
    });
    let piped = peers
        .jq
        .as_ref()
        .zip(peers.websocat.as_ref())
        .map(|(jq, websocat)| {
            let script = format!(
                "'{}' -U -B 1000000 ws://{}/connect | '{}' -c .user.id",
                websocat.path.display(),
                stub.address,
                jq.path.display()
            );
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            rate(&stub, &mut command, FEW * 2, SETTLE)
        });
    let some_median = |values: Vec<f64>| (!values.is_empty()).then(|| median(values));
    let (least, verbatim) = (median(least), some_median(verbatim));
    let node = report.figure("Node SDK", node);
    let piped = report.figure("websocat | jq", piped);
    report.row(
        Row::new("1,000,000 events, all our fields", Unit::PerSecond)
            .ours(median(own))
            .limit(least)
            .peer("websocat verbatim", verbatim)
            .peer("Node SDK", node)
            .ratio("websocat", verbatim, Bound::AtLeast(1.5))
            .ratio("Node SDK", node, Bound::AtLeast(15.0)),
    );
    report.row(
        Row::new("the same with --raw", Unit::PerSecond)
            .ours(median(raw))
            .limit(least)
            .ratio("limit", Some(least), Bound::AtLeast(0.7)),
    );
    report.row(
        Row::new("the same through --jq .user.id", Unit::PerSecond)
            .ours(median(jq))
            .peer("websocat | jq", piped)
            .ratio("websocat | jq", piped, Bound::AtLeast(2.5)),
    );
    Ok(())
}

/// Our program, following ten users.
pub(crate) fn watch(stub: &Stub) -> Command {
    let mut command = presencectl(&stub.url());
    command.args([
        "watch",
        "users",
        "--in",
        USERS,
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
    let sender = std::thread::spawn(move || Stub::pump(socket, events));
    let stdout = child.stdout.take().expect("it is piped");
    let mut good = 0;
    for line in BufReader::new(stdout).lines() {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        if record["changed"]
            .as_array()
            .is_some_and(|changed| !changed.is_empty())
            && record["user"]["invisible"].is_null()
            && record["seq"].is_u64()
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
fn rate(stub: &Stub, command: &mut Command, events: usize, settle: Duration) -> io::Result<f64> {
    let mut child = spawn(command, Stdio::from(File::create("/dev/null")?))?;
    let socket = stub.socket(settle)?;
    let pumped = Stub::pump(socket, events)?;
    let (started, mut socket) = (pumped.started, pumped.socket);
    // Those who do not count end when the server does.
    let _ = socket.write_all(&[0x88, 2, 3, 0xe8]);
    let _ = socket.shutdown(std::net::Shutdown::Write);
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

pub(crate) fn latency(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let (mut own, mut least, mut verbatim) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        least.push(delay(
            &stub,
            &mut role("lines", &stub.address.to_string(), "/connect"),
            SETTLE,
        )?);
        own.push(delay(&stub, &mut watch(&stub), SETTLE)?);
        if let Some(websocat) = &peers.websocat {
            let url = format!("ws://{}/connect", stub.address);
            let mut command = Command::new(&websocat.path);
            command.args(["-U", &url]);
            verbatim.push(delay(&stub, &mut command, SETTLE)?);
        }
    }
    let node = peers.node.as_ref().map(|(node, sdk)| {
        let mut command = Command::new(&node.path);
        command
            .args(["-e", NODE_STREAM])
            .arg(sdk)
            .args([&stub.url(), "100000000"]);
        delay(&stub, &mut command, SETTLE_LONG)
    });
    let node = report.figure("Node SDK", node);
    let least = median(least);
    report.row(
        Row::new("send to line at 1,000 a second, p50", Unit::Microseconds)
            .ours(median(own))
            .limit(least)
            .peer("websocat", (!verbatim.is_empty()).then(|| median(verbatim)))
            .peer("Node SDK", node)
            .ratio("limit", Some(least), Bound::AtMost(1.15)),
    );
    Ok(())
}

/// The middle time from an event's sending to its line, in microseconds.
fn delay(stub: &Stub, command: &mut Command, settle: Duration) -> io::Result<f64> {
    const COUNT: usize = 2000;
    let mut child = spawn(command, Stdio::piped())?;
    let mut socket = stub.socket(settle)?;
    let begin = Instant::now();
    let stdout = child.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || -> io::Result<Vec<f64>> {
        let mut delays = Vec::new();
        let mut reader = BufReader::with_capacity(64 * 1024, stdout);
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
        let text = frame(&event(n, begin.elapsed().as_nanos()));
        socket.write_all(&text)?;
    }
    let delays = reader
        .join()
        .map_err(|_| io::Error::other("the reader failed"))??;
    let _ = child.kill();
    child.wait()?;
    Ok(median(delays))
}

/// Instructions per event in user space, which a busy machine does not change.
pub(crate) fn instructions(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let Some(valgrind) = &peers.valgrind else {
        report.note("instructions are not counted: valgrind is missing");
        return Ok(());
    };
    let stub = Stub::start(None)?;
    for (what, flags) in [
        ("one event, all our fields", &["-e", "user.*"][..]),
        ("one event with --raw", &["--raw"]),
        ("one event through --jq .user.id", &["--jq", ".user.id"]),
    ] {
        let count = |events: usize| -> io::Result<f64> {
            let ours = watch(&stub);
            let mut command = Command::new(&valgrind.path);
            command
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
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
            let socket = stub.socket(Duration::from_secs(5))?;
            let pumped = Stub::pump(socket, events)?;
            let output = child.wait_with_output()?;
            drop(pumped);
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
                .ok_or_else(|| io::Error::other(format!("callgrind did not count: {output:?}")))
        };
        let (few, many) = (10_000, 60_000);
        let each = (count(many)? - count(few)?) / (many - few) as f64;
        report.row(Row::new(what, Unit::Instructions).ours(each));
    }
    Ok(())
}

/// Prints each event as a line, as its documentation shows it, and ends after a number of them.
pub(crate) const NODE_STREAM: &str = "
const [sdk, baseURL, count] = process.argv.slice(1);
const { StreamChat } = require(require.resolve('stream-chat', { paths: [sdk] }));
const client = new StreamChat('key', { baseURL });
let left = Number(count);
client.on('user.presence.changed', (event) => {
  process.stdout.write(JSON.stringify(event) + '\\n');
  if (--left === 0) process.exit(0);
});
client.connectUser({ id: 'watcher' }, client.devToken('watcher')).catch((error) => {
  console.error(error);
  process.exit(1);
});
";
