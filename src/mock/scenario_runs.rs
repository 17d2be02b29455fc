//! The scenario runs of an application: the state and the records of each. Only one runs at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};

use super::error::Rejection;
use crate::domain::time;

/// How many runs are kept.
const RUNS_MAX: usize = 20;
/// How many records of steps are kept of a run: the last ones.
pub(crate) const RECORDS_MAX: usize = 1000;
/// How many records of failed steps are kept of a run: the first ones.
const FAILURES_MAX: usize = 100;
/// How many records of skipped steps are kept of a run: the first ones.
pub(crate) const SKIPPED_MAX: usize = 100;

/// A signal to a running scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunSignal {
    /// Wait where the scenario says so.
    #[default]
    Continue,
    /// Skip all waits: the remaining steps run at once.
    SkipWaits,
    /// End before the next step, for this reason.
    Stop(&'static str),
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunState {
    Running,
    /// All steps ran, and all expectations are met.
    Passed,
    /// An expectation is not met, a wait failed, a step was refused, or the users and channels break a rule.
    Failed,
    Stopped,
}

impl RunState {
    const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known of a run at its start.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// The name of the scenario, if it has one.
    pub(crate) name: Option<String>,
    /// How many steps there are with all repetitions.
    pub(crate) steps: u64,
    /// How long they take on the clock.
    pub(crate) duration: String,
    pub(crate) seed: u64,
    pub(crate) speed: String,
}

/// How a run has ended.
#[derive(Debug)]
pub(crate) struct RunEnd {
    pub(crate) state: RunState,
    /// Why it ended before its last step.
    pub(crate) error: Option<String>,
    /// How many steps of the file were skipped.
    pub(crate) skipped: usize,
    /// Their records, at most [`SKIPPED_MAX`].
    pub(crate) skipped_steps: Vec<Value>,
}

#[derive(Debug)]
struct ScenarioRun {
    id: String,
    plan: RunPlan,
    state: RunState,
    error: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// How many steps have run.
    done: u64,
    /// How many of them failed.
    failed: u64,
    /// How many steps of the file were skipped, once the run has ended.
    skipped: usize,
    records: VecDeque<Value>,
    failures: Vec<Value>,
    skipped_steps: Vec<Value>,
    signal: watch::Sender<RunSignal>,
}

impl ScenarioRun {
    fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    fn summary(&self) -> Map<String, Value> {
        let summary = json!({
            "id": self.id,
            "name": self.plan.name,
            "state": self.state.name(),
            "steps": self.plan.steps,
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "duration": self.plan.duration,
            "seed": self.plan.seed,
            "speed": self.plan.speed,
            "started_at": time::millis(self.started_at),
            "ended_at": self.ended_at.map(time::millis),
            "error": self.error,
        });
        match summary {
            Value::Object(summary) => summary,
            _ => Map::new(),
        }
    }
}

/// The last runs of an application, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct ScenarioRuns {
    list: Mutex<RunList>,
    /// Announces a step, and the end of a run.
    changed: Notify,
}

/// What the runner of a new run needs, and what its caller is told.
#[derive(Debug)]
pub(crate) struct BegunRun {
    pub(crate) id: String,
    pub(crate) summary: Value,
    pub(crate) signal: watch::Receiver<RunSignal>,
}

#[derive(Debug, Default)]
struct RunList {
    started: u64,
    runs: VecDeque<ScenarioRun>,
}

impl RunList {
    fn find(&self, id: &str) -> Option<&ScenarioRun> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// The active run, which is always the last one.
    fn last_running(&self) -> Option<&ScenarioRun> {
        self.runs.back().filter(|run| run.is_running())
    }

    /// The run with this id, if it is active.
    fn running(&mut self, id: &str) -> Option<&mut ScenarioRun> {
        let last = self.runs.back_mut()?;
        (last.id == id && last.is_running()).then_some(last)
    }
}

/// An active run, for its runner. If it is dropped before [`Self::finish`], the run counts as stopped.
#[derive(Debug)]
pub(crate) struct ActiveRun<'a> {
    runs: &'a ScenarioRuns,
    id: String,
}

impl ActiveRun<'_> {
    /// Adds the record of a step.
    pub(crate) fn add(&self, record: Value, is_ok: bool) {
        let mut list = self.runs.list();
        if let Some(run) = list.running(&self.id) {
            run.done += 1;
            if !is_ok {
                run.failed += 1;
                if run.failures.len() < FAILURES_MAX {
                    run.failures.push(record.clone());
                }
            }
            if run.records.len() == RECORDS_MAX {
                run.records.pop_front();
            }
            run.records.push_back(record);
        }
        drop(list);
        self.runs.changed.notify_waiters();
    }

    /// Ends the run.
    pub(crate) fn finish(self, end: RunEnd) {
        self.runs.end(&self.id, end);
    }
}

impl Drop for ActiveRun<'_> {
    fn drop(&mut self) {
        let end = RunEnd {
            state: RunState::Stopped,
            error: Some("the application has ended".to_owned()),
            skipped: 0,
            skipped_steps: Vec::new(),
        };
        self.runs.end(&self.id, end);
    }
}

impl ScenarioRuns {
    fn list(&self) -> MutexGuard<'_, RunList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a run begins.
    ///
    /// # Errors
    ///
    /// Another run is active.
    pub(crate) fn begin(&self, plan: RunPlan) -> Result<BegunRun, Rejection> {
        let mut list = self.list();
        if let Some(run) = list.last_running() {
            return Err(Rejection::conflict(format!(
                "run {} is still in progress; stop it first: DELETE /_mock/scenarios/{}",
                run.id, run.id
            )));
        }
        let (signal, receiver) = watch::channel(RunSignal::Continue);
        list.started += 1;
        let run = ScenarioRun {
            id: format!("s{}", list.started),
            plan,
            state: RunState::Running,
            error: None,
            started_at: Utc::now(),
            ended_at: None,
            done: 0,
            failed: 0,
            skipped: 0,
            records: VecDeque::new(),
            failures: Vec::new(),
            skipped_steps: Vec::new(),
            signal,
        };
        let begun = BegunRun {
            id: run.id.clone(),
            summary: run.summary().into(),
            signal: receiver,
        };
        if list.runs.len() == RUNS_MAX {
            list.runs.pop_front();
        }
        list.runs.push_back(run);
        Ok(begun)
    }

    /// A run that has begun, for its runner.
    pub(crate) const fn active(&self, id: String) -> ActiveRun<'_> {
        ActiveRun { runs: self, id }
    }

    fn end(&self, id: &str, end: RunEnd) {
        if let Some(run) = self.list().running(id) {
            run.state = end.state;
            run.error = end.error;
            run.ended_at = Some(Utc::now());
            run.skipped = end.skipped;
            run.skipped_steps = end.skipped_steps;
        }
        self.changed.notify_waiters();
    }

    /// The summaries of all runs, the newest first.
    pub(crate) fn summaries(&self) -> Vec<Value> {
        let list = self.list();
        let runs = list.runs.iter().rev();
        runs.map(|run| run.summary().into()).collect()
    }

    /// A run with its records of steps after a number, at most `limit` of them, and whether it is active.
    ///
    /// # Errors
    ///
    /// There is no such run.
    pub(crate) fn show(&self, id: &str, after: u64, limit: usize) -> Result<RunPage, Rejection> {
        let list = self.list();
        let run = list.find(id).ok_or_else(|| not_found(id))?;
        let kept = u64::try_from(run.records.len()).unwrap_or(u64::MAX);
        let dropped = run.done - kept;
        let skip = usize::try_from(after.saturating_sub(dropped)).unwrap_or(usize::MAX);
        let records: Vec<Value> = run.records.iter().skip(skip).take(limit).cloned().collect();
        let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let mut answer = run.summary();
        let is_empty = records.is_empty();
        answer.extend([
            ("records".to_owned(), records.into()),
            (
                "next".to_owned(),
                (after.max(dropped).min(run.done) + count).into(),
            ),
            ("lost".to_owned(), dropped.saturating_sub(after).into()),
            ("failures".to_owned(), run.failures.clone().into()),
            ("skipped_steps".to_owned(), run.skipped_steps.clone().into()),
        ]);
        Ok(RunPage {
            answer: answer.into(),
            may_grow: is_empty && run.is_running(),
        })
    }

    /// Tells a run to stop, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// There is no such run.
    pub(crate) async fn stop(&self, id: &str, reason: &'static str) -> Result<Value, Rejection> {
        loop {
            let changed = self.changed.notified();
            {
                let list = self.list();
                let run = list.find(id).ok_or_else(|| not_found(id))?;
                if !run.is_running() {
                    return Ok(run.summary().into());
                }
                run.signal.send_replace(RunSignal::Stop(reason));
            }
            changed.await;
        }
    }

    /// Stops the active run, if there is one, and makes a change before another one can begin.
    pub(crate) async fn stop_then(&self, reason: &'static str, change: impl FnOnce()) {
        loop {
            let id = {
                let list = self.list();
                match list.last_running() {
                    Some(run) => run.id.clone(),
                    None => return change(),
                }
            };
            // It exists.
            let _ = self.stop(&id, reason).await;
        }
    }

    /// Waits until [`Self::show`] has a record to show, or the run has ended.
    ///
    /// # Errors
    ///
    /// There is no such run.
    pub(crate) async fn wait(&self, id: &str, after: u64, limit: usize) -> Result<(), Rejection> {
        loop {
            let changed = self.changed.notified();
            if !self.show(id, after, limit)?.may_grow {
                return Ok(());
            }
            changed.await;
        }
    }
}

/// A part of a run.
#[derive(Debug)]
pub(crate) struct RunPage {
    pub(crate) answer: Value,
    /// Whether it has no records, but there may be some later.
    pub(crate) may_grow: bool,
}

fn not_found(id: &str) -> Rejection {
    Rejection::not_found(format!("run {id:?} was not found"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_run_that_begins_when_another_one_is_stopped_is_stopped_too() {
        let runs = ScenarioRuns::default();
        let begin = || {
            runs.begin(RunPlan {
                name: None,
                steps: 0,
                duration: "0s".to_owned(),
                seed: 0,
                speed: "max".to_owned(),
            })
            .unwrap()
        };
        let mut begun = begin();
        let carry_out = async {
            for is_last in [false, true] {
                let stopped = begun
                    .signal
                    .wait_for(|signal| *signal != RunSignal::Continue);
                stopped.await.unwrap();
                runs.active(begun.id.clone()).finish(RunEnd {
                    state: RunState::Stopped,
                    error: None,
                    skipped: 0,
                    skipped_steps: Vec::new(),
                });
                if !is_last {
                    begun = begin();
                }
            }
        };
        let mut changes = 0;
        let stop = runs.stop_then("enough", || changes += 1);
        let both = async { tokio::join!(biased; stop, carry_out) };
        let ended = tokio::time::timeout(Duration::from_secs(1), both).await;
        ended.expect("both runs are stopped");
        assert_eq!(changes, 1);
        assert_eq!(runs.summaries().len(), 2);
    }
}
