//! A scenario that was read and checked: its start, and its steps.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_saphyr::Location;

use super::error::ScenarioError;
use crate::domain::glob::Glob;
use crate::mock::control_actions::ControlTrigger;
use crate::mock::engine::JsonObject;
use crate::mock::expectation::ExpectationSpec;
use crate::mock::faults::FaultSpec;
use crate::mock::fixture::Fixture;

/// A scenario that was read and checked.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name, if the file has one.
    pub name: Option<String>,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The users and channels at the start.
    pub fixture: Fixture,
    /// The file with the users and channels, if the scenario names one: relative to the scenario.
    pub fixture_file: Option<Placed<String>>,
    /// The values of the rule options that the scenario sets, by name.
    pub options: BTreeMap<String, Placed<String>>,
    /// The time at which the clock is frozen at the start.
    pub frozen_at: Option<DateTime<Utc>>,
    pub(super) steps: Vec<ScenarioStep>,
    pub(super) duration: Duration,
}

impl Scenario {
    /// How many steps there are with all repetitions, and how long they take on the clock.
    pub fn extent(&self) -> (u64, Duration) {
        let counts = step_counts(&self.steps, 1);
        let steps = counts.iter().map(|(_, count)| *count);
        (steps.fold(0, u64::saturating_add), self.duration)
    }

    /// The steps of the file that ran less often than the scenario says, and how often they were skipped. `runs` counts by
    /// the place in the file.
    pub(super) fn skipped_steps(
        &self,
        runs: &HashMap<u32, u64>,
    ) -> impl Iterator<Item = (&ScenarioStep, u64)> {
        step_counts(&self.steps, 1)
            .into_iter()
            .filter_map(|(step, count)| {
                let runs = runs.get(&step.order).copied().unwrap_or_default();
                Some((step, count.saturating_sub(runs))).filter(|(_, skipped)| *skipped > 0)
            })
    }

    /// Adds the users and channels of a file before those of the scenario.
    pub fn add_fixture(&mut self, file: Fixture) {
        let own = std::mem::replace(&mut self.fixture, file);
        self.fixture.users.extend(own.users);
        self.fixture.channels.extend(own.channels);
    }
}

/// How often each step happens, with all repetitions, in the order of the file.
fn step_counts(steps: &[ScenarioStep], rounds: u64) -> Vec<(&ScenarioStep, u64)> {
    let mut counts = Vec::new();
    for step in steps {
        match &step.action {
            StepAction::Repeat(repeat) => {
                let rounds = rounds.saturating_mul(repeat.rounds);
                counts.extend(step_counts(&repeat.steps, rounds));
            }
            _ => counts.push((step, rounds)),
        }
    }
    counts
}

/// A value, and where it stands in the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl<T> Placed<T> {
    pub(super) fn at(location: Location, value: T) -> Self {
        Self {
            value,
            line: location.line(),
            column: location.column(),
        }
    }

    /// The error if the value cannot be used.
    pub fn error(&self, why: impl fmt::Display) -> ScenarioError {
        ScenarioError {
            line: self.line,
            column: self.column,
            message: why.to_string(),
            unset_variable: None,
        }
    }
}

/// A step of a scenario, or of the block that is repeated.
#[derive(Debug, Clone)]
pub(super) struct ScenarioStep {
    /// When it happens, after the start of its block.
    pub(super) offset: Duration,
    /// Its place among all steps of the file.
    pub(super) order: u32,
    pub(super) line: u64,
    pub(super) action: StepAction,
}

/// What a step does.
#[derive(Debug, Clone)]
pub(super) enum StepAction {
    User(UserTarget, UserStepAction),
    Fault(FaultSpec),
    ClearFaults,
    Clock(ClockAction),
    Trigger(ControlTrigger),
    WaitForRequest(ExpectationSpec),
    WaitForConnection { user: String, within: Duration },
    Expect(ExpectationSpec),
    Repeat(Repetition),
}

/// Which user a step is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UserTarget {
    Id(String),
    /// One of the users whose id matches, drawn by the seed.
    Any(Glob),
}

/// What a user does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UserStepAction {
    Connect,
    Disconnect,
    Drop,
    Toggle,
    /// Changes fields: one of these bodies of a control request, drawn by the seed.
    Set(Vec<JsonObject>),
}

/// What happens to the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ClockAction {
    Advance(Duration),
    Set(DateTime<Utc>),
    /// Stops the clock, at its present time or at another one.
    Freeze(Option<DateTime<Utc>>),
    Run(f64),
}

/// Steps that are repeated.
#[derive(Debug, Clone)]
pub(super) struct Repetition {
    /// The time from one round to the next.
    pub(super) every: Duration,
    pub(super) rounds: u64,
    /// The largest delay of a round, as a share of `every`.
    pub(super) jitter: f64,
    pub(super) steps: Vec<ScenarioStep>,
}
