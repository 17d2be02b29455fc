//! `/_mock/scenarios`: scenarios that run inside the server, on the application of the request's API key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::engine::JsonObject;
use super::super::super::error::Rejection;
use super::super::super::hub::Hub;
use super::super::super::rule_options::RULE_OPTIONS;
use super::super::super::scenario::{
    EXAMPLE_SCENARIOS, EarlyEnd, RunSpeed, RunSummary, SCENARIO_MAX_BYTES, Scenario, ScenarioError,
    ScenarioRunner, parse_scenario,
};
use super::super::super::scenario_runs::{
    BegunRun, RECORDS_MAX, RunEnd, RunPlan, RunSignal, RunState, SKIPPED_MAX,
};
use super::super::params::Params;
use super::status::{number, saturate};
use super::{WAIT_MAX, read};
use crate::domain::time::parse_duration;

/// A request to check or run a scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRequest {
    /// The text of a scenario.
    #[serde(default)]
    scenario: Option<String>,
    /// The name of a scenario that is part of the program.
    #[serde(default)]
    example: Option<String>,
    #[serde(default)]
    seed: Option<u64>,
    /// `max`, or how many times as fast.
    #[serde(default)]
    speed: Option<Value>,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    /// Whether the scenario is only checked.
    #[serde(default)]
    check: bool,
}

impl RunRequest {
    fn text(&self) -> Result<&str, Rejection> {
        let text = match (&self.scenario, &self.example) {
            (Some(text), None) => text,
            (None, Some(name)) => {
                let mut examples = EXAMPLE_SCENARIOS.iter();
                return examples
                    .find(|example| example.name == name)
                    .map(|example| example.text)
                    .ok_or_else(|| {
                        let names = EXAMPLE_SCENARIOS.iter().map(|example| example.name);
                        let names: Vec<_> = names.collect();
                        let names = names.join(", ");
                        let why = format!("must be one of {names}, not {name:?}");
                        Rejection::field("example", &why)
                    });
            }
            _ => {
                let message = "exactly one of `scenario` and `example` is required";
                return Err(Rejection::input(message));
            }
        };
        if text.len() as u64 > SCENARIO_MAX_BYTES {
            let limit = SCENARIO_MAX_BYTES / (1024 * 1024);
            let why = format!("must not be larger than {limit} MiB");
            return Err(Rejection::field("scenario", &why));
        }
        Ok(text)
    }

    fn speed(&self) -> Result<Option<RunSpeed>, Rejection> {
        let Some(speed) = &self.speed else {
            return Ok(None);
        };
        let speed = plain_text("speed", speed)?.parse().map_err(|_| {
            Rejection::field("speed", "must be max, or a number above 0, at most 1000000")
        })?;
        Ok(Some(speed))
    }

    fn variables(&self) -> Result<HashMap<String, String>, Rejection> {
        let text = |(name, value): (&String, &Value)| {
            Ok((
                name.clone(),
                plain_text(&format!("variables.{name}"), value)?,
            ))
        };
        self.variables.iter().map(text).collect()
    }
}

/// A text, a number or a boolean as a text.
fn plain_text(field: &str, value: &Value) -> Result<String, Rejection> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(Rejection::field(
            field,
            "must be a string, a number or a boolean",
        )),
    }
}

/// `POST /_mock/scenarios`: checks a scenario, and runs it unless `check` is set.
pub(super) async fn post(hub: &Arc<Hub>, body: JsonObject) -> Result<Value, Rejection> {
    let request: RunRequest = read(body)?;
    if hub.replay.is_some() {
        return Err(Rejection::input(
            "a server that answers from a recording runs no scenarios",
        ));
    }
    let speed = request.speed()?;
    let variables = request.variables()?;
    let text = request.text()?.to_owned();
    // A long scenario would keep the requests of others waiting.
    let parsed = tokio::task::spawn_blocking(move || parse_scenario(&text, variables));
    let parsed = parsed
        .await
        .map_err(|_| Rejection::with_code(500, -1, "internal error while reading the scenario"))?;
    let checked = parsed.and_then(|scenario| check(hub, &scenario).map(|()| scenario));
    let mut scenario = match checked {
        Ok(scenario) => scenario,
        Err(error) if request.check => {
            return Ok(json!({
                "valid": false,
                "line": error.line,
                "column": error.column,
                "message": error.message(),
            }));
        }
        Err(error) => return Err(invalid(&error)),
    };
    scenario.seed = request.seed.unwrap_or(scenario.seed);
    let (steps, duration) = scenario.extent();
    let duration = humantime::format_duration(duration).to_string();
    if request.check {
        return Ok(json!({
            "valid": true,
            "name": scenario.name,
            "steps": steps,
            "duration": duration,
            "users": scenario.fixture.users.len(),
            "channels": scenario.fixture.channels.len(),
        }));
    }
    let speed = speed.unwrap_or_else(|| RunSpeed::of(&scenario));
    let begun = hub.scenario_runs.begin(RunPlan {
        name: scenario.name.clone().or(request.example),
        steps,
        duration,
        seed: scenario.seed,
        speed: speed.to_string(),
    })?;
    let summary = begun.summary.clone();
    tokio::spawn(run(hub.clone(), scenario, speed, begun));
    Ok(summary)
}

/// Refuses what only `mock run` can do, which starts the server itself and reads files of its user.
fn check(hub: &Hub, scenario: &Scenario) -> Result<(), ScenarioError> {
    if let Some(file) = &scenario.fixture_file {
        return Err(file.error(
            "a scenario in a request cannot read files; write the users and channels here instead of naming a file",
        ));
    }
    for (name, value) in &scenario.options {
        let mut rules = hub.options.rules.clone();
        let option = RULE_OPTIONS.iter().find(|option| option.name == name);
        let is_set = option.is_some_and(|option| {
            let before = option.value(&rules);
            option.set_value(&mut rules, &value.value).is_ok() && option.value(&rules) == before
        });
        if !is_set {
            return Err(value.error(format!(
                "the server runs with another value of {name}, which cannot change while it runs; restart it with --{name} {}",
                value.value
            )));
        }
    }
    Ok(())
}

fn invalid(error: &ScenarioError) -> Rejection {
    let mut rejection = Rejection::input(format!("scenario:{error}"));
    rejection
        .exception_fields
        .insert("scenario".to_owned(), error.to_string());
    rejection
}

/// Runs a scenario to its end, or to the end of the application.
async fn run(hub: Arc<Hub>, mut scenario: Scenario, speed: RunSpeed, begun: BegunRun) {
    let active = hub.scenario_runs.active(begun.id);
    // A run that is stopped before it starts changes nothing.
    if let RunSignal::Stop(reason) = *begun.signal.borrow() {
        return active.finish(RunEnd {
            state: RunState::Stopped,
            error: Some(reason.to_owned()),
            skipped: 0,
            skipped_steps: Vec::new(),
        });
    }
    if let Some(time) = scenario.frozen_at {
        hub.set_clock(|clock| {
            clock.freeze();
            clock.set(time);
        });
    }
    let fixture = std::mem::take(&mut scenario.fixture);
    if !(fixture.users.is_empty() && fixture.channels.is_empty())
        && let Err(error) = hub.restore(&fixture)
    {
        return active.finish(RunEnd {
            state: RunState::Failed,
            error: Some(error.to_string()),
            skipped: 0,
            skipped_steps: Vec::new(),
        });
    }
    let mut runner = ScenarioRunner::new(hub.clone(), scenario, speed, begun.signal);
    let summary = tokio::select! {
        summary = runner.run(|record| {
            active.add(json!(record), record.ok);
            Ok::<_, std::convert::Infallible>(())
        }) => summary,
        _ = hub.ended() => return,
    };
    let Ok(summary) = summary;
    active.finish(end_of(&summary));
}

fn end_of(summary: &RunSummary) -> RunEnd {
    let state = match &summary.early_end {
        Some(EarlyEnd::Stopped(_)) => RunState::Stopped,
        Some(_) => RunState::Failed,
        None if summary.unmet > 0 => RunState::Failed,
        None => RunState::Passed,
    };
    let error = summary.early_end.as_ref().map(|end| match end {
        EarlyEnd::Refused { detail, .. } => format!("{end}: {detail}"),
        _ => end.to_string(),
    });
    RunEnd {
        state,
        error,
        skipped: summary.skipped.len(),
        skipped_steps: summary
            .skipped
            .iter()
            .take(SKIPPED_MAX)
            .map(|step| json!(step))
            .collect(),
    }
}

/// `GET /_mock/scenarios`: the last runs, the newest first.
pub(super) fn list(hub: &Hub) -> Value {
    json!({ "scenarios": hub.scenario_runs.summaries() })
}

/// `GET /_mock/scenarios/{id}?after=N&limit=N&wait=DUR`: a run, with the records of its steps after a number. With `wait`,
/// at most 30 s, the answer comes as soon as there is such a record, the run has ended, or the time is over.
pub(super) async fn show(hub: &Hub, id: &str, params: &Params) -> Result<Value, Rejection> {
    let after = number(params, "after")?.unwrap_or(0);
    let limit = number(params, "limit")?.map_or(RECORDS_MAX, saturate);
    let wait = match params.get("wait").filter(|text| !text.is_empty()) {
        Some(text) => parse_duration(text).map_err(|why| Rejection::field("wait", &why))?,
        None => Duration::ZERO,
    };
    let runs = &hub.scenario_runs;
    let grown = runs.wait(id, after, limit);
    // After the time, the answer has no records.
    if let Ok(waited) = tokio::time::timeout(wait.min(WAIT_MAX), grown).await {
        waited?;
    }
    Ok(runs.show(id, after, limit)?.answer)
}

/// `GET /_mock/examples`: the scenarios that are part of the program.
pub(super) fn examples() -> Value {
    let examples: Vec<Value> = EXAMPLE_SCENARIOS
        .iter()
        .map(|example| {
            json!({"name": example.name, "summary": example.summary, "text": example.text})
        })
        .collect();
    json!({ "examples": examples })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::options::MockOptions;

    #[test]
    fn only_the_first_skipped_steps_are_kept() {
        let text = format!("steps:\n{}", "- {at: 1s, clear_faults: true}\n".repeat(150));
        let scenario = parse_scenario(&text, HashMap::new()).unwrap();
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let (_signal, stopped) = tokio::sync::watch::channel(RunSignal::Stop("enough"));
        let mut runner = ScenarioRunner::new(hub, scenario, RunSpeed::Max, stopped);
        let run = runner.run(|_| Ok::<_, std::convert::Infallible>(()));
        let summary = futures_util::FutureExt::now_or_never(run).unwrap();
        let Ok(summary) = summary;
        let end = end_of(&summary);
        assert_eq!((end.skipped, end.skipped_steps.len()), (150, SKIPPED_MAX));
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_before_it_starts_changes_nothing() {
        let hub = Arc::new(Hub::new(MockOptions::default(), 1).unwrap());
        let text =
            "fixture: {users: [{id: amy}]}\nclock: {freeze: 2026-01-31T08:00:00Z}\nsteps: []\n";
        let scenario = parse_scenario(text, HashMap::new()).unwrap();
        let runs = &hub.scenario_runs;
        let begun = runs
            .begin(RunPlan {
                name: None,
                steps: 0,
                duration: "0s".to_owned(),
                seed: 0,
                speed: "max".to_owned(),
            })
            .unwrap();
        let id = begun.id.clone();
        let stop = runs.stop(&id, "enough");
        let run = run(hub.clone(), scenario, RunSpeed::Max, begun);
        let (stopped, ()) = tokio::join!(biased; stop, run);
        let stopped = stopped.unwrap();
        assert_eq!(stopped["state"], "stopped");
        assert_eq!(stopped["error"], "enough");
        assert!(!hub.clock.is_frozen());
        assert!(hub.with(|state, _| state.user_ids()).is_empty());
    }
}
