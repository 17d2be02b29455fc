//! The pipeline: the way of a record from the source to the sinks.
//!
//! ```text
//! source ─┬─ debounce ─ filter ─ overflow ─┬─ stdout
//!         └─ tee                           └─ hooks
//! ```
//!
//! The tee gets everything the source brings. All other stages decide what stdout and the hooks get, in the same order.
//! Debouncing comes before the filters: a filter that hid the return of a user would make every absence look final. When
//! the reader of stdout is too slow, events are coalesced before they are numbered, so every loss shows as a gap.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::domain::record::{Record, RecordBody, RecordSource};
use crate::json::expression::Expr;
use crate::output::{Output, Records};
use crate::stream::StreamOptions;
use crate::stream::debounce::{Debounce, DebounceAction};
use crate::stream::filter::{EvalErrors, Filter};
use crate::stream::outcome::{EndConditions, StreamOutcome};
use crate::stream::overflow::Overflow;
use crate::stream::sinks::background_writer::WriterStatus;
use crate::stream::sinks::hooks::{HookJob, HookOutcome, Hooks};
use crate::stream::sinks::stdout_writer;
use crate::stream::sinks::tee::Tee;
use crate::stream::stderr_report::StderrReport;

/// Below this many buffered bytes, held-back events are written.
const WRITE_BUFFER_LOW: usize = 1 << 20;
/// Above this many buffered bytes, the source waits for the reader.
const WRITE_BUFFER_SOFT_LIMIT: usize = 4 << 20;
/// Above this many buffered bytes, events are held back.
const WRITE_BUFFER_HARD_LIMIT: usize = 8 << 20;

/// What became of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Whether it passed the filters and went to stdout.
    pub(super) is_written: bool,
    /// Whether it satisfies `--until`.
    pub(super) satisfies_until: bool,
}

/// All stages after the source.
#[derive(Debug)]
pub(super) struct Pipeline<'a> {
    pub(super) output: &'a Output,
    pub(super) conditions: EndConditions,
    pub(super) report: StderrReport<'a>,
    tee: Option<Tee>,
    debounce: Option<Debounce>,
    filter: Filter,
    until: Option<Arc<Expr>>,
    eval_errors: EvalErrors,
    overflow: Overflow,
    stdout: Records<'a>,
    writer_status: WriterStatus,
    /// Whether stdout is a terminal, so that the reader of stderr also sees the records.
    is_terminal: bool,
    hooks: Option<Hooks>,
}

impl<'a> Pipeline<'a> {
    /// Opens the sinks.
    ///
    /// # Errors
    ///
    /// The file of `--tee` cannot be opened, or `--columns` names no column.
    pub(super) fn open(output: &'a Output, options: StreamOptions) -> anyhow::Result<Self> {
        let records = output.records()?.raw(options.raw);
        let tee = options.tee.as_deref().map(Tee::open).transpose()?;
        let (writer, writer_status) = stdout_writer::open()?;
        Ok(Self {
            output,
            conditions: EndConditions::new(options.end, options.until.is_some(), Instant::now()),
            report: StderrReport::new(output, true),
            tee,
            debounce: options.debounce.map(Debounce::new),
            filter: options.filter,
            until: options.until,
            eval_errors: EvalErrors::default(),
            overflow: Overflow::default(),
            stdout: records.with_sink(writer),
            writer_status,
            is_terminal: output.settings().width.is_some() && !options.raw,
            hooks: options.hooks.map(Hooks::new),
        })
    }

    /// Sends a record of the source through all stages. Breaks if it ends the stream.
    pub(super) fn process(&mut self, record: &Record<'_>) -> ControlFlow<StreamOutcome> {
        if let Some(tee) = &mut self.tee {
            tee.push(record);
        }
        if let Some(debounce) = &mut self.debounce {
            match debounce.push(record, Instant::now()) {
                DebounceAction::Emit => {}
                DebounceAction::Hold => return ControlFlow::Continue(()),
                DebounceAction::EmitInstead(event) => return self.emit(&event.record()),
            }
        }
        self.emit(record)
    }

    /// Sends a record through the stages after debouncing, reports it on stderr, and counts it.
    fn emit(&mut self, record: &Record<'_>) -> ControlFlow<StreamOutcome> {
        let delivery = match self.deliver(record) {
            Ok(delivery) => delivery,
            Err(error) => return ControlFlow::Break(StreamOutcome::write_failed(error)),
        };
        self.report
            .report(record, delivery.is_written && self.is_terminal);
        self.conditions.observe(record, delivery, Instant::now)
    }

    /// Sends a record through the filters and the overflow to stdout and the hooks.
    fn deliver(&mut self, record: &Record<'_>) -> io::Result<Delivery> {
        if !self.filter.passes(record) {
            return Ok(Delivery::default());
        }
        let is_overflowing = self.overflow.is_active()
            || self.writer_status.buffered_bytes() > WRITE_BUFFER_HARD_LIMIT;
        if is_overflowing && self.overflow.absorb(record) {
            return Ok(Delivery::default());
        }
        let condition = self.filter.condition_for(record);
        let until = self.until.as_deref();
        if condition.is_none() && until.is_none() && self.hooks.is_none() {
            self.stdout.push(record)?;
            return Ok(Delivery {
                is_written: true,
                satisfies_until: false,
            });
        }
        let prepared = self.stdout.prepare(record);
        let json = prepared.json();
        let errors = &mut self.eval_errors;
        let is_written = condition.is_none_or(|condition| errors.is_true(condition, json));
        let satisfies_until = is_written && until.is_some_and(|until| errors.is_true(until, json));
        if is_written {
            if let (Some(hooks), RecordBody::Event { event, .. }) = (&mut self.hooks, &record.body)
            {
                hooks.push(HookJob::new(event, json));
            }
            prepared.push()?;
        }
        if let Some(error) = self.eval_errors.take_first() {
            self.output.warn(&format!(
                "an expression cannot be evaluated for a record, which counts as false: {error}"
            ));
        }
        Ok(Delivery {
            is_written,
            satisfies_until,
        })
    }

    /// Writes the debounced events that are due.
    pub(super) fn emit_due(&mut self) -> ControlFlow<StreamOutcome> {
        let now = Instant::now();
        while let Some(event) = self.debounce.as_mut().and_then(|stage| stage.pop_due(now)) {
            self.emit(&event.record())?;
        }
        ControlFlow::Continue(())
    }

    /// Writes all debounced events, whether or not they are due: a user who went away was away at the end.
    pub(super) fn emit_pending(&mut self) -> ControlFlow<StreamOutcome> {
        while let Some(event) = self.debounce.as_mut().and_then(Debounce::pop) {
            self.emit(&event.record())?;
        }
        ControlFlow::Continue(())
    }

    /// When the next debounced event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.debounce.as_ref().and_then(Debounce::next_due)
    }

    /// The events that wait.
    pub(super) const fn debounce(&self) -> Option<&Debounce> {
        self.debounce.as_ref()
    }

    /// Writes the events that were held back, once the reader takes lines again.
    pub(super) fn emit_held_back(&mut self, now: DateTime<Utc>) -> ControlFlow<StreamOutcome> {
        if self.writer_status.buffered_bytes() > WRITE_BUFFER_LOW {
            return ControlFlow::Continue(());
        }
        self.end_overflow(now)
    }

    fn end_overflow(&mut self, now: DateTime<Utc>) -> ControlFlow<StreamOutcome> {
        let Some((gap, events)) = self.overflow.take(now) else {
            return ControlFlow::Continue(());
        };
        self.emit(&local_record(now, RecordBody::Gap(gap)))?;
        for event in events {
            self.emit(&event.record())?;
        }
        ControlFlow::Continue(())
    }

    /// Passes on the lines that were collected.
    pub(super) fn flush(&mut self) -> ControlFlow<StreamOutcome> {
        if let Err(error) = self.stdout.flush() {
            return ControlFlow::Break(StreamOutcome::write_failed(error));
        }
        match self.flush_tee() {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(StreamOutcome::tee_failed(error)),
        }
    }

    /// Appends the collected records to the file of `--tee`. After an error the file is not touched again.
    fn flush_tee(&mut self) -> io::Result<()> {
        let flushed = self.tee.as_mut().map_or(Ok(()), Tee::flush);
        if flushed.is_err() {
            self.tee = None;
        }
        flushed
    }

    /// The state of the writer of stdout.
    pub(super) fn writer_status(&self) -> WriterStatus {
        self.writer_status.clone()
    }

    /// The state of the writer of `--tee`, if that is a pipe, and its name.
    pub(super) fn tee_status(&self) -> Option<(WriterStatus, String)> {
        let tee = self.tee.as_ref()?;
        Some((tee.writer_status()?, tee.name()))
    }

    /// Whether events are held back.
    pub(super) const fn is_overflowing(&self) -> bool {
        self.overflow.is_active()
    }

    /// Whether so much is buffered that the source should wait for the reader.
    pub(super) fn is_crowded(&self) -> bool {
        !self.overflow.is_active() && self.writer_status.buffered_bytes() > WRITE_BUFFER_SOFT_LIMIT
    }

    /// Whether the reader has taken everything that was written.
    pub(super) fn is_drained(&self) -> bool {
        !self.overflow.is_active() && self.writer_status.buffered_bytes() == 0
    }

    /// Whether a hook runs or waits.
    pub(super) fn has_hooks(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| !hooks.is_idle())
    }

    /// Waits for the next hook that ends. Cancel safe.
    pub(super) async fn next_hook(&mut self) -> HookOutcome {
        match &mut self.hooks {
            Some(hooks) => hooks.next().await,
            None => std::future::pending().await,
        }
    }

    /// Reports a hook that failed. Returns whether that ends the stream.
    pub(super) fn report_hook(&self, outcome: &HookOutcome) -> bool {
        let Some(failure) = outcome.failure() else {
            return false;
        };
        self.output.warn(&failure);
        self.hooks.as_ref().is_some_and(Hooks::fail_stream)
    }

    /// Drops the hooks that have not started.
    pub(super) fn cancel_waiting_hooks(&mut self) {
        if let Some(hooks) = &mut self.hooks {
            hooks.cancel_waiting();
        }
    }

    /// Writes what was held back and the last record. `outcome` changes if the file of `--tee` turns out to be full.
    /// Returns the events that are still debounced.
    ///
    /// # Errors
    ///
    /// Writing to stdout failed, or the file of `--tee` did not take the last record.
    pub(super) fn finish(
        mut self,
        now: DateTime<Utc>,
        outcome: &mut StreamOutcome,
    ) -> io::Result<Option<Debounce>> {
        // The stream ends already, whatever these records would end it with.
        let _ = self.end_overflow(now);
        if let Err(error) = self.flush_tee() {
            // Another error, or a signal, is the better reason.
            if outcome.error.is_some() || outcome.is_signal() {
                self.output.warn(&error.to_string());
            } else {
                *outcome = StreamOutcome::tee_failed(error);
            }
        }
        let end = local_record(now, RecordBody::End(self.conditions.stream_end(outcome)));
        if let Some(tee) = &mut self.tee {
            tee.push(&end);
        }
        self.deliver(&end)?;
        let teed = self.flush_tee();
        self.warn_of_losses();
        self.stdout.finish()?;
        teed.map(|()| self.debounce)
    }

    /// Writes the last record to the file of `--tee` alone, because nothing more can be written to stdout.
    ///
    /// # Errors
    ///
    /// Writing failed.
    pub(super) fn finish_tee(
        &mut self,
        now: DateTime<Utc>,
        outcome: &StreamOutcome,
    ) -> io::Result<()> {
        if let Some(tee) = &mut self.tee {
            let end = self.conditions.stream_end(outcome);
            tee.push(&local_record(now, RecordBody::End(end)));
        }
        self.flush_tee()
    }

    fn warn_of_losses(&self) {
        if let Some(hooks) = self.hooks.as_ref().filter(|hooks| hooks.coalesced() > 0) {
            self.output.warn(&format!(
                "the hooks were too slow: {} events were dropped in favour of later ones about the same users",
                hooks.coalesced()
            ));
        }
        if self.eval_errors.count() > 1 {
            self.output.warn(&format!(
                "an expression could not be evaluated for {} records",
                self.eval_errors.count()
            ));
        }
    }
}

fn local_record(received_at: DateTime<Utc>, body: RecordBody<'_>) -> Record<'_> {
    Record {
        received_at,
        source: RecordSource::Local,
        body,
    }
}
