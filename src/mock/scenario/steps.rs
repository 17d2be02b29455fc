//! Reads the steps of a scenario file.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use super::error::ScenarioError;
use super::model::{ClockAction, Repetition, ScenarioStep, StepAction, UserStepAction, UserTarget};
use super::values::{DurationValue, OneOrMany, PercentValue, ScalarText, TimeValue, TrueValue};
use crate::domain::UserId;
use crate::domain::glob::Glob;
use crate::mock::control_actions::ControlTrigger;
use crate::mock::engine::JsonObject;
use crate::mock::expectation::ExpectationSpec;
use crate::mock::faults::FaultSpec;

/// How deeply repetitions may be nested.
const REPEAT_DEPTH_MAX: usize = 4;
/// How often a step may be repeated.
const ROUNDS_MAX: u64 = 10_000_000;
/// How many steps and rounds a scenario may have with all repetitions.
const SCENARIO_STEPS_MAX: u64 = 100_000_000;
/// How many steps may wait for their time at once. They are in memory.
const PENDING_STEPS_MAX: u64 = 1_000_000;
/// How long `wait_for` waits, unless it says otherwise.
const WAIT_DEFAULT: &str = "30s";

/// A step as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFields {
    at: Option<DurationValue>,
    after: Option<DurationValue>,
    user: Option<Spanned<UserStepFields>>,
    fault: Option<Spanned<FaultSpec>>,
    clear_faults: Option<TrueValue>,
    clock: Option<Spanned<ClockFields>>,
    trigger: Option<Spanned<ControlTrigger>>,
    wait_for: Option<Spanned<WaitFields>>,
    expect: Option<Spanned<ExpectationSpec>>,
    repeat: Option<Box<Spanned<RepetitionFields>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserStepFields {
    id: Option<String>,
    any: Option<String>,
    connect: Option<TrueValue>,
    disconnect: Option<TrueValue>,
    drop: Option<TrueValue>,
    toggle: Option<TrueValue>,
    set: Option<OneOrMany<Map<String, Value>>>,
    unset: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockFields {
    advance: Option<DurationValue>,
    set: Option<TimeValue>,
    freeze: Option<ScalarText>,
    run: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitFields {
    request: Option<Spanned<ExpectationSpec>>,
    connection: Option<String>,
    within: Option<DurationValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepetitionFields {
    at: Option<DurationValue>,
    after: Option<DurationValue>,
    every: DurationValue,
    times: Option<u64>,
    #[serde(rename = "for")]
    duration: Option<DurationValue>,
    jitter: Option<PercentValue>,
    steps: Vec<Spanned<StepFields>>,
}

/// The steps of a block, and what it takes.
pub(super) struct StepBlock {
    pub(super) steps: Vec<ScenarioStep>,
    pub(super) end: Duration,
    cost: StepCost,
}

/// What a step or a block takes when it runs once.
#[derive(Debug, Clone, Copy)]
struct StepCost {
    /// How many steps and rounds it has with all repetitions.
    steps: u64,
    /// How many of its steps wait for their time at once, at most.
    pending: u64,
}

impl StepCost {
    const ZERO: Self = Self {
        steps: 0,
        pending: 0,
    };
    const ONE: Self = Self {
        steps: 1,
        pending: 1,
    };

    const fn plus(self, other: Self) -> Self {
        Self {
            steps: self.steps.saturating_add(other.steps),
            pending: self.pending.saturating_add(other.pending),
        }
    }

    /// Why a scenario may not have it.
    fn problem(self) -> Option<String> {
        if self.steps > SCENARIO_STEPS_MAX {
            return Some(format!(
                "the scenario has more than {SCENARIO_STEPS_MAX} steps and rounds up to here, expected fewer repetitions"
            ));
        }
        (self.pending > PENDING_STEPS_MAX).then(|| {
            format!(
                "more than {PENDING_STEPS_MAX} steps wait for their time at once, expected a longer every, or rounds that take less time"
            )
        })
    }
}

/// Reads the steps of a block. `order` numbers the steps of the whole file.
///
/// # Errors
///
/// Something in a step is invalid.
pub(super) fn read_block(
    fields: &[Spanned<StepFields>],
    order: &mut u32,
    depth: usize,
) -> Result<StepBlock, ScenarioError> {
    let mut block = StepBlock {
        steps: Vec::with_capacity(fields.len()),
        end: Duration::ZERO,
        cost: StepCost::ZERO,
    };
    // The end of the step before, from which `after` counts.
    let mut previous = Duration::ZERO;
    for step in fields {
        let location = step.referenced;
        let fields = &step.value;
        let number = *order;
        *order = order.saturating_add(1);
        let (inner_at, inner_after) = fields
            .repeat
            .as_ref()
            .map_or((None, None), |repeat| (repeat.value.at, repeat.value.after));
        let times = [
            fields.at.map(|at| at.0),
            fields.after.map(|after| previous.saturating_add(after.0)),
            inner_at.map(|at| at.0),
            inner_after.map(|after| previous.saturating_add(after.0)),
        ];
        let mut times = times.into_iter().flatten();
        let offset = times.next().unwrap_or(previous);
        if times.next().is_some() {
            let message = "a step can have only one of `at` and `after`";
            return Err(ScenarioError::at(location, message));
        }
        let (action, length, cost) = read_action(step, order, depth)?;
        block.cost = block.cost.plus(cost);
        if let Some(problem) = block.cost.problem() {
            return Err(ScenarioError::at(location, problem));
        }
        previous = offset.saturating_add(length);
        block.end = block.end.max(previous);
        block.steps.push(ScenarioStep {
            offset,
            order: number,
            line: location.line(),
            action,
        });
    }
    Ok(block)
}

/// The action of a step, how long it takes on the clock, and what else it takes.
fn read_action(
    step: &Spanned<StepFields>,
    order: &mut u32,
    depth: usize,
) -> Result<(StepAction, Duration, StepCost), ScenarioError> {
    const ACTIONS: &str =
        "expected one of user, fault, clear_faults, clock, trigger, wait_for, expect or repeat";
    let fields = &step.value;
    let mut actions = Vec::new();
    let (mut length, mut cost) = (Duration::ZERO, StepCost::ONE);
    if let Some(user) = &fields.user {
        actions.push(read_user(user)?);
    }
    if let Some(fault) = &fields.fault {
        fault
            .value
            .read()
            .map_err(|rejection| ScenarioError::rejected(fault.referenced, &rejection))?;
        actions.push(StepAction::Fault(fault.value.clone()));
    }
    if fields.clear_faults.is_some() {
        actions.push(StepAction::ClearFaults);
    }
    if let Some(clock) = &fields.clock {
        actions.push(StepAction::Clock(read_clock(clock)?));
    }
    if let Some(trigger) = &fields.trigger {
        trigger
            .value
            .check()
            .map_err(|rejection| ScenarioError::rejected(trigger.referenced, &rejection))?;
        actions.push(StepAction::Trigger(trigger.value.clone()));
    }
    if let Some(wait) = &fields.wait_for {
        actions.push(read_wait(wait)?);
    }
    if let Some(expect) = &fields.expect {
        check_expectation(expect)?;
        actions.push(StepAction::Expect(expect.value.clone()));
    }
    if let Some(fields) = &fields.repeat {
        let repeat;
        (repeat, length, cost) = read_repeat(fields, order, depth)?;
        actions.push(StepAction::Repeat(repeat));
    }
    let mut actions = actions.into_iter();
    match (actions.next(), actions.next()) {
        (Some(action), None) => Ok((action, length, cost)),
        (None, _) => Err(ScenarioError::at(
            step.referenced,
            format!("the step has no action; {ACTIONS}"),
        )),
        (Some(_), Some(_)) => Err(ScenarioError::at(
            step.referenced,
            format!("the step has more than one action; {ACTIONS}"),
        )),
    }
}

fn read_user(user: &Spanned<UserStepFields>) -> Result<StepAction, ScenarioError> {
    let at = |message: &str| ScenarioError::at(user.referenced, message);
    let fields = &user.value;
    let target = match (&fields.id, &fields.any) {
        (Some(id), None) => {
            let id: UserId = id
                .parse()
                .map_err(|error| ScenarioError::at(user.referenced, error))?;
            UserTarget::Id(id.as_str().to_owned())
        }
        (None, Some(glob)) => UserTarget::Any(Glob::new(glob)),
        _ => return Err(at("expected either id, or any with a glob of ids")),
    };
    let changes = fields.set.is_some() || fields.unset.is_some();
    let actions = [
        fields.connect.map(|_| UserStepAction::Connect),
        fields.disconnect.map(|_| UserStepAction::Disconnect),
        fields.drop.map(|_| UserStepAction::Drop),
        fields.toggle.map(|_| UserStepAction::Toggle),
        changes.then(|| UserStepAction::Set(change_bodies(fields))),
    ];
    let mut actions = actions.into_iter().flatten();
    match (actions.next(), actions.next()) {
        (Some(UserStepAction::Set(bodies)), None) if bodies.is_empty() => {
            Err(at("set is an empty list, expected at least one object"))
        }
        (Some(action), None) => Ok(StepAction::User(target, action)),
        _ => Err(at(
            "expected exactly one of connect, disconnect, drop, toggle, or set and/or unset",
        )),
    }
}

/// The bodies of control requests, one of which changes the user.
fn change_bodies(fields: &UserStepFields) -> Vec<JsonObject> {
    let unset = json!(fields.unset.as_deref().unwrap_or_default());
    let body = |set: &Map<String, Value>| {
        Map::from_iter([
            ("set".to_owned(), set.clone().into()),
            ("unset".to_owned(), unset.clone()),
        ])
    };
    match &fields.set {
        Some(sets) => sets.0.iter().map(body).collect(),
        None => vec![body(&Map::new())],
    }
}

fn read_clock(clock: &Spanned<ClockFields>) -> Result<ClockAction, ScenarioError> {
    let at = |message: &str| ScenarioError::at(clock.referenced, message);
    let fields = &clock.value;
    let freeze = fields.freeze.as_ref().map(|text| match text.0.as_str() {
        "true" => Ok(ClockAction::Freeze(None)),
        text => DateTime::parse_from_rfc3339(text)
            .map(|time| ClockAction::Freeze(Some(time.to_utc())))
            .map_err(|_| at("freeze must be true, or a time such as 2026-01-31T08:00:00Z")),
    });
    let run = fields.run.map(|rate| {
        if rate > 0.0 && rate <= 1e6 {
            Ok(ClockAction::Run(rate))
        } else {
            Err(at("run must be a number above 0, at most 1000000"))
        }
    });
    let actions = [
        fields.advance.map(|by| Ok(ClockAction::Advance(by.0))),
        fields.set.map(|to| Ok(ClockAction::Set(to.0))),
        freeze,
        run,
    ];
    let mut actions = actions.into_iter().flatten();
    match (actions.next(), actions.next()) {
        (Some(action), None) => action,
        _ => Err(at("expected exactly one of advance, set, freeze or run")),
    }
}

fn read_wait(wait: &Spanned<WaitFields>) -> Result<StepAction, ScenarioError> {
    let fields = &wait.value;
    match (&fields.request, &fields.connection) {
        (Some(request), None) => {
            let mut spec = request.value.clone();
            if let Some(within) = fields.within {
                if spec.within.is_some() {
                    let message =
                        "`within` is given twice; put it beside `request` or inside it, not both";
                    return Err(ScenarioError::at(wait.referenced, message));
                }
                spec.within = Some(humantime::format_duration(within.0).to_string());
            }
            spec.within.get_or_insert_with(|| WAIT_DEFAULT.to_owned());
            let spec = Spanned::new(spec, request.referenced, request.defined);
            check_expectation(&spec)?;
            Ok(StepAction::WaitForRequest(spec.value))
        }
        (None, Some(user)) => Ok(StepAction::WaitForConnection {
            user: user
                .parse::<UserId>()
                .map_err(|error| ScenarioError::at(wait.referenced, error))?
                .as_str()
                .to_owned(),
            within: fields
                .within
                .map_or(Duration::from_secs(30), |within| within.0),
        }),
        _ => Err(ScenarioError::at(
            wait.referenced,
            "expected either request or connection",
        )),
    }
}

fn check_expectation(expect: &Spanned<ExpectationSpec>) -> Result<(), ScenarioError> {
    expect
        .value
        .compile(DateTime::UNIX_EPOCH)
        .map(|_| ())
        .map_err(|rejection| ScenarioError::rejected(expect.referenced, &rejection))
}

fn read_repeat(
    repeat: &Spanned<RepetitionFields>,
    order: &mut u32,
    depth: usize,
) -> Result<(Repetition, Duration, StepCost), ScenarioError> {
    let at = |message: String| ScenarioError::at(repeat.referenced, message);
    let fields = &repeat.value;
    if depth >= REPEAT_DEPTH_MAX {
        let message = format!("repetitions are nested more than {REPEAT_DEPTH_MAX} deep");
        return Err(at(message));
    }
    let every = fields.every.0;
    let rounds = match (fields.times, fields.duration) {
        (Some(times), None) => times,
        (None, Some(_)) if every.is_zero() => {
            return Err(at(
                "every must be greater than zero where for is set".to_owned()
            ));
        }
        (None, Some(duration)) => {
            let rounds = duration.0.as_nanos().div_ceil(every.as_nanos());
            u64::try_from(rounds).unwrap_or(u64::MAX)
        }
        _ => return Err(at("expected either times or for".to_owned())),
    };
    if rounds > ROUNDS_MAX {
        return Err(at(format!(
            "the steps are repeated {rounds} times, expected at most {ROUNDS_MAX}"
        )));
    }
    if every.is_zero() && rounds > 1 {
        return Err(at(
            "every must be greater than zero where there is more than one round".to_owned(),
        ));
    }
    if fields.steps.is_empty() {
        return Err(at(
            "steps is an empty list, expected at least one step to repeat".to_owned(),
        ));
    }
    let block = read_block(&fields.steps, order, depth + 1)?;
    // Rounds overlap that take longer than the time to the next one. A delay by jitter is shorter than that time.
    let overlap = block.end.as_nanos().checked_div(every.as_nanos());
    let overlap = u64::try_from(overlap.unwrap_or(0)).unwrap_or(u64::MAX);
    let overlap = overlap.saturating_add(2).min(rounds);
    let cost = StepCost {
        steps: block.cost.steps.saturating_add(1).saturating_mul(rounds),
        // The next round is a pending step too.
        pending: block.cost.pending.saturating_mul(overlap).saturating_add(1),
    };
    let rounds_u32 = u32::try_from(rounds).unwrap_or(u32::MAX);
    // A round that takes longer than the time to the next one ends after it.
    let end = every.saturating_mul(rounds_u32).max(
        every
            .saturating_mul(rounds_u32.saturating_sub(1))
            .saturating_add(block.end),
    );
    let repeat = Repetition {
        every,
        rounds,
        jitter: fields.jitter.map_or(0.0, |jitter| jitter.0),
        steps: block.steps,
    };
    Ok((repeat, end, cost))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::mock::scenario::parse_scenario;

    #[test]
    fn repetitions_without_an_end_or_beyond_the_memory_are_mistakes() {
        let mistake = |repeat: &str| {
            let text = format!("steps:\n- {repeat}\n");
            let error = parse_scenario(&text, HashMap::new()).err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        let nothing = "{repeat: {every: 1s, times: 10000000, steps: []}}";
        let step = "{clear_faults: true}";
        let mistakes = [
            nothing.to_owned(),
            format!("{{repeat: {{every: 1s, times: 10000000, steps: [{nothing}]}}}}"),
            format!("{{repeat: {{every: 0s, times: 2, steps: [{step}]}}}}"),
            format!(
                "{{repeat: {{every: 1s, times: 10000000, steps: [{step}, {{repeat: {{every: 1s, times: 10, steps: [{step}]}}}}]}}}}"
            ),
            format!(
                "{{repeat: {{every: 1s, times: 10000000, steps: [{{repeat: {{every: 1s, times: 10000000, steps: [{{repeat: {{every: 1s, times: 0, steps: [{step}]}}}}]}}}}]}}}}"
            ),
            "{repeat: {every: 1ms, times: 10000000, steps: [{after: 10000h, clear_faults: true}]}}"
                .to_owned(),
        ];
        let told: Vec<String> = mistakes.iter().map(|repeat| mistake(repeat)).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        2:12: steps is an empty list, expected at least one step to repeat
        2:58: steps is an empty list, expected at least one step to repeat
        2:12: every must be greater than zero where there is more than one round
        2:3: the scenario has more than 100000000 steps and rounds up to here, expected fewer repetitions
        2:3: the scenario has more than 100000000 steps and rounds up to here, expected fewer repetitions
        2:3: more than 1000000 steps wait for their time at once, expected a longer every, or rounds that take less time
        ");
        let accepted = [
            format!("{{repeat: {{every: 0s, times: 1, steps: [{step}]}}}}"),
            "{repeat: {every: 1s, times: 10000000, steps: [{after: 24h, clear_faults: true}]}}"
                .to_owned(),
        ];
        for repeat in accepted {
            assert_eq!(mistake(&repeat), "", "{repeat}");
        }
    }
}
