//! What ends a stream: the conditions, the counters they look at, and the outcome.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::event::HEALTH_CHECK;
use crate::domain::record::{EndReason, Record, RecordBody, StreamEnd};
use crate::exit::Code;

/// When to end a stream.
#[derive(Debug, Clone, Default)]
pub struct EndOptions {
    /// After this many events that passed the filters.
    pub count: Option<u64>,
    /// After this long.
    pub timeout: Option<Duration>,
    /// After this long without an event that passed the filters.
    pub idle: Option<Duration>,
    /// Once the state at the start is complete.
    pub after_snapshot: bool,
    /// With an error after a gap.
    pub on_gap: bool,
    /// With an error when a user is not subscribed.
    pub on_missing_coverage: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RecordOutcome {
    /// Whether it passed the filters and went to stdout.
    pub(super) is_written: bool,
    /// Whether it satisfies `--until`.
    pub(super) satisfies_until: bool,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) struct StreamOutcome {
    pub(super) reason: EndReason,
    pub(super) code: Code,
    pub(super) error: Option<anyhow::Error>,
}

impl StreamOutcome {
    pub(super) const fn new(reason: EndReason, code: Code) -> Self {
        Self {
            reason,
            code,
            error: None,
        }
    }

    pub(super) const fn signal(code: Code) -> Self {
        Self::new(EndReason::of_signal(code), code)
    }

    pub(super) const fn reader_left() -> Self {
        Self::new(EndReason::ReaderLeft, Code::Ok)
    }

    pub(super) fn write_failed(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::reader_left();
        }
        Self {
            reason: EndReason::WriteFailed,
            code: Code::Unexpected,
            error: Some(error.into()),
        }
    }

    pub(super) fn tee_failed(error: io::Error) -> Self {
        Self {
            reason: EndReason::Tee,
            code: Code::Unexpected,
            error: Some(error.into()),
        }
    }

    /// Whether somebody asked for the end by a signal, and does not want to wait.
    pub(super) const fn is_signal(&self) -> bool {
        matches!(
            self.reason,
            EndReason::HungUp | EndReason::Interrupted | EndReason::Terminated
        )
    }

    /// Whether nothing can be written to stdout any more.
    pub(super) const fn is_stdout_gone(&self) -> bool {
        matches!(self.reason, EndReason::ReaderLeft | EndReason::WriteFailed)
    }

    /// What the program ends with.
    pub(super) fn into_result(self) -> anyhow::Result<Code> {
        self.error.map_or(Ok(self.code), Err)
    }
}

/// The conditions that end a stream, and the counters of `stream.end`.
#[derive(Debug)]
pub(super) struct EndConditions {
    options: EndOptions,
    /// Whether there is something to achieve before the time runs out.
    has_goal: bool,
    deadline: Option<Instant>,
    idle_deadline: Option<Instant>,
    events: u64,
    gaps: u64,
    reconnects: u64,
    is_covered: bool,
}

impl EndConditions {
    /// `has_until`: whether `--until` may end the stream. The pipeline evaluates its expression.
    pub(super) fn new(options: EndOptions, has_until: bool, now: Instant) -> Self {
        Self {
            has_goal: has_until || options.count.is_some() || options.after_snapshot,
            deadline: options.timeout.map(|timeout| now + timeout),
            idle_deadline: options.idle.map(|idle| now + idle),
            options,
            events: 0,
            gaps: 0,
            reconnects: 0,
            is_covered: false,
        }
    }

    /// When the time of the stream is over.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// When the stream has been without events for too long.
    pub(super) const fn idle_deadline(&self) -> Option<Instant> {
        self.idle_deadline
    }

    /// Whether the first `presence.coverage` has come.
    pub(super) const fn is_covered(&self) -> bool {
        self.is_covered
    }

    /// The outcome when time runs out. That is a failure only if there was something to achieve.
    pub(super) const fn timed_out(&self, reason: EndReason) -> StreamOutcome {
        let code = if self.has_goal {
            Code::TimedOut
        } else {
            Code::Ok
        };
        StreamOutcome::new(reason, code)
    }

    /// Counts a record, and decides whether it ends the stream.
    pub(super) fn observe(
        &mut self,
        record: &Record<'_>,
        delivery: RecordOutcome,
        now: impl Fn() -> Instant,
    ) -> ControlFlow<StreamOutcome> {
        let end = match &record.body {
            RecordBody::Event { event, .. } if delivery.is_written && !event.is(HEALTH_CHECK) => {
                self.events += 1;
                self.idle_deadline = self.options.idle.map(|idle| now() + idle);
                (self.options.count == Some(self.events)).then_some((EndReason::Count, Code::Ok))
            }
            RecordBody::Gap(_) => {
                self.gaps += 1;
                self.options.on_gap.then_some((EndReason::Gap, Code::Gap))
            }
            RecordBody::Coverage(coverage) => {
                self.is_covered = true;
                if self.options.on_missing_coverage && !coverage.missing.is_empty() {
                    Some((EndReason::Coverage, Code::Coverage))
                } else {
                    let done = self.options.after_snapshot;
                    done.then_some((EndReason::Snapshot, Code::Ok))
                }
            }
            RecordBody::ConnectionChanged(changed) => {
                self.reconnects += u64::from(changed.online);
                None
            }
            RecordBody::Event { .. }
            | RecordBody::Snapshot(_)
            | RecordBody::ConnectionRecovered
            | RecordBody::End(_) => None,
        };
        let end = if delivery.satisfies_until {
            Some((EndReason::Until, Code::Ok))
        } else {
            end
        };
        match end {
            Some((reason, code)) => ControlFlow::Break(StreamOutcome::new(reason, code)),
            None => ControlFlow::Continue(()),
        }
    }

    /// The last record of the stream.
    pub(super) const fn stream_end(&self, outcome: &StreamOutcome) -> StreamEnd {
        StreamEnd {
            reason: outcome.reason,
            events: self.events,
            gaps: self.gaps,
            reconnects: self.reconnects,
            exit_code: outcome.code.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::Event;
    use crate::domain::record::{Coverage, Gap, RecordSource};

    fn record(body: RecordBody<'_>) -> Record<'_> {
        Record {
            received_at: DateTime::UNIX_EPOCH,
            source: RecordSource::Ws,
            body,
        }
    }

    fn event(kind: &str) -> RecordBody<'static> {
        let raw = format!(r#"{{"type":"{kind}"}}"#).leak();
        RecordBody::Event {
            event: Event::parse(raw).unwrap(),
            change: None,
        }
    }

    fn gap() -> RecordBody<'static> {
        RecordBody::Gap(Gap {
            from: String::new(),
            to: String::new(),
            repaired: Vec::new(),
            note: String::new(),
        })
    }

    fn coverage(missing: &[&str]) -> RecordBody<'static> {
        RecordBody::Coverage(Coverage {
            missing: missing.iter().map(ToString::to_string).collect(),
            ..Coverage::default()
        })
    }

    const WRITTEN: RecordOutcome = RecordOutcome {
        is_written: true,
        satisfies_until: false,
    };

    /// The reason and the code that these records end a stream with.
    fn end(
        options: EndOptions,
        bodies: Vec<(RecordBody<'static>, RecordOutcome)>,
    ) -> Option<(EndReason, Code)> {
        let start = Instant::now();
        let mut conditions = EndConditions::new(options, false, start);
        bodies.into_iter().find_map(|(body, delivery)| {
            let outcome = conditions.observe(&record(body), delivery, || start);
            outcome.break_value().map(|end| (end.reason, end.code))
        })
    }

    #[test]
    fn only_written_events_count() {
        let options = || EndOptions {
            count: Some(2),
            ..EndOptions::default()
        };
        let hidden = RecordOutcome::default();
        let events = vec![
            (event("x"), WRITTEN),
            (event("x"), hidden),
            (event("health.check"), WRITTEN),
            (gap(), WRITTEN),
        ];
        assert_eq!(end(options(), events), None);
        let events = vec![(event("x"), WRITTEN), (event("x"), WRITTEN)];
        assert_eq!(end(options(), events), Some((EndReason::Count, Code::Ok)));
    }

    #[test]
    fn losses_count_even_if_they_are_filtered() {
        let hidden = RecordOutcome::default();
        let options = EndOptions {
            on_gap: true,
            ..EndOptions::default()
        };
        let ends = end(options, vec![(gap(), hidden)]);
        assert_eq!(ends, Some((EndReason::Gap, Code::Gap)));
        let options = EndOptions {
            on_missing_coverage: true,
            after_snapshot: true,
            ..EndOptions::default()
        };
        let ends = end(options.clone(), vec![(coverage(&["amy"]), hidden)]);
        assert_eq!(ends, Some((EndReason::Coverage, Code::Coverage)));
        let ends = end(options, vec![(coverage(&[]), hidden)]);
        assert_eq!(ends, Some((EndReason::Snapshot, Code::Ok)));
    }

    #[test]
    fn time_that_runs_out_is_a_failure_only_if_there_was_a_goal() {
        let code = |options, has_until| {
            let conditions = EndConditions::new(options, has_until, Instant::now());
            conditions.timed_out(EndReason::Timeout).code
        };
        assert_eq!(code(EndOptions::default(), false), Code::Ok);
        assert_eq!(code(EndOptions::default(), true), Code::TimedOut);
        let options = EndOptions {
            count: Some(1),
            ..EndOptions::default()
        };
        assert_eq!(code(options, false), Code::TimedOut);
    }
}
