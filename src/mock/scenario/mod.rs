//! Scenarios: scripted sequences of what users, clients and the network do, for tests.
//!
//! `model` is a scenario, and `schedule` computes when each of its steps happens; it expands repetitions one step at a time and
//! draws random numbers from the seed. `file` and `steps` read a scenario and report mistakes with their line and column.
//! None of them does I/O. `runner` carries the steps out on a running mock.

mod error;
mod file;
mod model;
mod runner;
mod schedule;
mod steps;
mod values;
mod variables;

pub use self::error::ScenarioError;
pub use self::file::{SCENARIO_MAX_BYTES, parse_scenario};
pub use self::model::{Placed, Scenario};
pub use self::runner::{EarlyEnd, RunSpeed, RunSummary, ScenarioRunner, SkippedStep, StepRecord};

/// A scenario that is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExampleScenario {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// The text of its file.
    pub text: &'static str,
}

/// The scenarios that are part of the program.
pub const EXAMPLE_SCENARIOS: &[ExampleScenario] = &[
    ExampleScenario {
        name: "busy-day",
        summary: "24 hours of 10,000 users, 100,000 changes",
        text: include_str!("examples/busy-day.yaml"),
    },
    ExampleScenario {
        name: "flaky-network",
        summary: "clients lose connections, requests fail and slow down",
        text: include_str!("examples/flaky-network.yaml"),
    },
    ExampleScenario {
        name: "on-call",
        summary: "a rota: who is on call, shift changes, one user drops",
        text: include_str!("examples/on-call.yaml"),
    },
];
