//! `report` against the mock's own log: a real `watch --tee` under faults, and everything that the server did meanwhile.
//!
//! A witness subscribes to all users on a connection without faults. What the mock's log says it sent to the witness is the
//! truth: each change of a user's state, with its time. A change reached the watcher when its record says; one without a
//! record must lie in time that the report calls unknown. With that, report and truth must agree to the millisecond.
//!
//! `PRESENCECTL_REPORT_RUN_SECONDS=120 cargo test report_run -- --nocapture` runs for two minutes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use presencectl::report::input::InputSource;
use presencectl::report::intervals::{
    Analysis, Edge, Interval, PresenceState, UserIndex, UserInfo,
};
use presencectl::report::{ReportRequest, analyse};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::chaos::OBSERVER;
use crate::chaos::processes::{Mock, Watch, Witness};
use crate::support::mock::{API_KEY, SECRET};
use crate::support::{Presencectl, binary, signal};

const USERS: usize = 40;
/// Somebody whose status marks the end of everything before.
const MARKER: &str = "marker";
/// How long an ordinary run lasts.
const SECONDS: u64 = 10;
/// One round in so many has faults: a gap begins a second before the loss, so there must be time that is known.
const ROUNDS_PER_FAULT: u32 = 5;
/// The round in which the watcher is killed.
const KILL_ROUND: u32 = 7;
/// A deadline that only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is killed with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a file contains a text.
async fn wait_for(file: &Path, text: &str) {
    let start = Instant::now();
    while !fs::read_to_string(file).is_ok_and(|content| content.contains(text)) {
        assert!(
            start.elapsed() < PATIENCE,
            "{} has no {text}",
            file.display()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A fault that the watcher meets, of every kind that does not change the order of frames: a frame out of order is an old
/// copy when it comes, so nobody can tell when its state began.
fn fault(dice: &mut StdRng) -> Value {
    let after = dice.random_range(0..6);
    let mut fault = match dice.random_range(0..12) {
        0 | 1 => json!({"kind": "drop"}),
        2 => json!({"kind": "close", "code": 1011}),
        3 => json!({"kind": "drop", "now": true}),
        4 => json!({"kind": "garbage"}),
        5 => json!({"kind": "duplicate"}),
        6 => json!({"kind": "late", "delay": "40ms"}),
        7 => json!({"kind": "half-open", "event": "user.*"}),
        8 => json!({"kind": "mute", "now": true}),
        9 => json!({"kind": "status", "path": "/users", "status": 500}),
        10 => json!({"kind": "delay", "path": "/users", "delay": "60ms"}),
        _ => json!({"kind": "reset", "path": "/connect"}),
    };
    fault["user"] = json!(OBSERVER);
    if fault["now"].is_null() {
        fault["count"] = json!(1);
        fault["after"] = json!(after);
    }
    fault
}

/// A user's states, each from a time in milliseconds on. Offline before.
type States = Vec<(i64, bool)>;

fn millis(time: &Value) -> i64 {
    let time = chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    time.timestamp_millis()
}

/// What the mock's log says it sent to the witness, at the times at which the watcher recorded it.
fn truth(log: &Path, recording: &Path) -> (BTreeMap<String, States>, usize) {
    let mut recorded = HashMap::new();
    let mut answered: HashMap<String, i64> = HashMap::new();
    for line in fs::read_to_string(recording).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let user = record["user"]["id"].to_string();
        if record["source"] == "query" || record["source"] == "resync" {
            answered.insert(user, millis(&record["received_at"]));
        } else if record["type"] == "user.presence.changed" {
            // An event that overtook an answer counts from the answer on, behind which it is written.
            let answered = answered.get(&user).copied().unwrap_or(i64::MIN);
            let key = (user, record["created_at"].to_string());
            recorded.insert(key, millis(&record["received_at"]).max(answered));
        }
    }
    let mut states: BTreeMap<String, States> = BTreeMap::new();
    let mut unrecorded = 0;
    for line in fs::read_to_string(log).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let frame = &entry["frame"];
        if entry["type"] != "mock.frame.sent"
            || entry["user"] != "witness"
            || frame["type"] != "user.presence.changed"
        {
            continue;
        }
        let user = &frame["user"];
        let online = user["online"].as_bool().unwrap();
        let changes = states
            .entry(user["id"].as_str().unwrap().to_owned())
            .or_default();
        if changes.last().map_or(online, |(_, last)| *last != online) {
            let key = (user["id"].to_string(), frame["created_at"].to_string());
            let received = recorded.get(&key).copied();
            unrecorded += usize::from(received.is_none());
            changes.push((
                received.unwrap_or_else(|| millis(&frame["created_at"])),
                online,
            ));
        }
    }
    (states, unrecorded)
}

/// How long a user was online between two times.
fn online_between(states: &States, from: i64, to: i64) -> i64 {
    let ends = states.iter().skip(1).map(|(at, _)| *at).chain([i64::MAX]);
    states
        .iter()
        .zip(ends)
        .filter(|((_, online), _)| *online)
        .map(|((start, _), end)| (end.min(to) - start.max(&from)).max(0))
        .sum()
}

#[derive(Default)]
struct Collected(BTreeMap<String, Vec<Interval>>);

impl Analysis for Collected {
    fn interval(&mut self, _: UserIndex, user_info: &UserInfo, interval: &Interval, _: i64) {
        let intervals = self.0.entry(user_info.id.to_string()).or_default();
        intervals.push(*interval);
    }
}

/// What a run found.
#[derive(Debug, Default)]
struct Findings {
    changes: usize,
    unrecorded: usize,
    sessions: usize,
    known: i64,
    unknown: i64,
    differences: Vec<String>,
}

fn compare(log: &Path, recording: &Path) -> Findings {
    let (truth, unrecorded) = truth(log, recording);
    let mut collected = Collected::default();
    let request = ReportRequest {
        inputs: vec![InputSource::File(recording.to_owned())],
        ..ReportRequest::default()
    };
    let _ = analyse(&request, &mut collected).unwrap();
    let mut found = Findings {
        changes: truth.values().map(Vec::len).sum(),
        unrecorded,
        ..Findings::default()
    };
    let report = |command: &str| {
        let words = [
            "report",
            command,
            "-o",
            "ndjson",
            &recording.display().to_string(),
        ];
        Presencectl::new(words).run().ended_with(0).records()
    };
    let seconds = |value: &Value| (value.as_f64().unwrap() * 1000.0).round() as i64;
    let uptime = report("uptime");
    let sessions = report("sessions");
    found.sessions = sessions.len();
    let nothing = States::new();
    for (user, intervals) in &collected.0 {
        let states = truth.get(user).unwrap_or(&nothing);
        let (mut online, mut offline, mut unknown) = (0, 0, 0);
        for interval in intervals {
            let (from, to) = (interval.from, interval.to);
            let is_true = online_between(states, from, to);
            if interval.state == PresenceState::Unknown {
                unknown += to - from;
                continue;
            }
            online += is_true;
            offline += to - from - is_true;
            let expected = match interval.state {
                PresenceState::Online => to - from,
                _ => 0,
            };
            if is_true != expected {
                found.differences.push(format!(
                    "{user}: {:?} from {from} to {to}, but online for {is_true} ms of it",
                    interval.state
                ));
            }
            // A change that is reported as observed is one, at that time.
            if interval.start == Edge::Observed && interval.length() > 0 {
                let is_online = interval.state == PresenceState::Online;
                if !states
                    .iter()
                    .any(|(at, online)| *online == is_online && (*at == from || *at + 1 == from))
                {
                    found.differences.push(format!(
                        "{user}: no change to {:?} at {from}",
                        interval.state
                    ));
                }
            }
        }
        let record = uptime
            .iter()
            .find(|record| record["user_id"] == user.as_str());
        let record = record.unwrap_or_else(|| panic!("{user} has no uptime"));
        let total = (
            seconds(&record["online_s"]),
            seconds(&record["offline_s"]),
            seconds(&record["unknown_s"]),
        );
        if total != (online, offline, unknown) {
            found.differences.push(format!(
                "{user}: uptime {total:?}, in truth {:?}",
                (online, offline, unknown)
            ));
        }
        let of_user = sessions
            .iter()
            .filter(|session| session["user_id"] == user.as_str());
        let length: i64 = of_user.map(|session| seconds(&session["duration_s"])).sum();
        if length != online {
            found.differences.push(format!(
                "{user}: sessions of {length} ms, in truth {online} ms"
            ));
        }
        found.known += online + offline;
        found.unknown += unknown;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_agrees_with_the_log_of_the_mock_under_faults() {
    let seconds = std::env::var("PRESENCECTL_REPORT_RUN_SECONDS");
    let seconds = seconds.map_or(SECONDS, |text| text.parse().unwrap());
    let ids: Vec<String> = (0..USERS)
        .map(|number| format!("u{number:02}"))
        .chain([MARKER.to_owned()])
        .collect();
    let users: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let mock = Mock::start(0, &json!({ "users": users }), &["--rate-limit", "1000000"]).await;
    let folder = tempfile::tempdir().unwrap();
    let (log, recording) = (folder.path().join("log"), folder.path().join("day.ndjson"));
    let follower = Command::new(binary())
        .args(["mock", "log", "-f", "-n", "10000", "-o", "ndjson"])
        .env_clear()
        .env("PRESENCECTL_BASE_URL", format!("http://{}", mock.address))
        .env("STREAM_API_KEY", API_KEY)
        .env("STREAM_API_SECRET", SECRET)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let _follower = Background(follower);
    let witness = Witness::start(&mock, &ids).await;
    let flags = [
        "--tee",
        recording.to_str().unwrap(),
        "--backoff-max",
        "100ms",
        "--stale-after",
        "1s",
    ];
    let mut watch = Watch::start(mock.address, &ids, &flags);
    wait_for(&recording, "presence.coverage").await;

    let mut dice = StdRng::seed_from_u64(7);
    let mut online = [false; USERS];
    let start = Instant::now();
    let (mut round, mut faults) = (0_u32, 0_usize);
    loop {
        let is_last = start.elapsed().as_secs() >= seconds && round > KILL_ROUND;
        if is_last {
            let _ = mock.call("DELETE", "/_mock/faults", &Value::Null).await;
        } else if round % ROUNDS_PER_FAULT == 0 {
            for _ in 0..dice.random_range(1..4) {
                let _ = mock.control("faults", &fault(&mut dice)).await;
                faults += 1;
            }
        }
        for _ in 0..dice.random_range(5..30) {
            let user = dice.random_range(0..USERS);
            let action = if online[user] {
                "disconnect"
            } else {
                "connect"
            };
            online[user] = !online[user];
            let path = format!("users/{}/{action}", ids[user]);
            let _ = mock.control(&path, &json!({})).await;
            // The changes are spread over the run.
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..60))).await;
        }
        // The watcher dies without a word, and another one goes on in the same file.
        if round == KILL_ROUND {
            signal(watch.pid(), "KILL");
            let _ = watch.end().await;
            watch = Watch::start(mock.address, &ids, &flags);
        }
        round += 1;
        let mark = format!("round {round}");
        let set = json!({"set": {"status": mark}});
        let _ = mock.control(&format!("users/{MARKER}/set"), &set).await;
        wait_for(&recording, &format!("\"status\":\"{mark}\"")).await;
        if is_last {
            wait_for(&log, &format!("\"status\":\"{mark}\"")).await;
            break;
        }
    }
    signal(watch.pid(), "TERM");
    let (code, _, errors) = watch.end().await;
    assert_eq!(code, Some(143), "{errors}");
    drop(witness);

    let found = compare(&log, &recording);
    let text = fs::read_to_string(&recording).unwrap();
    say(&format!(
        "report against the mock's log: {:.0} s, {faults} faults, {} gaps, {} changes, {} of them not recorded, \
         {} sessions, {:.1} user-seconds known, {:.1} unknown, {} differences",
        start.elapsed().as_secs_f64(),
        text.matches("\"type\":\"presence.gap\"").count(),
        found.changes,
        found.unrecorded,
        found.sessions,
        found.known as f64 / 1000.0,
        found.unknown as f64 / 1000.0,
        found.differences.len()
    ));
    assert_eq!(found.differences, [] as [String; 0]);
    assert!(found.sessions > 0 && found.known > 0 && found.unknown > 0);
}

/// Prints something whether or not the test passes.
#[expect(clippy::print_stderr, reason = "the figures are what the run is for")]
fn say(text: &str) {
    eprintln!("{text}");
}
