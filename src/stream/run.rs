//! Runs a stream: from connecting to the exit code.
//!
//! The loop waits for everything that can happen to a stream: records, deadlines, signals, hooks, and a reader who takes
//! lines again or leaves. Whatever ends the stream, the last record says so.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::domain::record::EndReason;
use crate::error_to_exit::code_of;
use crate::events::{ResumeState, WatchError, Watcher, WatcherStep};
use crate::exit::Code;
use crate::output::Output;
use crate::signals::Signals;
use crate::stream::StreamOptions;
use crate::stream::cursor::CursorFile;
use crate::stream::outcome::StreamOutcome;
use crate::stream::pipeline::{Pipeline, Unwritten};
use crate::stream::sinks::background_writer::WriterStatus;
use crate::stream::sinks::hooks::HookOutcome;
use crate::stream::sinks::tee::append_error;
use crate::stream::slow_reader::SlowReader;
use crate::stream::source::{BurstEnd, EVENTS_PER_BURST, Source, SourceOptions};
use crate::stream::stderr_report::SubscribeProgress;
use crate::timer::sleep_until;

/// How long the readers of stdout and of a pipe may take to finish after a signal or `--timeout`.
const READER_GRACE: Duration = Duration::from_secs(1);
/// How long hooks may take to finish after a signal.
const SIGNAL_GRACE: Duration = Duration::from_secs(1);
/// How long running hooks may take to finish after `--timeout`.
const HOOK_GRACE: Duration = Duration::from_secs(10);

/// A stream whose sinks are open and that is not connected yet.
#[derive(Debug)]
pub struct Stream<'a> {
    pipeline: Pipeline<'a>,
    cursor: Option<CursorFile>,
    resume: Option<ResumeState>,
    signals: Signals,
}

/// What woke the stream.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is by far the most frequent one"
)]
enum Wakeup<'w> {
    /// The source has something.
    Source(Result<WatcherStep<'w>, WatchError>),
    /// Something else happened.
    Local(LocalWakeup),
}

/// What can happen to a stream besides its source.
enum LocalWakeup {
    DebounceDue,
    HookEnded(HookOutcome),
    ReaderProgress,
    CursorDue,
    TimedOut(EndReason),
    Signal(Code),
    /// Nothing more can be written to stdout, or to the file of `--tee`.
    SinkGone(StreamOutcome),
}

impl<'a> Stream<'a> {
    /// Opens the cursor file and the sinks. The time of `--timeout` starts.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or `--columns` names no column.
    pub fn open(output: &'a Output, options: StreamOptions) -> anyhow::Result<Self> {
        let (cursor, resume) = match options.cursor_file.as_deref().map(CursorFile::open) {
            Some(opened) => {
                let (cursor, resume) = opened?;
                (Some(cursor), resume)
            }
            None => (None, None),
        };
        Ok(Self {
            pipeline: Pipeline::open(output, options)?,
            cursor,
            resume,
            signals: Signals::listen()?,
        })
    }

    /// Connects, and writes records until something ends the stream. `options` may take a while to find out.
    ///
    /// # Errors
    ///
    /// Connecting failed, the stream was lost, or a sink failed.
    pub async fn run(
        mut self,
        options: impl Future<Output = anyhow::Result<SourceOptions>>,
    ) -> anyhow::Result<Code> {
        let status = self.pipeline.writer_status();
        let resume = self.resume.take();
        let connected = async {
            let mut options = options.await?;
            options.watcher.resume = resume;
            let reconnects = options.watcher.reconnect;
            anyhow::Ok((Source::connect(options).await?, reconnects))
        };
        let source = tokio::select! {
            connected = connected => {
                let (source, reconnects) = connected?;
                self.pipeline.report.reconnects = reconnects;
                Ok(source)
            }
            code = self.signals.next() => Err(StreamOutcome::signal(code)),
            () = sleep_until(self.pipeline.conditions.deadline()) => {
                Err(self.pipeline.conditions.timed_out(EndReason::Timeout))
            }
            () = status.hung_up() => Err(StreamOutcome::reader_left()),
        };
        match source {
            Ok(mut source) => {
                let outcome = self.follow(&mut source).await;
                self.finish(Some(source), outcome).await
            }
            Err(outcome) => self.finish(None, outcome).await,
        }
    }

    /// Sends records through the pipeline until something ends the stream.
    async fn follow(&mut self, source: &mut Source) -> StreamOutcome {
        let gone = sink_gone(self.pipeline.writer_status(), self.pipeline.tee_status());
        let mut gone = pin!(gone);
        let mut progress = SubscribeProgress::new();
        let mut slow_reader = SlowReader::default();
        let mut rounds_without_wait = 0;
        loop {
            rounds_without_wait += 1;
            let waits_for_reader =
                slow_reader.should_wait(self.pipeline.is_crowded(), Instant::now);
            let has_more = !waits_for_reader
                && match source.process_burst(&mut self.pipeline) {
                    BurstEnd::StreamEnds(outcome) => return outcome,
                    BurstEnd::Pause | BurstEnd::Drained => false,
                    BurstEnd::NotAnEvent => rounds_without_wait < EVENTS_PER_BURST,
                };
            let ready = if has_more {
                source.next().now_or_never()
            } else {
                None
            };
            let wakeup = match ready {
                Some(step) => Wakeup::Source(step),
                None => {
                    rounds_without_wait = 0;
                    if let ControlFlow::Break(outcome) = self.pipeline.flush() {
                        return outcome;
                    }
                    let reader = waits_for_reader.then_some(&mut slow_reader);
                    self.wait(source, reader, gone.as_mut()).await
                }
            };
            let flow = match wakeup {
                Wakeup::Source(Ok(WatcherStep::Record(record))) => self.pipeline.process(&record),
                Wakeup::Source(Ok(WatcherStep::Notice(text))) => {
                    self.pipeline.output.warn(text);
                    ControlFlow::Continue(())
                }
                Wakeup::Source(Ok(WatcherStep::Quiet)) => {
                    if !self.pipeline.conditions.is_covered() {
                        progress.report(self.pipeline.output, source.progress());
                    }
                    ControlFlow::Continue(())
                }
                Wakeup::Source(Err(error)) => return lost(error),
                Wakeup::Local(wakeup) => self.handle(wakeup, &source.watcher),
            };
            if let ControlFlow::Break(outcome) = flow {
                return outcome;
            }
        }
    }

    /// Waits for the next thing that happens. While there is a slow reader to wait for, nothing is taken from the source.
    async fn wait<'w>(
        &mut self,
        source: &'w mut Source,
        slow_reader: Option<&mut SlowReader>,
        gone: Pin<&mut impl Future<Output = StreamOutcome>>,
    ) -> Wakeup<'w> {
        let conditions = &self.pipeline.conditions;
        let (deadline, idle) = (conditions.deadline(), conditions.idle_deadline());
        let debounce_due = self.pipeline.next_due();
        let cursor_due = self.cursor.as_ref().map(CursorFile::next_write);
        let waits_for_reader = slow_reader.is_some();
        let reader_deadline = slow_reader.as_ref().and_then(|reader| reader.deadline());
        let awaits_progress = waits_for_reader || self.pipeline.is_overflowing();
        let status = self.pipeline.writer_status();
        let has_hooks = self.pipeline.has_hooks();
        Wakeup::Local(tokio::select! {
            biased;
            code = self.signals.next() => LocalWakeup::Signal(code),
            outcome = gone => LocalWakeup::SinkGone(outcome),
            () = sleep_until(deadline) => LocalWakeup::TimedOut(EndReason::Timeout),
            () = sleep_until(debounce_due) => LocalWakeup::DebounceDue,
            () = sleep_until(cursor_due) => LocalWakeup::CursorDue,
            () = status.progress(), if awaits_progress => {
                if let Some(reader) = slow_reader {
                    reader.note_progress();
                }
                LocalWakeup::ReaderProgress
            }
            outcome = self.pipeline.next_hook(), if has_hooks => LocalWakeup::HookEnded(outcome),
            () = sleep_until(reader_deadline), if waits_for_reader => LocalWakeup::ReaderProgress,
            step = source.next(), if !waits_for_reader => return Wakeup::Source(step),
            () = sleep_until(idle) => LocalWakeup::TimedOut(EndReason::Idle),
        })
    }

    /// Handles a wakeup.
    fn handle(&mut self, wakeup: LocalWakeup, watcher: &Watcher) -> ControlFlow<StreamOutcome> {
        match wakeup {
            LocalWakeup::DebounceDue => self.pipeline.emit_due(),
            LocalWakeup::ReaderProgress => self.pipeline.emit_held_back(Utc::now()),
            LocalWakeup::HookEnded(hook) => {
                if self.pipeline.report_hook(&hook) {
                    ControlFlow::Break(StreamOutcome::new(EndReason::Hook, Code::Hook))
                } else {
                    ControlFlow::Continue(())
                }
            }
            LocalWakeup::CursorDue => {
                self.save_cursor(watcher);
                ControlFlow::Continue(())
            }
            LocalWakeup::TimedOut(reason) => {
                ControlFlow::Break(self.pipeline.conditions.timed_out(reason))
            }
            LocalWakeup::Signal(code) => ControlFlow::Break(StreamOutcome::signal(code)),
            LocalWakeup::SinkGone(outcome) => ControlFlow::Break(outcome),
        }
    }

    fn save_cursor(&mut self, watcher: &Watcher) {
        if let Some(cursor) = &mut self.cursor {
            if self.pipeline.is_drained() {
                save(
                    cursor,
                    watcher,
                    self.pipeline.unwritten(),
                    self.pipeline.output,
                );
            } else {
                cursor.postpone();
            }
        }
    }

    /// Writes the last record, waits for hooks and for the reader, and saves the cursor.
    async fn finish(
        mut self,
        source: Option<Source>,
        mut outcome: StreamOutcome,
    ) -> anyhow::Result<Code> {
        let output = self.pipeline.output;
        let tee_status = self.pipeline.tee_status();
        // A stream that was refused before it began has written nothing that needs an end.
        let has_begun = source.is_none() || self.pipeline.conditions.is_covered();
        if outcome.reason == EndReason::Lost && !has_begun {
            return outcome.into_result();
        }
        // With these reasons, the last record is the one that was asked for.
        let is_complete = matches!(outcome.reason, EndReason::Count | EndReason::Until);
        if !is_complete
            && !outcome.is_stdout_gone()
            && let ControlFlow::Break(end) = self.pipeline.emit_pending()
            && end.is_stdout_gone()
        {
            outcome = end;
        }
        if outcome.is_stdout_gone() {
            output.trace("* the reader closed stdout");
            let finished = self.pipeline.finish_tee(Utc::now(), &outcome);
            drain_tee(tee_status, READER_GRACE, output).await?;
            return outcome.into_result().and_then(|code| {
                finished?;
                Ok(code)
            });
        }
        finish_hooks(&mut self.pipeline, &mut outcome, &mut self.signals).await;
        let status = self.pipeline.writer_status();
        let deadline = self.pipeline.conditions.deadline();
        let finished = self.pipeline.finish(Utc::now(), &mut outcome);
        // After a signal or `--timeout`, the process does not wait for a reader of stdout that has stopped reading.
        let grace = match deadline {
            _ if outcome.is_signal() => READER_GRACE,
            Some(deadline) => READER_GRACE.max(deadline.duration_since(Instant::now())),
            None => Duration::MAX,
        };
        let drained = async {
            let (drained, teed) = tokio::join!(
                timeout(grace, status.drained()),
                drain_tee(tee_status, grace, output)
            );
            teed.map(|()| drained)
        };
        let drained = tokio::select! {
            drained = drained => match drained? {
                Ok(drained) => drained.map(|()| true),
                Err(_) => {
                    output.warn("the reader of stdout has not taken the last records");
                    Ok(false)
                }
            },
            _ = self.signals.next() => Ok(false),
        };
        let unwritten = finished?;
        let is_drained = drained?;
        if outcome.error.is_some() {
            return outcome.into_result();
        }
        if let Some(source) = source {
            if let Some(cursor) = self.cursor.as_mut().filter(|_| is_drained) {
                save(cursor, &source.watcher, &unwritten, output);
            }
            source.close().await;
        }
        outcome.into_result()
    }
}

/// Waits for the hooks that the stream has started or queued.
async fn finish_hooks(
    pipeline: &mut Pipeline<'_>,
    outcome: &mut StreamOutcome,
    signals: &mut Signals,
) {
    let mut deadline = if outcome.is_signal() {
        pipeline.cancel_waiting_hooks();
        Some(Instant::now() + SIGNAL_GRACE)
    } else {
        // `--timeout` bounds hooks as well, whatever ended the stream before.
        pipeline.conditions.deadline().map(|at| at + HOOK_GRACE)
    };
    while pipeline.has_hooks() {
        tokio::select! {
            hook = pipeline.next_hook() => {
                if pipeline.report_hook(&hook) && outcome.code == Code::Ok {
                    *outcome = StreamOutcome::new(EndReason::Hook, Code::Hook);
                }
            }
            code = signals.next() => {
                *outcome = StreamOutcome::signal(code);
                deadline = Some(Instant::now() + SIGNAL_GRACE);
                pipeline.cancel_waiting_hooks();
            }
            () = sleep_until(deadline) => {
                pipeline.output.warn("some hooks are still running and are not waited for");
                return;
            }
        }
    }
}

/// Waits until the reader of stdout has left, or writing to the pipe of `--tee` has failed.
async fn sink_gone(stdout: WriterStatus, tee: Option<(WriterStatus, String)>) -> StreamOutcome {
    let tee_failed = async {
        match tee {
            Some((status, name)) => append_error(Path::new(&name), &status.failed().await.into()),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stdout.hung_up() => StreamOutcome::reader_left(),
        error = tee_failed => StreamOutcome::tee_failed(error),
    }
}

/// Waits until the reader of the pipe of `--tee` has taken everything, at most this long.
async fn drain_tee(
    status: Option<(WriterStatus, String)>,
    grace: Duration,
    output: &Output,
) -> io::Result<()> {
    let Some((status, name)) = status else {
        return Ok(());
    };
    match timeout(grace, status.drained()).await {
        Ok(drained) => drained.map_err(|error| append_error(Path::new(&name), &error)),
        Err(_) => {
            output.warn(&format!(
                "the reader of {name} has not taken the last records"
            ));
            Ok(())
        }
    }
}

fn save(cursor: &mut CursorFile, watcher: &Watcher, unwritten: &Unwritten, output: &Output) {
    let was_shared = cursor.is_shared();
    let saved = cursor.save(watcher, |id, current| unwritten.change_of(id, current));
    if let Err(error) = saved {
        output.warn(&format!("cannot write the cursor file: {error}"));
    }
    if cursor.is_shared() && !was_shared {
        output.warn(
            "another process writes the same cursor file: give each stream a file of its own",
        );
    }
}

fn lost(error: WatchError) -> StreamOutcome {
    let error = anyhow::Error::from(error);
    StreamOutcome {
        reason: EndReason::Lost,
        code: code_of(&error),
        error: Some(error),
    }
}
