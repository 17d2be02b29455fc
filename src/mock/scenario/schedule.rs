//! When each step of a scenario happens.
//!
//! Steps come in the order of their times, and steps at the same time in the order of the file. Only the next round of
//! each repetition is in memory, so that a million steps take no more room than a few.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::model::{Repetition, Scenario, ScenarioStep, StepAction};

/// A step that is about to happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScheduledStep<'a> {
    /// When it happens, after the start of the scenario.
    pub(super) at: Duration,
    /// Its place among all steps of the file.
    pub(super) order: u32,
    pub(super) line: u64,
    pub(super) action: &'a StepAction,
    /// A random number of its own, which depends on the seed, the step and the round.
    pub(super) draw: u64,
}

/// What comes next in a schedule.
#[derive(Debug, Clone, Copy)]
pub(super) enum ScheduleEvent<'a> {
    Step(ScheduledStep<'a>),
    /// A round of a repetition begins. Its steps come later, if it has any.
    Round,
}

/// The steps of a scenario in the order of their times.
#[derive(Debug)]
pub(super) struct StepSchedule<'a> {
    seed: u64,
    pending: BinaryHeap<Reverse<PendingStep<'a>>>,
    /// How many steps were added, so that those of earlier rounds come first.
    added: u64,
}

/// A step or a round in the queue.
#[derive(Debug)]
struct PendingStep<'a> {
    at: Duration,
    order: u32,
    added: u64,
    step: &'a ScenarioStep,
    /// The round of the innermost repetition around the step, combined with those further out.
    instance: u64,
    round: Option<PendingRound>,
}

/// A round of a repetition.
#[derive(Debug, Clone, Copy)]
struct PendingRound {
    /// When the repetition started.
    start: Duration,
    number: u64,
}

impl PendingStep<'_> {
    const fn rank(&self) -> (Duration, u32, u64) {
        (self.at, self.order, self.added)
    }
}

impl PartialEq for PendingStep<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for PendingStep<'_> {}

impl PartialOrd for PendingStep<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PendingStep<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<'a> StepSchedule<'a> {
    /// The schedule of a scenario.
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let mut schedule = Self {
            seed: scenario.seed,
            pending: BinaryHeap::new(),
            added: 0,
        };
        schedule.add_block(&scenario.steps, Duration::ZERO, 0);
        schedule
    }

    fn add_block(&mut self, steps: &'a [ScenarioStep], start: Duration, instance: u64) {
        for step in steps {
            let at = start.saturating_add(step.offset);
            match &step.action {
                StepAction::Repeat(repeat) => {
                    let round = PendingRound {
                        start: at,
                        number: 0,
                    };
                    self.add_round(step, repeat, round, instance);
                }
                _ => self.add(step, at, instance, None),
            }
        }
    }

    fn add_round(
        &mut self,
        step: &'a ScenarioStep,
        repeat: &Repetition,
        round: PendingRound,
        instance: u64,
    ) {
        if round.number >= repeat.rounds {
            return;
        }
        let factor = u32::try_from(round.number).unwrap_or(u32::MAX);
        let nominal = round
            .start
            .saturating_add(repeat.every.saturating_mul(factor));
        let draw = self.draw(step, self.inner(instance, round.number));
        // 53 bits are what a number from 0 to 1 can hold.
        let share = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        let delay = repeat.every.mul_f64(repeat.jitter * share);
        self.add(step, nominal.saturating_add(delay), instance, Some(round));
    }

    fn add(
        &mut self,
        step: &'a ScenarioStep,
        at: Duration,
        instance: u64,
        round: Option<PendingRound>,
    ) {
        self.added += 1;
        self.pending.push(Reverse(PendingStep {
            at,
            order: step.order,
            added: self.added,
            step,
            instance,
            round,
        }));
    }

    /// The number of a round among all rounds of all repetitions around it.
    fn inner(&self, instance: u64, round: u64) -> u64 {
        xxh3_64_with_seed(&round.to_le_bytes(), self.seed ^ instance)
    }

    fn draw(&self, step: &ScenarioStep, instance: u64) -> u64 {
        xxh3_64_with_seed(&step.order.to_le_bytes(), self.seed.wrapping_add(instance))
    }
}

impl<'a> Iterator for StepSchedule<'a> {
    type Item = ScheduleEvent<'a>;

    fn next(&mut self) -> Option<ScheduleEvent<'a>> {
        let Reverse(pending) = self.pending.pop()?;
        let step = pending.step;
        if let (StepAction::Repeat(repeat), Some(round)) = (&step.action, pending.round) {
            let inner = self.inner(pending.instance, round.number);
            self.add_block(&repeat.steps, pending.at, inner);
            let next = PendingRound {
                number: round.number + 1,
                ..round
            };
            self.add_round(step, repeat, next, pending.instance);
            return Some(ScheduleEvent::Round);
        }
        Some(ScheduleEvent::Step(ScheduledStep {
            at: pending.at,
            order: step.order,
            line: step.line,
            action: &step.action,
            draw: self.draw(step, pending.instance),
        }))
    }
}

#[cfg(test)]
impl<'a> StepSchedule<'a> {
    /// The steps without the rounds.
    pub(super) fn steps(self) -> impl Iterator<Item = ScheduledStep<'a>> {
        self.filter_map(|event| match event {
            ScheduleEvent::Step(step) => Some(step),
            ScheduleEvent::Round => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::mock::scenario::parse_scenario;

    fn scenario(text: &str) -> Scenario {
        parse_scenario(text, HashMap::new()).unwrap()
    }

    /// The times in milliseconds, and the lines.
    fn times(scenario: &Scenario) -> Vec<(u128, u64)> {
        StepSchedule::new(scenario)
            .steps()
            .map(|step| (step.at.as_millis(), step.line))
            .collect()
    }

    #[test]
    fn steps_come_by_time_and_then_in_the_order_of_the_file() {
        let scenario = scenario(
            "steps:
- {at: 10s, clear_faults: true}
- {clear_faults: true}
- {after: 5s, clear_faults: true}
- {at: 10s, clear_faults: true}
- repeat:
    at: 9s
    every: 1s
    times: 3
    steps:
    - {at: 1s, clear_faults: true}
    - {clear_faults: true}
- {clear_faults: true}
",
        );
        assert_eq!(
            times(&scenario),
            [
                (10_000, 2),
                (10_000, 3),
                (10_000, 5),
                (10_000, 11),
                (10_000, 12),
                (11_000, 11),
                (11_000, 12),
                (12_000, 11),
                (12_000, 12),
                (12_000, 13),
                (15_000, 4),
            ]
        );
        assert_eq!(scenario.extent(), (11, Duration::from_secs(15)));
    }

    #[test]
    fn rounds_can_be_counted_by_a_duration_and_nested() {
        let scenario = scenario(
            "steps:
- repeat: {every: 2s, for: 5s, steps: [{repeat: {every: 500ms, times: 2, steps: [{clear_faults: true}]}}]}
",
        );
        let times: Vec<_> = times(&scenario).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [0, 500, 2000, 2500, 4000, 4500]);
        assert_eq!(scenario.extent(), (6, Duration::from_secs(6)));
    }

    proptest! {
        #[test]
        fn jitter_keeps_the_order_of_rounds_and_repeats_with_the_seed(
            seed: u64, every in 1_u64..5000, rounds in 0_u64..60, jitter in 0_u32..=100, start in 0_u64..10_000,
        ) {
            let text = format!(
                "seed: {seed}\nsteps:\n- repeat: {{at: {start}ms, every: {every}ms, times: {rounds}, jitter: {jitter}%, steps: [{{clear_faults: true}}]}}\n"
            );
            let scenario = scenario(&text);
            let steps: Vec<_> = StepSchedule::new(&scenario).steps().map(|step| (step.at, step.draw)).collect();
            prop_assert_eq!(steps.len() as u64, rounds);
            for (number, (at, _)) in (0_u64..).zip(&steps) {
                let nominal = Duration::from_millis(start + number * every);
                let latest = nominal + Duration::from_millis(every).mul_f64(f64::from(jitter) / 100.0);
                prop_assert!(nominal <= *at && *at <= latest, "{:?} is not from {:?} to {:?}", at, nominal, latest);
            }
            prop_assert!(steps.is_sorted_by_key(|(at, _)| *at));
            let again: Vec<_> = StepSchedule::new(&scenario).steps().map(|step| (step.at, step.draw)).collect();
            prop_assert_eq!(&steps, &again);
        }
    }

    #[test]
    fn draws_differ_between_rounds_steps_and_seeds() {
        let draws = |seed: u64| {
            let text = format!(
                "seed: {seed}\nsteps:\n- repeat: {{every: 1s, times: 50, steps: [{{clear_faults: true}}, {{clear_faults: true}}]}}\n"
            );
            StepSchedule::new(&scenario(&text))
                .steps()
                .map(|step| step.draw)
                .collect::<Vec<_>>()
        };
        let mut all = [draws(1), draws(2)].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
    }
}
