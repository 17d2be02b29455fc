//! `report` over a long recording, and `top` on a busy stream.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta};
use tempfile::TempDir;

use crate::commands::presencectl;
use crate::installed;
use crate::peers::{Peers, Program};
use crate::processes::{cpu_seconds, peak};
use crate::report::{Bound, Report, Row, Unit, median};
use crate::stub::{EventMix, Stub, event, frame};

/// Lines of the long recording, unless [`LINES_VARIABLE`] says otherwise.
const LINES: usize = 10_000_000;
const LINES_VARIABLE: &str = "PRESENCECTL_BENCH_LINES";
const USERS: usize = 10_000;
const FILES: usize = 4;
const ROUNDS: usize = 3;
/// jq gets this part of the recording, since it would take minutes for all of it.
const JQ_SHARE: u64 = 10;
/// Lines between two losses of the connection.
const LINES_PER_GAP: usize = 1_000_000;
const GAP: TimeDelta = TimeDelta::seconds(30);

/// A recorded day of one watcher, which was started again for each file.
#[derive(Debug)]
pub(crate) struct Recording {
    folder: TempDir,
    files: Vec<PathBuf>,
}

impl Recording {
    /// Writes one: users go online and offline at random, and the connection is lost every [`LINES_PER_GAP`] lines.
    pub(crate) fn create(lines: usize, users: usize, files: usize) -> io::Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut recording = Self {
            folder,
            files: Vec::new(),
        };
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let per_line = TimeDelta::hours(24) / i32::try_from(lines).unwrap_or(i32::MAX);
        let mut online = vec![false; users];
        let (mut now, mut seq, mut random) = (start, 0_u64, 1_u64);
        for file in 0..files {
            let path = recording.folder.path().join(format!("{file}.ndjson"));
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            recording.files.push(path);
            let mut own = |out: &mut BufWriter<File>, now: DateTime<_>, fields: &str| {
                seq += 1;
                let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
                writeln!(
                    out,
                    r#"{{{fields},"seq":{seq},"received_at":"{at}","source":"local"}}"#
                )
            };
            for (user, is_online) in online.iter().enumerate() {
                own(
                    &mut out,
                    now,
                    &format!(
                        r#""type":"presence.snapshot","user":{{"id":"user-{user:05}","name":"Amelia Example","online":{is_online},"status":"at lunch until two","last_active":null,"invisible":null}}"#
                    ),
                )?;
            }
            for line in lines * file / files..lines * (file + 1) / files {
                now += per_line;
                if line % LINES_PER_GAP == LINES_PER_GAP / 2 {
                    let from = now.to_rfc3339_opts(SecondsFormat::Millis, true);
                    own(&mut out, now, LOST)?;
                    now += GAP;
                    let to = now.to_rfc3339_opts(SecondsFormat::Millis, true);
                    own(&mut out, now, CONNECTED)?;
                    own(
                        &mut out,
                        now,
                        &format!(
                            r#""type":"presence.gap","from":"{from}","to":"{to}","repaired":[],"note":"the connection broke""#
                        ),
                    )?;
                    own(&mut out, now, RECOVERED)?;
                }
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let user = (random >> 33) as usize % users;
                online[user] = !online[user];
                let (is_online, was_online) = (online[user], !online[user]);
                let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
                own(
                    &mut out,
                    now,
                    &format!(
                        r#""type":"user.presence.changed","created_at":"{at}","user":{{"id":"user-{user:05}","role":"user","name":"Amelia Example","banned":false,"online":{is_online},"status":"at lunch until two","last_active":null,"invisible":null}},"changed":["online"],"previous":{{"online":{was_online}}}"#
                    ),
                )?;
            }
            own(&mut out, now, END)?;
            out.flush()?;
        }
        Ok(recording)
    }

    fn report(&self) -> Command {
        let mut command = presencectl("http://localhost:1");
        command
            .args(["report", "uptime", "-o", "ndjson"])
            .args(&self.files);
        command
    }

    /// Runs `report uptime`: the seconds that it takes, its peak of memory in MiB, and its lines.
    pub(crate) fn uptime(&self) -> io::Result<(f64, f64, Vec<u8>)> {
        let lines = self.folder.path().join("uptime");
        let start = Instant::now();
        let mut child = self
            .report()
            .stdin(Stdio::null())
            .stdout(File::create(&lines)?)
            .spawn()?;
        let mut memory = 0.0;
        let status = loop {
            // The process is gone at the end, and its last figure stays.
            memory = peak(child.id()).unwrap_or(memory);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let time = start.elapsed().as_secs_f64();
        if !status.success() {
            return Err(io::Error::other(format!("report ended with {status}")));
        }
        Ok((time, memory, std::fs::read(&lines)?))
    }
}

const LOST: &str =
    r#""type":"connection.changed","online":false,"reason":"the connection broke","attempt":0"#;
const CONNECTED: &str =
    r#""type":"connection.changed","online":true,"reason":"connected again","attempt":1"#;
const END: &str = r#""type":"stream.end","reason":"interrupted","events":1,"gaps":0,"reconnects":0,"exit_code":130"#;
const RECOVERED: &str = r#""type":"connection.recovered""#;

pub(crate) fn report_uptime(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let lines = match std::env::var(LINES_VARIABLE) {
        Ok(lines) => lines.parse().map_err(io::Error::other)?,
        Err(_) => LINES,
    };
    let recording = Recording::create(lines, USERS, FILES)?;
    let (mut times, mut memory, mut online) = (Vec::new(), 0.0, 0.0);
    for _ in 0..ROUNDS {
        let (time, peak, lines) = recording.uptime()?;
        times.push(time);
        memory = peak;
        online = online_seconds(&lines)?;
    }
    let rate = lines as f64 / median(times);
    let duckdb = peers.duckdb.as_ref().map(|duckdb| {
        let (time, theirs) = duckdb_uptime(duckdb, &recording)?;
        if (theirs - online).abs() > online * 1e-6 {
            return Err(io::Error::other(format!(
                "it computes {theirs} s online, and `report` {online} s"
            )));
        }
        Ok(lines as f64 / time)
    });
    let jq = peers.jq.as_ref().map(|jq| jq_rate(jq, &recording));
    let duckdb = report.figure("DuckDB", duckdb);
    let jq = report.figure("jq", jq);
    report.row(
        Row::new(
            format!("report uptime, {lines} lines, {USERS} users"),
            Unit::PerSecond,
        )
        .ours(rate)
        .peer("DuckDB", duckdb)
        .peer("jq -c .type on a tenth", jq)
        .ratio("DuckDB", duckdb, Bound::AtLeast(1.5))
        .ratio("jq", jq, Bound::AtLeast(20.0)),
    );
    report.row(Row::new("its memory", Unit::Mebibytes).ours(memory).aim(
        "MiB",
        memory,
        Bound::AtMost(64.0),
    ));
    Ok(())
}

/// Computes the same with DuckDB: the seconds that it takes, and for how many seconds all users together were online.
fn duckdb_uptime(duckdb: &Program, recording: &Recording) -> io::Result<(f64, f64)> {
    let files: Vec<String> = recording
        .files
        .iter()
        .map(|file| format!("'{}'", file.display()))
        .collect();
    let start = Instant::now();
    let output = Command::new(&duckdb.path)
        .args(["-noheader", "-list", "-c"])
        .arg(format!("SET VARIABLE recordings = [{}]", files.join(",")))
        .args(["-c", DUCKDB])
        .stdin(Stdio::null())
        .output()?;
    let time = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    let online = text
        .trim()
        .parse()
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))?;
    Ok((time, online))
}

/// The lines a second of `jq -c .type` on the first lines of the recording.
fn jq_rate(jq: &Program, recording: &Recording) -> io::Result<f64> {
    let mut bytes = 0;
    for file in &recording.files {
        bytes += std::fs::metadata(file)?.len();
    }
    let mut text = Vec::new();
    File::open(&recording.files[0])?
        .take(bytes / JQ_SHARE)
        .read_to_end(&mut text)?;
    // The last line is cut.
    text.truncate(memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1));
    let part = recording.folder.path().join("part");
    std::fs::write(&part, &text)?;
    let start = Instant::now();
    let status = Command::new(&jq.path)
        .args(["-c", ".type"])
        .arg(&part)
        .stdout(Stdio::null())
        .status()?;
    let time = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    Ok(memchr::memchr_iter(b'\n', &text).count() as f64 / time)
}

/// The sum of `online_s` of all users.
fn online_seconds(lines: &[u8]) -> io::Result<f64> {
    let mut sum = 0.0;
    for line in lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: serde_json::Value = serde_json::from_slice(line)?;
        sum += record["online_s"].as_f64().unwrap_or(f64::NAN);
    }
    Ok(sum)
}

/// The same in SQL: how long each user was online, without the time between a loss of the connection and its recovery.
/// A state lasts until the next one; the time in gaps before a moment is subtracted on both sides.
const DUCKDB: &str = r#"
CREATE TEMP TABLE lines AS SELECT type, received_at AS moment, online AS connected, "user".id AS id, "user".online AS online
FROM read_ndjson(getvariable('recordings'),
  columns = {type: 'VARCHAR', received_at: 'TIMESTAMP', online: 'BOOLEAN', user: 'STRUCT(id VARCHAR, online BOOLEAN)'});
WITH losses AS (
  SELECT moment AS start, lead(moment) OVER (ORDER BY moment, connected) AS stop, type
  FROM lines WHERE type = 'connection.recovered' OR (type = 'connection.changed' AND NOT connected)
), gaps AS (
  SELECT start, stop, coalesce(sum(epoch_ms(stop) - epoch_ms(start)) OVER (ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM losses WHERE type = 'connection.changed'
), states AS (
  SELECT id, online, moment FROM lines WHERE id IS NOT NULL
), ends AS (
  SELECT max(moment) AS moment FROM lines
), times AS (
  SELECT id, online, epoch_ms(s.moment) - coalesce(before + least(epoch_ms(s.moment), epoch_ms(stop)) - epoch_ms(start), 0) AS t
  FROM (SELECT * FROM states UNION ALL SELECT DISTINCT id, NULL, ends.moment FROM states, ends) s ASOF LEFT JOIN gaps ON s.moment >= gaps.start
), spans AS (
  SELECT online, lead(t) OVER (PARTITION BY id ORDER BY t, online NULLS LAST) - t AS ms FROM times
)
SELECT sum(ms) / 1000.0 FROM spans WHERE online;
"#;

const TOP_USERS: usize = 10_000;
const TOP_EVENTS_PER_SECOND: usize = 1000;
const TOP_SECONDS: usize = 10;

pub(crate) fn top(peers: &Peers, report: &mut Report) -> io::Result<()> {
    let Some(script) = &peers.script else {
        report.note("top is not measured: script, which gives it a terminal, is missing");
        return Ok(());
    };
    let stub = Stub::start(None)?;
    let list = tempfile::NamedTempFile::new()?;
    let mut ids = BufWriter::new(list.as_file());
    for n in 0..TOP_USERS {
        writeln!(ids, "user-{n}")?;
    }
    ids.flush()?;
    let mut command = presencectl(&stub.url());
    let line = format!(
        "stty rows 50 cols 200; exec '{}' top users --in @{}",
        installed::presencectl().display(),
        list.path().display()
    );
    let envs: Vec<_> = command
        .env("TERM", "xterm-256color")
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut child = Command::new(&script.path)
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .envs(envs)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let measured = busy_top(&stub, &child);
    let _ = child.kill();
    child.wait()?;
    let share = measured?;
    report.row(
        Row::new(
            "top, 10,000 users, 1,000 events a second, of one core",
            Unit::Percent,
        )
        .ours(share)
        .aim("%", share, Bound::AtMost(10.0)),
    );
    Ok(())
}

/// How many percent of a core `top` takes while events come.
fn busy_top(stub: &Stub, script: &Child) -> io::Result<f64> {
    let mut socket = stub.socket(Duration::from_secs(5))?;
    let children = format!("/proc/{0}/task/{0}/children", script.id());
    let top: u32 = std::fs::read_to_string(children)?
        .trim()
        .parse()
        .map_err(io::Error::other)?;
    let before = cpu_seconds(top)?;
    let start = Instant::now();
    for n in 0..TOP_EVENTS_PER_SECOND * TOP_SECONDS {
        let due = start + Duration::from_secs_f64(n as f64 / TOP_EVENTS_PER_SECOND as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // The same events, about ever other users.
        let text = event(n, EventMix::Usual, None).replacen(
            &format!(r#""id":"user-{}""#, n % 10),
            &format!(r#""id":"user-{}""#, n * 7919 % TOP_USERS),
            1,
        );
        socket.send(&frame(&text))?;
    }
    let time = start.elapsed().as_secs_f64();
    Ok((cpu_seconds(top)? - before) / time * 100.0)
}
