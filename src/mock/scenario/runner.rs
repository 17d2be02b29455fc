//! Runs the steps of a scenario on a running mock.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::model::{ClockAction, Scenario, ScenarioStep, StepAction, UserStepAction, UserTarget};
use super::schedule::{ScheduleEvent, ScheduledStep, StepSchedule};
use crate::mock::control_actions;
use crate::mock::engine::{JsonObject, Rfc3339, ServiceState};
use crate::mock::error::Rejection;
use crate::mock::expectation::{ExpectationResult, ExpectationSpec};
use crate::mock::hub::Hub;
use crate::mock::scenario_runs::RunSignal;

/// How many steps and rounds come without a pause for the tasks of the server.
const EVENTS_PER_TURN: usize = 64;

/// How fast a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RunSpeed {
    /// Without a pause between two steps: the clock is frozen and jumps.
    Max,
    /// This many times as fast as the scenario says.
    Times(f64),
}

impl RunSpeed {
    /// The speed of a scenario, unless another one is asked for: a frozen clock jumps.
    pub const fn of(scenario: &Scenario) -> Self {
        if scenario.frozen_at.is_some() {
            Self::Max
        } else {
            Self::Times(1.0)
        }
    }
}

impl FromStr for RunSpeed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.parse()
            .ok()
            .filter(|rate| *rate > 0.0 && *rate <= 1e6)
            .map(Self::Times)
            .ok_or_else(|| "expected max, or a number above 0, at most 1000000".to_owned())
    }
}

impl fmt::Display for RunSpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(rate) => rate.fmt(f),
        }
    }
}

/// What is printed about a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    r#type: &'static str,
    /// The number of the step, from 1.
    pub number: u64,
    /// The time on the mock's clock.
    pub at: String,
    /// The line in the file.
    pub line: u64,
    /// What the step does.
    pub action: &'static str,
    /// The user of a user step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether the step did what it says. For an expectation: whether it is met.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The id of the new fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// How many connections got the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Value>,
    /// The result of an expectation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expectation: Option<Value>,
}

impl StepRecord {
    /// Whether the step waits for something or expects something.
    pub fn is_check(&self) -> bool {
        is_check(self.action)
    }
}

/// The record of a step of the file that was skipped, or was skipped in some rounds of its repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedStep {
    r#type: &'static str,
    /// The line in the file.
    pub line: u64,
    /// What the step does.
    pub action: &'static str,
    /// The user of a user step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Always false, as for a step that failed.
    ok: bool,
    /// Why it was skipped.
    pub error: String,
    /// How often it was skipped.
    pub count: u64,
    /// What an expectation or a wait expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

impl SkippedStep {
    fn new(step: &ScenarioStep, count: u64, end: &EarlyEnd) -> Self {
        let (mut user, mut expected) = (None, None);
        match &step.action {
            StepAction::User(UserTarget::Id(id), _) => user = Some(id.clone()),
            StepAction::WaitForConnection { user: id, .. } => user = Some(id.clone()),
            StepAction::WaitForRequest(spec) | StepAction::Expect(spec) => {
                let expectation = spec.compile(DateTime::UNIX_EPOCH);
                expected = expectation.ok().map(|expectation| expectation.describe());
            }
            _ => {}
        }
        Self {
            r#type: "mock.step.skipped",
            line: step.line,
            action: action_name(&step.action),
            user,
            ok: false,
            error: format!("did not run: {end}"),
            count,
            expected,
        }
    }

    /// Whether the step waits for something or expects something.
    pub fn is_check(&self) -> bool {
        is_check(self.action)
    }
}

fn is_check(action: &str) -> bool {
    matches!(action, "expect" | "wait_for")
}

/// Why a run ended before its last step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EarlyEnd {
    /// What the step on this line waits for did not come.
    WaitFailed {
        /// The line in the file.
        line: u64,
    },
    /// The mock refused the step on this line.
    Refused {
        /// The line in the file.
        line: u64,
        /// Why.
        detail: String,
    },
    /// The run was told to stop, for this reason.
    Stopped(&'static str),
}

impl fmt::Display for EarlyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitFailed { line } => write!(f, "the wait on line {line} failed"),
            Self::Refused { line, .. } => write!(f, "the mock refused the step on line {line}"),
            Self::Stopped(reason) => f.write_str(reason),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunSummary {
    /// How many steps have run.
    pub steps: u64,
    /// How many expectations were not met.
    pub unmet: u64,
    /// Why the run ended before its last step.
    pub early_end: Option<EarlyEnd>,
    /// The steps that were skipped, in the order of the file.
    pub skipped: Vec<SkippedStep>,
}

/// How a step ended.
enum StepOutcome {
    Done,
    Fault(String),
    Sent(Value),
    Checked(ExpectationResult),
    /// Whether the client connected.
    Connected(bool),
    Refused(Rejection),
}

impl StepOutcome {
    /// Whether a longer wait could have led to another outcome.
    const fn is_undecided(&self) -> bool {
        match self {
            Self::Checked(result) => !result.met,
            Self::Connected(is_connected) => !*is_connected,
            _ => false,
        }
    }
}

/// Runs a scenario once.
#[derive(Debug)]
pub struct ScenarioRunner {
    hub: Arc<Hub>,
    scenario: Arc<Scenario>,
    speed: RunSpeed,
    /// The time of the last step after the start.
    elapsed: Duration,
    /// The time of the last step on the mock's clock.
    clock_time: DateTime<Utc>,
    /// The number of the last log entry before the run.
    log_start: u64,
    /// The users of each glob.
    matching_users: HashMap<String, Vec<String>>,
    signal: watch::Receiver<RunSignal>,
}

impl ScenarioRunner {
    pub(crate) fn new(
        hub: Arc<Hub>,
        scenario: Scenario,
        speed: RunSpeed,
        signal: watch::Receiver<RunSignal>,
    ) -> Self {
        match speed {
            RunSpeed::Max => hub.set_clock(super::super::clock::Clock::freeze),
            RunSpeed::Times(rate) if !hub.clock.is_frozen() && rate != 1.0 => {
                hub.set_clock(|clock| clock.run(rate));
            }
            RunSpeed::Times(_) => {}
        }
        Self {
            clock_time: hub.clock.now(),
            log_start: hub.traffic_log.last(),
            hub,
            scenario: Arc::new(scenario),
            speed,
            elapsed: Duration::ZERO,
            matching_users: HashMap::new(),
            signal,
        }
    }

    /// Runs all steps. A request that does not come ends the run, as the steps after it depend on it; so does a step that
    /// the mock refuses.
    ///
    /// # Errors
    ///
    /// `on_step` fails.
    pub async fn run<E>(
        &mut self,
        mut on_step: impl FnMut(&StepRecord) -> Result<(), E>,
    ) -> Result<RunSummary, E> {
        let scenario = self.scenario.clone();
        let mut summary = RunSummary::default();
        // How often each step of the file has run, by its place.
        let mut runs: HashMap<u32, u64> = HashMap::new();
        for (index, event) in StepSchedule::new(&scenario).enumerate() {
            if (index + 1).is_multiple_of(EVENTS_PER_TURN) {
                tokio::task::yield_now().await;
            }
            let ScheduleEvent::Step(step) = event else {
                if self.has_stopped(&mut summary) {
                    break;
                }
                continue;
            };
            self.wait_until(step.at).await;
            if self.has_stopped(&mut summary) {
                break;
            }
            let (user, outcome) = self.perform(&step).await;
            if outcome.is_undecided() && self.has_stopped(&mut summary) {
                break;
            }
            summary.steps += 1;
            *runs.entry(step.order).or_default() += 1;
            let record = self.record(summary.steps, &step, user, &outcome);
            on_step(&record)?;
            if let StepOutcome::Refused(rejection) = outcome {
                let (line, detail) = (step.line, rejection.detail);
                summary.early_end = Some(EarlyEnd::Refused { line, detail });
                break;
            }
            if !record.ok {
                summary.unmet += 1;
                if record.action == "wait_for" {
                    summary.early_end = Some(EarlyEnd::WaitFailed { line: step.line });
                    break;
                }
            }
        }
        if let Some(end) = &summary.early_end {
            let skipped = scenario.skipped_steps(&runs);
            let skipped = skipped.map(|(step, count)| SkippedStep::new(step, count, end));
            summary.skipped = skipped.collect();
        }
        Ok(summary)
    }

    /// Whether the run was told to stop, which the summary then says.
    fn has_stopped(&self, summary: &mut RunSummary) -> bool {
        let RunSignal::Stop(reason) = *self.signal.borrow() else {
            return false;
        };
        summary.early_end = Some(EarlyEnd::Stopped(reason));
        true
    }

    /// Waits for the time of a step, or moves a frozen clock to it.
    async fn wait_until(&mut self, at: Duration) {
        let passed = at.saturating_sub(self.elapsed);
        self.elapsed = at;
        if passed.is_zero() {
            return;
        }
        let passed_on_clock = TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
        self.clock_time = self
            .clock_time
            .checked_add_signed(passed_on_clock)
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        if self.hub.clock.is_frozen() {
            if let RunSpeed::Times(rate) = self.speed {
                let pause = Duration::try_from_secs_f64(passed.as_secs_f64() / rate);
                self.sleep(pause.unwrap_or(Duration::MAX)).await;
            }
            if matches!(*self.signal.borrow(), RunSignal::Stop(_)) {
                return;
            }
            self.hub.set_clock(|clock| clock.advance(passed_on_clock));
        } else if let Some(pause) = self.hub.clock.until(self.clock_time) {
            self.sleep(pause).await;
        }
    }

    /// Sleeps, unless waits are to be skipped.
    async fn sleep(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = skip_requested(&mut self.signal) => {}
        }
    }

    async fn perform(&mut self, step: &ScheduledStep<'_>) -> (Option<String>, StepOutcome) {
        let outcome = match step.action {
            StepAction::User(target, action) => {
                let Some(id) = self.choose_user(target, step.draw) else {
                    let rejection = Rejection::not_found("no user matches the glob of the step");
                    return (None, StepOutcome::Refused(rejection));
                };
                let outcome = self.act(&id, action, step.draw);
                return (Some(id), outcome.unwrap_or_else(StepOutcome::Refused));
            }
            StepAction::Fault(spec) => self
                .hub
                .add_faults(vec![spec.clone()])
                .map(|ids| StepOutcome::Fault(ids.concat())),
            StepAction::ClearFaults => {
                self.hub.faults.clear();
                Ok(StepOutcome::Done)
            }
            StepAction::Clock(action) => {
                self.change_clock(*action);
                Ok(StepOutcome::Done)
            }
            StepAction::Trigger(trigger) => control_actions::trigger(&self.hub, trigger.clone())
                .map(|answer| StepOutcome::Sent(answer["sent"].clone())),
            StepAction::WaitForRequest(spec) | StepAction::Expect(spec) => self.judge(spec).await,
            StepAction::WaitForConnection { user, within } => Ok(StepOutcome::Connected(
                self.is_connected(user, *within).await,
            )),
            // The schedule replaces a repetition by its steps.
            StepAction::Repeat(_) => Ok(StepOutcome::Done),
        };
        (None, outcome.unwrap_or_else(StepOutcome::Refused))
    }

    fn choose_user(&mut self, target: &UserTarget, draw: u64) -> Option<String> {
        let glob = match target {
            UserTarget::Id(id) => return Some(id.clone()),
            UserTarget::Any(glob) => glob,
        };
        if !self.matching_users.contains_key(glob.pattern()) {
            let mut users = self.hub.with(|state, _| ServiceState::user_ids(state));
            users.retain(|id| glob.matches(id));
            self.matching_users.insert(glob.pattern().to_owned(), users);
        }
        choose(self.matching_users.get(glob.pattern())?, draw).cloned()
    }

    fn act(&self, id: &str, action: &UserStepAction, draw: u64) -> Result<StepOutcome, Rejection> {
        let (name, body) = match action {
            UserStepAction::Connect => ("connect", JsonObject::new()),
            UserStepAction::Disconnect => ("disconnect", JsonObject::new()),
            UserStepAction::Drop => ("drop", JsonObject::new()),
            UserStepAction::Toggle => ("toggle", JsonObject::new()),
            // Other bits than those that choose the user.
            UserStepAction::Set(bodies) => (
                "set",
                choose(bodies, draw.rotate_left(32))
                    .cloned()
                    .unwrap_or_default(),
            ),
        };
        control_actions::act_for_user(&self.hub, id, name, body).map(|_| StepOutcome::Done)
    }

    fn change_clock(&mut self, action: ClockAction) {
        match action {
            ClockAction::Advance(by) => {
                let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
                self.hub.set_clock(|clock| clock.advance(by));
            }
            ClockAction::Set(to) => self.hub.set_clock(|clock| clock.set(to)),
            ClockAction::Freeze(at) => self.hub.set_clock(|clock| {
                clock.freeze();
                if let Some(at) = at {
                    clock.set(at);
                }
            }),
            ClockAction::Run(rate) => self.hub.set_clock(|clock| clock.run(rate)),
        }
        self.clock_time = self.hub.clock.now();
    }

    async fn judge(&mut self, spec: &ExpectationSpec) -> Result<StepOutcome, Rejection> {
        let mut expectation = spec.compile(self.hub.clock.now())?;
        let log = &self.hub.traffic_log;
        let result = tokio::select! {
            result = expectation.judge(log, self.log_start) => Some(result),
            () = skip_requested(&mut self.signal) => None,
        };
        let result = match result {
            Some(result) => result,
            None => {
                expectation.decide_at_once();
                expectation.judge(log, self.log_start).await
            }
        };
        result
            .map(StepOutcome::Checked)
            .ok_or_else(|| Rejection::with_code(503, -1, "the server is shutting down"))
    }

    /// Waits until a client of a user is connected.
    async fn is_connected(&mut self, user: &str, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            // Read first, so that a connection after the question ends the wait.
            let last = self.hub.traffic_log.last();
            if self.hub.with(|state, _| state.has_client(user)) {
                return true;
            }
            if self.hub.traffic_log.is_closed() {
                return false;
            }
            tokio::select! {
                () = self.hub.traffic_log.wait_after(last) => {}
                () = tokio::time::sleep_until(deadline) => return false,
                () = skip_requested(&mut self.signal) => return false,
            }
        }
    }

    fn record(
        &self,
        number: u64,
        step: &ScheduledStep<'_>,
        user: Option<String>,
        outcome: &StepOutcome,
    ) -> StepRecord {
        let mut record = StepRecord {
            r#type: "mock.step",
            number,
            at: Rfc3339(self.hub.clock.now()).to_string(),
            line: step.line,
            action: action_name(step.action),
            user,
            ok: true,
            error: None,
            fault: None,
            sent: None,
            expectation: None,
        };
        match outcome {
            StepOutcome::Done => {}
            StepOutcome::Fault(id) => record.fault = Some(id.clone()),
            StepOutcome::Sent(sent) => record.sent = Some(sent.clone()),
            StepOutcome::Checked(result) => {
                record.ok = result.met;
                record.error = (!result.met).then(|| result.failure());
                record.expectation = Some(json!(result));
            }
            StepOutcome::Connected(is_connected) => {
                if let StepAction::WaitForConnection { user, .. } = step.action {
                    record.user = Some(user.clone());
                    record.error =
                        (!is_connected).then(|| format!("no client of {user} is connected"));
                }
                record.ok = *is_connected;
            }
            StepOutcome::Refused(rejection) => {
                record.ok = false;
                record.error = Some(rejection.detail.clone());
            }
        }
        record
    }
}

/// Waits until waits are to be skipped, or the run is to stop.
async fn skip_requested(signal: &mut watch::Receiver<RunSignal>) {
    let told = signal.wait_for(|signal| *signal != RunSignal::Continue);
    if told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One item of a list, by a random number.
fn choose<T>(items: &[T], draw: u64) -> Option<&T> {
    let count = u64::try_from(items.len()).ok().filter(|count| *count > 0)?;
    items.get(usize::try_from(draw % count).ok()?)
}

const fn action_name(action: &StepAction) -> &'static str {
    match action {
        StepAction::User(_, action) => match action {
            UserStepAction::Connect => "connect",
            UserStepAction::Disconnect => "disconnect",
            UserStepAction::Drop => "drop",
            UserStepAction::Toggle => "toggle",
            UserStepAction::Set(_) => "set",
        },
        StepAction::Fault(_) => "fault",
        StepAction::ClearFaults => "clear_faults",
        StepAction::Clock(_) => "clock",
        StepAction::Trigger(_) => "trigger",
        StepAction::WaitForRequest(_) | StepAction::WaitForConnection { .. } => "wait_for",
        StepAction::Expect(_) => "expect",
        StepAction::Repeat(_) => "repeat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::options::MockOptions;
    use crate::mock::scenario::parse_scenario;

    #[tokio::test]
    async fn a_run_can_be_stopped_between_rounds_without_steps() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let nothing = "{repeat: {every: 1s, times: 0, steps: [{clear_faults: true}]}}";
        let text = format!("steps:\n- repeat: {{every: 1s, times: 1000000, steps: [{nothing}]}}\n");
        let scenario = parse_scenario(&text, HashMap::new()).unwrap();
        let (signal, receiver) = watch::channel(RunSignal::Continue);
        let mut runner = ScenarioRunner::new(hub, scenario, RunSpeed::Max, receiver);
        let run = runner.run(|_| Ok::<_, std::convert::Infallible>(()));
        let stop = async { signal.send_replace(RunSignal::Stop("enough")) };
        let (summary, _) = tokio::join!(biased; run, stop);
        let Ok(summary) = summary;
        assert_eq!(summary.early_end, Some(EarlyEnd::Stopped("enough")));
    }

    #[tokio::test]
    async fn a_run_that_is_told_to_stop_does_not_move_the_clock() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let text = "steps: [{at: 1h, clear_faults: true}]";
        let scenario = parse_scenario(text, HashMap::new()).unwrap();
        let (_signal, receiver) = watch::channel(RunSignal::Stop("enough"));
        let mut runner = ScenarioRunner::new(hub.clone(), scenario, RunSpeed::Max, receiver);
        let before = hub.clock.now();
        let Ok(summary) = runner.run(|_| Ok::<_, std::convert::Infallible>(())).await;
        assert_eq!(summary.early_end, Some(EarlyEnd::Stopped("enough")));
        assert_eq!(hub.clock.now(), before);
    }

    #[test]
    fn a_speed_is_max_or_a_factor() {
        assert_eq!("max".parse(), Ok(RunSpeed::Max));
        assert_eq!("0.5".parse(), Ok(RunSpeed::Times(0.5)));
        for text in ["0", "-1", "nan", "fast", "1000001"] {
            assert!(text.parse::<RunSpeed>().is_err(), "{text}");
        }
    }
}
