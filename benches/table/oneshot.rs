//! One question, one answer, one process: what a script pays for each call.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::certificate::Certificate;
use crate::commands::{SECRET, presencectl, role, time};
use crate::peers::Peers;
use crate::processes::children_cpu_seconds;
use crate::report::{Bound, Report, Row, Unit, median};
use crate::stub::Stub;

const ROUNDS: usize = 101;
/// Calls in a row of one program, whose processor time is measured together: the system counts it in hundredths of a
/// second.
const CPU_CALLS: usize = 100;
const CPU_ROUNDS: usize = 3;
const SLOW_ROUNDS: usize = 7;
/// What our command asks, as others ask it.
const TARGET: &str = "/users?api_key=key&payload=%7B%22filter_conditions%22%3A%7B%22id%22%3A%7B%22%24in%22%3A%5B%22john%22%2C%22jack%22%5D%7D%7D%7D";

pub(crate) fn http(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let stub = Stub::start(None)?;
    let limit = || role("tcp-get", &stub.address.to_string(), TARGET);
    compare(
        peers,
        report,
        "query 2 users, http",
        &stub.url(),
        &limit,
        None,
        1.4,
    )
}

pub(crate) fn https(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let Some(certificate) = Certificate::create(peers, report)? else {
        return Ok(());
    };
    let stub = Stub::start(Some(certificate.server_config()?))?;
    let url = format!("https://localhost:{}", stub.address.port());
    let limit = || {
        let mut command = role("tls-get", &stub.address.to_string(), TARGET);
        command.env("SSL_CERT_FILE", certificate.roots());
        command
    };
    compare(
        peers,
        report,
        "query 2 users, https",
        &url,
        &limit,
        Some(certificate.roots()),
        1.3,
    )
}

fn compare(
    peers: &Peers,
    report: &mut Report,
    what: &str,
    url: &str,
    limit: &dyn Fn() -> Command,
    roots: Option<&Path>,
    cpu_bound: f64,
) -> io::Result<()> {
    let ours = || {
        let mut command = presencectl(url);
        command.args(["query-users", "--in", "john,jack", "-o", "ndjson"]);
        if let Some(roots) = roots {
            command.env("SSL_CERT_FILE", roots);
        }
        command
    };
    let curl = peers
        .curl
        .as_ref()
        .zip(peers.jq.as_ref())
        .map(|(curl, jq)| {
            let cacert =
                roots.map_or_else(String::new, |roots| format!("--cacert {}", roots.display()));
            let script = format!(
                "'{}' -sS {cacert} '{url}{TARGET}' | '{}' -c '.users[]'",
                curl.path.display(),
                jq.path.display()
            );
            move || {
                let mut command = Command::new("sh");
                command.args(["-c", &script]);
                command
            }
        });
    let node = peers.node.as_ref().map(|(node, sdk)| {
        move || {
            let mut command = Command::new(&node.path);
            command.args(["-e", NODE_QUERY, &sdk.display().to_string(), url, SECRET]);
            if let Some(roots) = roots {
                command.env("NODE_EXTRA_CA_CERTS", roots);
            }
            command
        }
    });
    check(&mut ours())?;
    let (mut own, mut least) = (Vec::new(), Vec::new());
    // In turns, so that whatever else the machine does happens to both.
    for _ in 0..ROUNDS {
        least.push(time(&mut limit())?);
        own.push(time(&mut ours())?);
    }
    let slow = |command: &dyn Fn() -> Command| -> io::Result<f64> {
        let times: io::Result<Vec<f64>> = (0..SLOW_ROUNDS).map(|_| time(&mut command())).collect();
        times.map(median)
    };
    let curl_time = report.figure("curl, jq", curl.as_ref().map(|curl| slow(curl)));
    let node_time = report.figure("Node SDK", node.as_ref().map(|node| slow(node)));
    let least = median(least);
    report.row(
        Row::new(what, Unit::Milliseconds)
            .ours(median(own))
            .limit(least)
            .peer("curl, jq", curl_time)
            .peer("Node SDK", node_time)
            .ratio("limit", Some(least), Bound::AtMost(1.6)),
    );
    let (mut own, mut least) = (0.0, 0.0);
    for _ in 0..CPU_ROUNDS {
        least += cpu_time(limit)?;
        own += cpu_time(&ours)?;
    }
    let each = 1e3 / (CPU_ROUNDS * CPU_CALLS) as f64;
    report.row(
        Row::new(format!("{what}, processor time"), Unit::Milliseconds)
            .ours(own * each)
            .limit(least * each)
            .ratio("limit", Some(least * each), Bound::AtMost(cpu_bound)),
    );
    if let Some(program) = &peers.time {
        let peak = |command: Command| peak(&program.path, &command);
        let (own, least) = (peak(ours())?, peak(limit())?);
        let node_peak = report.figure("Node SDK", node.as_ref().map(|node| peak(node())));
        let row = Row::new(format!("{what}, peak memory"), Unit::Mebibytes)
            .ours(own)
            .limit(least)
            .peer("Node SDK", node_peak)
            .aim("MiB more than the limit", own - least, Bound::AtMost(6.0));
        report.row(row);
    }
    Ok(())
}

/// The processor time of some calls together, in seconds.
fn cpu_time(command: &dyn Fn() -> Command) -> io::Result<f64> {
    let before = children_cpu_seconds()?;
    for _ in 0..CPU_CALLS {
        time(&mut command())?;
    }
    Ok(children_cpu_seconds()? - before)
}

/// That the answer is the one that is asked for: a program that fails fast would win.
fn check(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    let lines = String::from_utf8_lossy(&output.stdout);
    if lines.lines().count() == 2 && lines.contains("\"jack\"") {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {output:?}")))
}

fn peak(time: &Path, command: &Command) -> io::Result<f64> {
    let mut timed = Command::new(time);
    timed
        .args(["-f", "%M"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    let output = timed.stdout(Stdio::null()).output()?;
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .last()
        .and_then(|line| line.trim().parse::<f64>().ok())
        .map(|kibibytes| kibibytes / 1024.0)
        .ok_or_else(|| io::Error::other(format!("{timed:?}: {output:?}")))
}

const NODE_QUERY: &str = "
const [sdk, baseURL, secret] = process.argv.slice(1);
const { StreamChat } = require(require.resolve('stream-chat', { paths: [sdk] }));
const client = new StreamChat('key', secret, { baseURL });
client.queryUsers({ id: { $in: ['john', 'jack'] } }).then(({ users }) => {
  for (const user of users) process.stdout.write(JSON.stringify(user) + '\\n');
});
";
