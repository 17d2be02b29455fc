//! Scenarios: scripted sequences of what users, clients and the network do, for tests.
//!
//! `file` reads a scenario and reports mistakes with their line and column. `schedule` computes when each step
//! happens; it expands repetitions one step at a time and draws random numbers from the seed. Neither does I/O.
//! `runner` carries the steps out on a running mock.

mod file;
mod runner;
mod schedule;
mod values;
mod variables;

pub use self::file::{
    FixtureFileName, SCENARIO_MAX_BYTES, Scenario, ScenarioError, parse_scenario,
};
pub use self::runner::{RunSpeed, RunSummary, ScenarioRunner, StepRecord};

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
