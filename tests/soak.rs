//! Soak: a watcher and a mock go through many changes and disconnects, and neither may grow.
//!
//! An ordinary test run makes a few changes. `docs/testing.md` has the command for the whole length.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chaos::processes::{Mock, Watch};
use crate::chaos::{OBSERVER, say};
use crate::support::mock::{API_KEY, SECRET};
use crate::support::{binary, signal};

/// Changes of one call, as many as the service accepts.
const BATCH: usize = 100;
/// Changes between two disconnects.
const ROUND: usize = 2000;
/// How long a round may take; a reason to fail, never one to pass.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a process uses.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident_kib: u64,
    descriptors: u64,
}

/// The usages of one process at the end of each round.
#[derive(Debug, Default)]
struct Usages(Vec<Usage>);

impl Usages {
    /// The middle values of the last rounds up to a round, because what a round leaves in buffers varies.
    fn around(&self, round: usize) -> Usage {
        let rounds = &self.0[round.saturating_sub(20)..round];
        let median = |value: fn(&Usage) -> u64| {
            let mut values: Vec<u64> = rounds.iter().map(value).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Usage {
            resident_kib: median(|usage| usage.resident_kib),
            descriptors: median(|usage| usage.descriptors),
        }
    }
}

impl Usage {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| {
            let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
            kib.parse().ok()
        });
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        Self {
            resident_kib: resident.unwrap(),
            descriptors: descriptors.count() as u64,
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_and_a_mock_do_not_grow() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let changes = setting("PRESENCECTL_SOAK_CHANGES");
    let is_whole_run = changes.is_some();
    let rounds = changes.unwrap_or(20_000) / ROUND;
    let users = setting("PRESENCECTL_SOAK_USERS").unwrap_or(500);

    let ids: Vec<String> = (0..users).map(|n| format!("user-{n:05}")).collect();
    let world: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    // Otherwise the watcher keeps to the service's limit when it subscribes again.
    let flags = ["--rate-limit", "1000000000"];
    let mock = Mock::start(0, &json!({ "users": world }), &flags).await;
    drop(world);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("ids"), ids.join("\n")).unwrap();
    let mut watch = Command::new(binary())
        .env_clear()
        .env("HOME", home.path())
        .env("PRESENCECTL_BASE_URL", format!("http://{}", mock.address))
        .env("STREAM_API_KEY", API_KEY)
        .env("STREAM_API_SECRET", SECRET)
        .current_dir(home.path())
        .args(["watch", "users", "--in", "@ids", "-o", "ndjson", "-q"])
        .args(["--backoff-max", "1ms"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Every gap is a warning there.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = watch.stdout.take().unwrap();
    let marks = read_marks(BufReader::new(stdout));
    assert_eq!(next(&marks), "covered");

    let mut usages = [
        (watch.id(), Usages::default()),
        (mock.pid(), Usages::default()),
    ];
    let started = Instant::now();
    for round in 1..=rounds {
        for batch in 0..ROUND / BATCH {
            if batch == ROUND / BATCH / 2 {
                let fault = json!({"kind": "drop", "user": OBSERVER, "now": true});
                let _ = mock.control("faults", &fault).await;
            }
            let first = (round * ROUND + batch * BATCH) % users;
            let status = format!("round {round}");
            let patches: Vec<Value> = (0..BATCH)
                .map(|n| json!({"id": ids[(first + n) % users], "set": {"status": status}}))
                .collect();
            let _ = mock
                .call("PATCH", "/users", &json!({ "users": patches }))
                .await;
        }
        let action = if round % 2 == 1 {
            "connect"
        } else {
            "disconnect"
        };
        let _ = mock
            .control(&format!("users/{}/{action}", ids[0]), &json!({}))
            .await;
        let mark = format!("mark {round}");
        let set = json!({"set": {"status": mark}});
        let _ = mock.control(&format!("users/{}/set", ids[0]), &set).await;
        while next(&marks) != mark {}
        for (pid, usages) in &mut usages {
            usages.0.push(Usage::of(*pid));
        }
        if round * 10 % rounds == 0 {
            let [watcher, mock] = [0, 1].map(|process: usize| usages[process].1.around(round));
            say(&format!(
                "soak: {} changes, {round} disconnects, {:.0} s: watcher {} KiB, {} descriptors; mock {} KiB, {} descriptors",
                round * ROUND,
                started.elapsed().as_secs_f64(),
                watcher.resident_kib,
                watcher.descriptors,
                mock.resident_kib,
                mock.descriptors
            ));
        }
    }
    for (name, (_, usages)) in ["watcher", "mock"].into_iter().zip(&usages) {
        let (first, last) = (usages.around(rounds / 10), usages.around(rounds));
        // A short run ends while buffers still fill.
        let slack = if is_whole_run { 0 } else { 16 * 1024 };
        assert!(
            last.resident_kib <= first.resident_kib * 105 / 100 + slack,
            "{name}: {first:?}, {last:?}"
        );
        let spare = if is_whole_run { 0 } else { 4 };
        assert!(
            last.descriptors * 100 <= (first.descriptors + spare) * 105,
            "{name}: {first:?}, {last:?}"
        );
    }
    signal(watch.id(), "INT");
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_million_ids_is_held_once() {
    const IDS: u64 = 1_000_000;
    let ids: Vec<String> = (0..IDS).map(|n| format!("user-{n:015}")).collect();
    let world = json!({"users": [{"id": ids[0]}]});
    // The limit keeps the calls from going on to users who do not exist.
    let mock = Mock::start(0, &world, &["--rate-limit", "60"]).await;
    let mut watch = Watch::start(mock.address, &ids, &[]);
    assert!(watch.until(|told| told.table.contains_key(&ids[0])).await);
    let status = std::fs::read_to_string(format!("/proc/{}/status", watch.pid())).unwrap();
    let own_kib = status.lines().find_map(|line| {
        let kib = line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()
    });
    // With the program's own pages, which depend on the build, this is 64 MiB for a packaged binary.
    assert!(own_kib.unwrap() < 54 * 1024, "{own_kib:?} KiB");
}

/// Reads lines, and passes on `covered` for the first coverage and each status that is a mark.
fn read_marks(lines: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, marks) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.lines() {
            let line = line.unwrap();
            let found = match line.split_once(r#""status":"mark "#) {
                Some((_, rest)) => rest
                    .split('"')
                    .next()
                    .map(|number| format!("mark {number}")),
                None => line
                    .contains(r#""type":"presence.coverage""#)
                    .then(|| "covered".to_owned()),
            };
            if let Some(found) = found
                && sender.send(found).is_err()
            {
                return;
            }
        }
    });
    marks
}

fn next(marks: &Receiver<String>) -> String {
    marks.recv_timeout(PATIENCE).expect("the watcher goes on")
}
