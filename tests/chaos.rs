//! Chaos: one real `watch` against one real mock, hundreds of users who change, hundreds of faults, and a reader that knows
//! only the documented contract.
//!
//! `PRESENCECTL_CHAOS_SEEDS=20 cargo test chaos -- --nocapture` runs more seeds and prints their results;
//! `PRESENCECTL_CHAOS_SEED=7` runs exactly that one.

pub(crate) mod processes;
pub(crate) mod proxy;
pub(crate) mod reader;
pub(crate) mod schedule;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::processes::{Mock, Watch, Witness};
use self::proxy::Proxy;
use self::schedule::{Change, Fault, PEOPLE, Schedule};
use crate::support::signal;

/// Who the watcher connects as unless told otherwise.
pub(crate) const OBSERVER: &str = "presencectl-observer";
/// Somebody whose status marks the end of everything before.
const MARKER: &str = "marker";
/// Runs at the same time.
const AT_ONCE: usize = 4;
/// Seeds of an ordinary test run.
const SEEDS: u64 = 2;

fn name(person: usize) -> String {
    format!("p{person:03}")
}

/// The result of a run.
struct Outcome {
    seed: u64,
    faults: BTreeMap<String, u64>,
    events: usize,
    told: u64,
    gaps: usize,
    repaired: usize,
    quiet_points: usize,
    reconnects: u64,
    /// Every violation that was found.
    divergences: Vec<String>,
}

impl Outcome {
    fn fired_count(&self) -> u64 {
        self.faults.values().sum()
    }

    fn line(&self) -> String {
        let kinds: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        format!(
            "chaos seed {}: {} faults ({}), {} events, {} records, {} reconnects, {} gaps, {} users repaired, \
             {} quiet points, {} divergences",
            self.seed,
            self.fired_count(),
            kinds.join(", "),
            self.events,
            self.told,
            self.reconnects,
            self.gaps,
            self.repaired,
            self.quiet_points,
            self.divergences.len()
        )
    }
}

#[test]
fn a_watcher_reports_the_true_state_under_every_fault() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds: Vec<u64> = match number("PRESENCECTL_CHAOS_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("PRESENCECTL_CHAOS_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let outcomes = runtime.block_on(async {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut runs = JoinSet::new();
        for seed in seeds {
            let room = room.clone();
            runs.spawn(async move {
                let _place = room.acquire_owned().await.unwrap();
                let outcome = run(seed).await;
                say(&outcome.line());
                outcome
            });
        }
        runs.join_all().await
    });
    let mut wrong = String::new();
    for outcome in outcomes {
        if outcome.fired_count() < 300 {
            writeln!(
                wrong,
                "seed {}: only {} faults",
                outcome.seed,
                outcome.fired_count()
            )
            .unwrap();
        }
        for divergence in outcome.divergences {
            writeln!(wrong, "seed {}: {divergence}", outcome.seed).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Prints something whether or not the test passes.
#[expect(clippy::print_stderr, reason = "the figures are what the run is for")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

async fn run(seed: u64) -> Outcome {
    let schedule = Schedule::new(seed);
    let people: Vec<String> = (0..PEOPLE).map(name).chain([MARKER.to_owned()]).collect();
    let users: Vec<Value> = people
        .iter()
        .map(|id| json!({"id": id, "name": id.to_uppercase()}))
        .collect();
    let mock = Mock::start(0, &json!({ "users": users }), &["--rate-limit", "1000000"]).await;
    let mut witness = Witness::start(&mock, &people).await;
    let proxy = Proxy::start(mock.address).await;
    let mut watch = Watch::start(
        proxy.address,
        &people,
        &["--backoff-max", "100ms", "--stale-after", "1s"],
    );
    let mut troubles = Vec::new();
    if !watch.until(|told| told.coverage.is_some()).await {
        troubles.push("it never began".to_owned());
    }

    let (mut quiet_points, mut marks) = (0, 0_u32);
    for (place, round) in schedule.rounds.iter().enumerate() {
        for fault in &round.faults {
            match fault {
                Fault::Mock(fault) => {
                    let _ = mock.control("faults", fault).await;
                }
                Fault::Wire(trick) => proxy.play(*trick),
            }
        }
        for change in &round.changes {
            make(&mock, change).await;
        }
        let found = quiet(&mock, &mut watch, &people, &mut marks).await;
        quiet_points += 1;
        if !found.is_empty() {
            troubles.extend(
                found
                    .into_iter()
                    .map(|what| format!("round {place}: {what}")),
            );
            break;
        }
    }
    let mut faults = mock.fired().await;
    let _ = mock.call("DELETE", "/_mock/faults", &Value::Null).await;
    proxy.behave();
    if troubles.is_empty() {
        troubles.extend(quiet(&mock, &mut watch, &people, &mut marks).await);
        quiet_points += 1;
    }
    witness.until(&format!("mark {marks}")).await;
    faults.extend(
        proxy
            .played()
            .into_iter()
            .map(|(kind, count)| (kind.to_owned(), count)),
    );

    signal(watch.pid(), "INT");
    let (code, told, errors) = watch.end().await;
    let happened = witness.testimony();
    if code != Some(130) {
        troubles.push(format!("it ended with {code:?}"));
    }
    let end = told.end.clone().unwrap_or_default();
    for (field, expected) in [
        ("reason", json!("interrupted")),
        ("exit_code", json!(130)),
        ("gaps", json!(told.gaps.len())),
        ("reconnects", json!(told.reconnects)),
    ] {
        if end[field] != expected {
            troubles.push(format!(
                "{field} of the end is {} and not {expected}",
                end[field]
            ));
        }
    }
    troubles.extend(told.broken.iter().cloned());
    for lost in told.silent_losses(&happened) {
        troubles.push(format!(
            "lost, and no gap says so: {lost:?}; {}",
            told.around(lost)
        ));
    }
    for invented in told.inventions(&happened) {
        troubles.push(format!("told, and it never happened: {invented:?}"));
    }
    if told
        .coverage
        .as_ref()
        .map(|coverage| &coverage["subscribed"])
        != Some(&json!(people.len()))
    {
        troubles.push(format!("not everybody is covered: {:?}", told.coverage));
    }
    if !troubles.is_empty() {
        let tail: Vec<&str> = errors.lines().rev().take(30).collect();
        troubles.push(format!(
            "its last words:\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        ));
    }
    Outcome {
        seed,
        faults,
        events: happened.len(),
        told: told.records,
        gaps: told.gaps.len(),
        repaired: told.gaps.iter().map(|gap| gap.repaired.len()).sum(),
        quiet_points,
        reconnects: told.reconnects,
        divergences: troubles,
    }
}

async fn make(mock: &Mock, change: &Change) {
    let (person, action, body) = match change {
        Change::Connect(person) => (person, "connect", json!({})),
        Change::Disconnect(person) => (person, "disconnect", json!({})),
        Change::Invisible(person, invisible) => {
            (person, "set", json!({"set": {"invisible": invisible}}))
        }
        Change::Status(person, Some(status)) => (person, "set", json!({"set": {"status": status}})),
        Change::Status(person, None) => (person, "set", json!({"unset": ["status"]})),
        Change::Name(person, Some(name)) => (person, "set", json!({"set": {"name": name}})),
        Change::Name(person, None) => (person, "set", json!({"unset": ["name"]})),
        Change::Mood(person, mood) => {
            let mood = json!({"level": mood, "why": {"told": f64::from(*mood) / 8.0, "tags": ["a", mood]}});
            (person, "set", json!({"set": {"mood": mood}}))
        }
    };
    let _ = mock
        .control(&format!("users/{}/{action}", name(*person)), &body)
        .await;
}

/// Makes a last change and waits until it is reported. Then nothing is in flight, and the table must equal the server.
async fn quiet(mock: &Mock, watch: &mut Watch, people: &[String], marks: &mut u32) -> Vec<String> {
    *marks += 1;
    let mark = json!(format!("mark {marks}"));
    let _ = mock
        .control(
            &format!("users/{MARKER}/set"),
            &json!({"set": {"status": mark}}),
        )
        .await;
    if !watch
        .until(|told| told.table.get(MARKER).and_then(|user| user.get("status")) == Some(&mark))
        .await
    {
        return vec![format!("{mark} was never told")];
    }
    let truth = mock.truth(people).await;
    // What changed places or was asked for again may still be on its way.
    if watch
        .until(|told| told.differences(&truth).is_empty())
        .await
    {
        return Vec::new();
    }
    watch.look(|told| told.differences(&truth))
}
