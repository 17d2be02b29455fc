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

use std::borrow::Cow;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::domain::coalesce::{CoalescedEvent, LatestPerUser};
use crate::domain::record::{EndReason, Record, RecordBody, RecordSource};
use crate::domain::{Change, Presence};
use crate::json::expression::Expr;
use crate::output::{Output, Records};
use crate::stream::StreamOptions;
use crate::stream::debounce::{Debounce, DebounceAction};
use crate::stream::filter::{EvalErrors, Filter};
use crate::stream::outcome::{EndConditions, RecordOutcome, StreamOutcome};
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

/// The events that were received and not written.
#[derive(Debug)]
pub(super) struct Unwritten {
    debounce: Option<Debounce>,
    /// What the reader was too slow for, and what the stream then ended before.
    held_back: LatestPerUser<CoalescedEvent>,
}

impl Unwritten {
    /// The change of a user that no written event shows. `current`: the state of the user after it.
    pub(super) fn change_of(&self, id: &str, current: &Presence) -> Option<Cow<'_, Change>> {
        let held_back = self.held_back.get(id).map(|event| &event.change);
        let debounced = self
            .debounce
            .as_ref()
            .and_then(|stage| stage.pending_change(id));
        match (held_back, debounced) {
            // Events are debounced first, so what is debounced now came later.
            (Some(first), Some(second)) => Some(Cow::Owned(first.followed_by(second, current))),
            (first, second) => first.or(second).map(Cow::Borrowed),
        }
    }
}

/// All stages after the source.
#[derive(Debug)]
pub(super) struct Pipeline<'a> {
    pub(super) output: &'a Output,
    pub(super) conditions: EndConditions,
    pub(super) report: StderrReport<'a>,
    tee: Option<Tee>,
    unwritten: Unwritten,
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
        let stdout = records.with_sink(writer);
        Ok(Self::new(output, options, tee, stdout, writer_status))
    }

    fn new(
        output: &'a Output,
        options: StreamOptions,
        tee: Option<Tee>,
        stdout: Records<'a>,
        writer_status: WriterStatus,
    ) -> Self {
        Self {
            output,
            conditions: EndConditions::new(options.end, options.until.is_some(), Instant::now()),
            report: StderrReport::new(output, true).with_team(options.team),
            tee,
            unwritten: Unwritten {
                debounce: options.debounce.map(Debounce::new),
                held_back: LatestPerUser::default(),
            },
            filter: options.filter,
            until: options.until,
            eval_errors: EvalErrors::default(),
            overflow: Overflow::default(),
            stdout,
            writer_status,
            is_terminal: output.settings().terminal.stdout && !options.raw,
            hooks: options.hooks.map(Hooks::new),
        }
    }

    /// Sends a record of the source through all stages. Breaks if it ends the stream.
    pub(super) fn process(&mut self, record: &Record<'_>) -> ControlFlow<StreamOutcome> {
        if let Some(tee) = &mut self.tee {
            tee.push(record);
        }
        if let Some(debounce) = &mut self.unwritten.debounce {
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
        self.observe(record, delivery)
    }

    /// Reports a record on stderr, and counts it.
    fn observe(
        &mut self,
        record: &Record<'_>,
        delivery: RecordOutcome,
    ) -> ControlFlow<StreamOutcome> {
        self.report
            .report(record, delivery.is_written && self.is_terminal);
        self.conditions.observe(record, delivery, Instant::now)
    }

    /// Writes a record, or holds it back if the reader is too slow.
    fn deliver(&mut self, record: &Record<'_>) -> io::Result<RecordOutcome> {
        let is_overflowing = self.overflow.is_active()
            || self.writer_status.buffered_bytes() > WRITE_BUFFER_HARD_LIMIT;
        if is_overflowing && self.filter.passes(record) && self.overflow.absorb(record) {
            return Ok(RecordOutcome::default());
        }
        self.write(record)
    }

    /// Sends a record through the filters to stdout and the hooks, however slow the reader is.
    fn write(&mut self, record: &Record<'_>) -> io::Result<RecordOutcome> {
        if !self.filter.passes(record) {
            return Ok(RecordOutcome::default());
        }
        let condition = self.filter.condition_for(record);
        let until = self.until.as_deref();
        if condition.is_none() && until.is_none() && self.hooks.is_none() {
            self.stdout.push(record)?;
            return Ok(RecordOutcome {
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
        Ok(RecordOutcome {
            is_written,
            satisfies_until,
        })
    }

    /// Writes the debounced events that are due.
    pub(super) fn emit_due(&mut self) -> ControlFlow<StreamOutcome> {
        let now = Instant::now();
        while let Some(event) = self
            .unwritten
            .debounce
            .as_mut()
            .and_then(|stage| stage.pop_due(now))
        {
            self.emit(&event.record())?;
        }
        ControlFlow::Continue(())
    }

    /// Writes all debounced events, whether or not they are due: a user who went away was away at the end.
    pub(super) fn emit_pending(&mut self) -> ControlFlow<StreamOutcome> {
        while let Some(event) = self.unwritten.debounce.as_mut().and_then(Debounce::pop) {
            self.emit(&event.record())?;
        }
        ControlFlow::Continue(())
    }

    /// When the next debounced event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.unwritten
            .debounce
            .as_ref()
            .and_then(Debounce::next_due)
    }

    /// The events that were received and not written.
    pub(super) const fn unwritten(&self) -> &Unwritten {
        &self.unwritten
    }

    /// Writes the events that were held back, once the reader takes lines again.
    pub(super) fn emit_held_back(&mut self, now: DateTime<Utc>) -> ControlFlow<StreamOutcome> {
        if self.writer_status.buffered_bytes() > WRITE_BUFFER_LOW {
            return ControlFlow::Continue(());
        }
        self.end_overflow(now)
            .unwrap_or_else(|error| ControlFlow::Break(StreamOutcome::write_failed(error)))
    }

    /// Writes the gap and the events that were held back. The gap promises the events, so they are written however slow
    /// the reader is, and also if `--fail-on-gap` ends the stream. The record that `-n` or `--until` asks for is the last
    /// one: the events after it stay unwritten. Returns the first reason to end the stream.
    fn end_overflow(&mut self, now: DateTime<Utc>) -> io::Result<ControlFlow<StreamOutcome>> {
        let Some((gap, events)) = self.overflow.take(now) else {
            return Ok(ControlFlow::Continue(()));
        };
        let gap = local_record(now, RecordBody::Gap(gap));
        let delivery = self.write(&gap)?;
        let mut flow = self.observe(&gap, delivery);
        let mut events = events.into_iter();
        let mut first_end = None;
        loop {
            if let ControlFlow::Break(outcome) = flow {
                let is_gap = outcome.reason == EndReason::Gap;
                first_end.get_or_insert(outcome);
                if !is_gap {
                    break;
                }
            }
            let Some(event) = events.next() else { break };
            let record = event.record();
            let delivery = self.write(&record)?;
            flow = self.observe(&record, delivery);
        }
        for event in events {
            if let Some(id) = event.record().body.user_id() {
                let id = id.to_owned();
                self.unwritten.held_back.insert(&id, event);
            }
        }
        Ok(first_end.map_or(ControlFlow::Continue(()), ControlFlow::Break))
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
    /// Returns the events that stay unwritten.
    ///
    /// # Errors
    ///
    /// Writing to stdout failed, or the file of `--tee` did not take the last record.
    pub(super) fn finish(
        mut self,
        now: DateTime<Utc>,
        outcome: &mut StreamOutcome,
    ) -> io::Result<Unwritten> {
        // The stream ends already, whatever these records would end it with.
        let mut written = self.end_overflow(now).map(drop);
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
        if written.is_ok() {
            written = self.write(&end).map(drop);
        }
        let teed = self.flush_tee();
        self.warn_of_losses();
        written?;
        self.stdout.finish()?;
        teed.map(|()| self.unwritten)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::domain::Event;
    use crate::exit::Code;
    use crate::output::testing::settings;
    use crate::output::{Format, LineSink};
    use crate::stream::outcome::EndOptions;
    use crate::stream::sinks::background_writer::BackgroundWriter;

    /// Lines for a reader who takes nothing before they are told to.
    struct BlockedSink(BackgroundWriter);

    impl LineSink for BlockedSink {
        fn write_lines(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
            self.0.check()?;
            self.0.push(lines);
            Ok(())
        }

        fn batch_bytes(&self) -> usize {
            1
        }
    }

    /// What came of a pipeline whose reader takes nothing until `amy` and `bob` are held back.
    struct Ended {
        /// The records for stdout, without those that made the reader slow: the type and the user.
        records: Vec<String>,
        unwritten: io::Result<Unwritten>,
    }

    /// `during`: how the stream goes on while the reader is behind, or fails.
    async fn overflow(
        options: StreamOptions,
        reader_returns: bool,
        during: impl FnOnce(&mut Pipeline<'_>) -> StreamOutcome,
    ) -> Ended {
        let output = Output::with_writers(settings(Format::Ndjson), io::sink(), io::sink());
        let (release, released) = mpsc::channel::<()>();
        let text = Arc::new(Mutex::new(Vec::new()));
        let for_thread = Arc::clone(&text);
        let writer = BackgroundWriter::start("test", move |bytes| {
            // An error means that the sender was dropped, which is the signal.
            let _ = released.recv();
            for_thread.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        let status = writer.status();
        let tee = options.tee.as_deref().map(|path| Tee::open(path).unwrap());
        let stdout = output.records().unwrap().with_sink(BlockedSink(writer));
        let mut pipeline = Pipeline::new(&output, options, tee, stdout, status.clone());
        let large = format!(r#"{{"type":"large","text":"{}"}}"#, "x".repeat(1 << 20));
        while status.buffered_bytes() <= WRITE_BUFFER_HARD_LIMIT {
            assert!(pipeline.process(&record(&large, None)).is_continue());
        }
        for id in ["amy", "bob"] {
            let text =
                format!(r#"{{"type":"user.updated","user":{{"id":"{id}","status":"new"}}}}"#);
            let change = Change::between(&Presence::default(), &new_status());
            assert!(pipeline.process(&record(&text, Some(change))).is_continue());
        }
        assert!(pipeline.is_overflowing());
        let mut release = Some(release);
        if reader_returns {
            release = None;
            status.drained().await.unwrap();
        }
        let mut outcome = during(&mut pipeline);
        let unwritten = pipeline.finish(DateTime::UNIX_EPOCH, &mut outcome);
        drop(release);
        if unwritten.is_ok() {
            status.drained().await.unwrap();
        }
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        let records = kinds(&text);
        let records = records.into_iter().filter(|kind| kind != "large ");
        Ended {
            records: records.collect(),
            unwritten,
        }
    }

    fn kinds(text: &str) -> Vec<String> {
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|record| {
                let user = record["user"]["id"].as_str().unwrap_or_default();
                format!("{} {user}", record["type"].as_str().unwrap())
            })
            .collect()
    }

    fn new_status() -> Presence {
        Presence {
            status: Some("new".to_owned()),
            ..Presence::default()
        }
    }

    fn record(text: &str, change: Option<Change>) -> Record<'_> {
        Record {
            received_at: DateTime::UNIX_EPOCH,
            source: RecordSource::Ws,
            body: RecordBody::Event {
                event: Event::parse(text).unwrap(),
                change,
            },
        }
    }

    fn end_after_overflow(pipeline: &mut Pipeline<'_>) -> StreamOutcome {
        let flow = pipeline.emit_held_back(DateTime::UNIX_EPOCH);
        flow.break_value().expect("the stream ends")
    }

    const ALL: [&str; 4] = [
        "presence.gap ",
        "user.updated amy",
        "user.updated bob",
        "stream.end ",
    ];

    #[tokio::test]
    async fn a_reader_who_is_behind_at_the_end_gets_what_was_held_back() {
        let ended = overflow(StreamOptions::default(), false, |_| {
            StreamOutcome::signal(Code::Terminated)
        });
        assert_eq!(ended.await.records, ALL);
    }

    #[tokio::test]
    async fn a_gap_that_ends_the_stream_comes_with_its_events() {
        let options = StreamOptions {
            end: EndOptions {
                on_gap: true,
                ..EndOptions::default()
            },
            ..StreamOptions::default()
        };
        let ended = overflow(options, true, |pipeline| {
            let outcome = end_after_overflow(pipeline);
            assert_eq!(outcome.reason, EndReason::Gap);
            outcome
        });
        assert_eq!(ended.await.records, ALL);
    }

    #[tokio::test]
    async fn the_last_event_asked_for_is_the_last_and_the_others_stay_unwritten() {
        let options = StreamOptions {
            until: Some(Arc::new(Expr::compile(".user.id == \"amy\"").unwrap())),
            ..StreamOptions::default()
        };
        let ended = overflow(options, true, |pipeline| {
            let outcome = end_after_overflow(pipeline);
            assert_eq!(outcome.reason, EndReason::Until);
            outcome
        })
        .await;
        assert_eq!(
            ended.records,
            ["presence.gap ", "user.updated amy", "stream.end "]
        );
        let unwritten = ended.unwritten.unwrap();
        let change_of = |id| unwritten.change_of(id, &new_status());
        assert!(change_of("amy").is_none());
        assert_eq!(change_of("bob").unwrap().previous, Presence::default());
    }

    #[tokio::test]
    async fn the_tee_is_complete_though_stdout_fails_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.ndjson");
        let options = StreamOptions {
            tee: Some(path.clone()),
            ..StreamOptions::default()
        };
        let ended = overflow(options, false, |pipeline| {
            pipeline.writer_status().fail(io::ErrorKind::StorageFull);
            StreamOutcome::signal(Code::Terminated)
        });
        let error = ended.await.unwritten.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let teed = kinds(&fs::read_to_string(path).unwrap());
        assert_eq!(teed.last().unwrap(), "stream.end ");
    }
}
