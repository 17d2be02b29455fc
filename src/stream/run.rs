//! The life of a stream: from whom to watch to an exit code.
//!
//! Everything that can end a stream is here: a count, a time, silence, a condition, a gap, a hook, a signal, a reader
//! who has left. Whatever ends it, the last line says so.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::api::Client;
use crate::app::{App, DEFAULT_TIMEOUT};
use crate::commands::watch::{Snapshot, StreamArgs};
use crate::commands::watch_plan as plan;
use crate::domain::event::HEALTH_CHECK;
use crate::domain::record::{EndReason, Record, RecordBody, RecordSource, StreamEnd};
use crate::error_report::code_of;
use crate::events::{
    DrainResult, Observer, ResumeState, WatchError, WatchTarget, Watcher, WatcherOptions,
    WatcherStep,
};
use crate::exit::{Code, Failure};
use crate::signals::Signals;
use crate::stream::cursor::Cursor;
use crate::stream::debounce::{Fate, Settling};
use crate::stream::pipeline::Teller;
use crate::stream::sinks::hooks::Done;
use crate::stream::slow_reader::Patience;
use crate::stream::stderr_report::{LinkWas, Progress, remark};
use crate::timer::sleep_until;

/// Steps that need no waiting and are taken before signals and times are looked at again.
const AT_A_STRETCH: u32 = 256;
/// How long what is still to be done may take once a signal came.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long hooks that run may go on once the time of the stream is over.
const HOOKS_GRACE: Duration = Duration::from_secs(10);

/// How a stream ended.
#[derive(Debug)]
struct Ending {
    reason: EndReason,
    code: Code,
    error: Option<anyhow::Error>,
}

impl Ending {
    const fn new(reason: EndReason, code: Code) -> Self {
        Self {
            reason,
            code,
            error: None,
        }
    }

    const fn signalled(code: Code) -> Self {
        Self::new(EndReason::of_signal(code), code)
    }

    fn failed(error: WatchError) -> Self {
        let error = anyhow::Error::from(error);
        Self {
            reason: EndReason::Lost,
            code: code_of(&error),
            error: Some(error),
        }
    }

    /// The copy of the stream would have a hole.
    fn uncopied(error: io::Error) -> Self {
        Self {
            reason: EndReason::Tee,
            code: Code::Unexpected,
            error: Some(error.into()),
        }
    }

    /// What the program ends with.
    fn conclude(self) -> anyhow::Result<Code> {
        self.error.map_or(Ok(self.code), Err)
    }

    /// Whether a person wants the end now.
    const fn is_urgent(&self) -> bool {
        matches!(self.code, Code::Interrupted | Code::Terminated)
    }
}

/// Why the stream woke up.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what nearly every turn is"
)]
enum Turn<'w> {
    Step(Result<WatcherStep<'w>, WatchError>),
    Settled,
    Hook(Done),
    CatchUp,
    Save,
    TimeUp,
    Idle,
    Signal(Code),
    Gone,
}

/// Follows a target until something ends the stream.
///
/// # Errors
///
/// The stream could not begin, or was lost; `--columns` names no column; or there is no time.
pub async fn follow(app: &App, args: &StreamArgs, target: WatchTarget) -> anyhow::Result<Code> {
    // A stream of no length would be silent, and pass for one in which nobody is there.
    if app.timeout() == Some(Duration::ZERO) {
        return Err(Failure::new(
            Code::Usage,
            "--timeout 0 leaves no time to watch anything",
        )
        .hinted("to see the state now and end: --snapshot only; without --timeout there is no bound")
        .into());
    }
    if app.is_dry_run() {
        return plan::print(app, &target).await;
    }
    let (cursor, resume) = match args.cursor_file.as_deref().map(Cursor::open).transpose()? {
        Some((cursor, resume)) => (Some(cursor), resume),
        None => (None, None),
    };
    let mut stream = Stream::new(app, args, cursor)?;
    let mut signals = Signals::listen()?;
    let (server, options) = eye(app, args, resume).await?;
    let gauge = stream.teller.gauge();
    let watcher = tokio::select! {
        watcher = Watcher::start(server, target, options) => Ok(watcher?),
        code = signals.next() => Err(Ending::signalled(code)),
        () = sleep_until(stream.deadline) => Err(stream.time_up(EndReason::Timeout)),
        () = gauge.hung_up() => return Ok(Code::Ok),
    };
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(mut ending) => {
            stream.end(&mut ending, &mut signals).await?;
            return ending.conclude();
        }
    };
    let Some(mut ending) = stream.run(&mut watcher, &mut signals).await? else {
        app.output().trace("* the reader closed stdout");
        return Ok(Code::Ok);
    };
    // A stream that never began has nothing to end; one that has told something has.
    if ending.error.is_some() && !stream.covered && ending.reason != EndReason::Tee {
        return ending.conclude();
    }
    // What was asked for is complete with the last record.
    if !matches!(ending.reason, EndReason::Count | EndReason::Until) {
        stream.tell_unsettled()?;
    }
    stream.finish_hooks(&mut ending, &mut signals).await;
    let left = stream.end(&mut ending, &mut signals).await?;
    if ending.error.is_some() {
        return ending.conclude();
    }
    if let Some((mut cursor, settling)) = left {
        save(&mut cursor, &watcher, &settling, app);
    }
    watcher.close().await;
    Ok(ending.code)
}

/// Who looks, and how.
async fn eye(
    app: &App,
    args: &StreamArgs,
    resume: Option<ResumeState>,
) -> anyhow::Result<(Client, WatcherOptions)> {
    let (client, observer) = observer(app).await?;
    let options = WatcherOptions {
        reconnect: !args.no_reconnect,
        backoff_max: args.backoff_max,
        stale_after: args.stale_after,
        shard: args.shard,
        raw: args.raw,
        resume,
        ..WatcherOptions::new(observer)
    };
    Ok((client, options))
}

/// The user that a stream connects as, and the client to watch with.
///
/// # Errors
///
/// No credentials; or the profile is protected, the observer is to be made, and `--yes` was not given.
pub(crate) async fn observer(app: &App) -> anyhow::Result<(Client, Observer)> {
    let user = app.observer().await?;
    let dedicated = app.acting_as().is_none();
    let (client, observer) = match app.server_client().await? {
        Some(server) if dedicated => (server, Observer::Dedicated(user)),
        Some(server) => (server, Observer::Existing(user)),
        None => (app.client().await?, Observer::Existing(user)),
    };
    match &observer {
        Observer::Existing(user) => app.output().status(&format!(
            "watching as {user}, who is online for as long as this runs."
        )),
        // Looking needs no permission; making somebody an admin in a protected application does, once.
        Observer::Dedicated(user) if app.is_protected()? => {
            if observer.preparation(&client).await?.is_some() {
                app.confirm_change(&format!("make the observer {user} an admin"))?;
            }
        }
        Observer::Dedicated(_) => {}
    }
    // The time that a stream may take is not the time that a call may take.
    Ok((client.with_timeout(DEFAULT_TIMEOUT), observer))
}

fn save(cursor: &mut Cursor, watcher: &Watcher, settling: &Settling, app: &App) {
    let was_shared = cursor.is_shared();
    if let Err(error) = cursor.save(watcher, settling) {
        app.output()
            .warn(&format!("the cursor file is not written: {error}"));
    }
    if cursor.is_shared() && !was_shared {
        app.output().warn(
            "another process writes the same cursor file, which keeps what the last one of them knew: give each its own",
        );
    }
}

#[derive(Debug)]
struct Stream<'a> {
    app: &'a App,
    args: &'a StreamArgs,
    teller: Teller<'a>,
    settling: Settling,
    cursor: Option<Cursor>,
    progress: Progress,
    deadline: Option<Instant>,
    idle_at: Option<Instant>,
    events: u64,
    gaps: u64,
    reconnects: u64,
    covered: bool,
    /// Whether the link was up when it was last spoken of.
    linked: bool,
}

impl<'a> Stream<'a> {
    fn new(app: &'a App, args: &'a StreamArgs, cursor: Option<Cursor>) -> anyhow::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            app,
            args,
            teller: Teller::new(app, args)?,
            settling: Settling::default(),
            cursor,
            progress: Progress::new(),
            deadline: app.timeout().map(|timeout| now + timeout),
            idle_at: args.idle.map(|idle| now + idle),
            events: 0,
            gaps: 0,
            reconnects: 0,
            covered: false,
            linked: true,
        })
    }

    /// Runs until something ends the stream. `None` when the reader has left.
    async fn run(
        &mut self,
        watcher: &mut Watcher,
        signals: &mut Signals,
    ) -> anyhow::Result<Option<Ending>> {
        let gauge = self.teller.gauge();
        let mut gone = std::pin::pin!(gauge.hung_up());
        let mut stretch = 0;
        let mut patience = Patience::default();
        loop {
            stretch += 1;
            let waits = patience.waits(self.teller.is_crowded(), Instant::now);
            let mut nothing = waits;
            if !waits {
                match self.take_ready(watcher)? {
                    DrainResult::Break(Some(ending)) => return Ok(Some(ending)),
                    DrainResult::Break(None) => stretch = AT_A_STRETCH,
                    DrainResult::Empty => nothing = true,
                    DrainResult::Other => {}
                }
            }
            let ready = if nothing || stretch >= AT_A_STRETCH {
                None
            } else {
                watcher.step().now_or_never()
            };
            let turn = match ready {
                Some(step) => Turn::Step(step),
                None => {
                    stretch = 0;
                    self.teller.flush()?;
                    if let Err(error) = self.teller.copy() {
                        return Ok(Some(Ending::uncopied(error)));
                    }
                    let settled = self.settling.next_due();
                    let save = self.cursor.as_ref().map(Cursor::due);
                    let behind = self.teller.is_behind();
                    let hooks = self.teller.hooks_are_busy();
                    tokio::select! {
                        biased;
                        code = signals.next() => Turn::Signal(code),
                        () = &mut gone => Turn::Gone,
                        () = sleep_until(self.deadline) => Turn::TimeUp,
                        () = sleep_until(settled) => Turn::Settled,
                        () = sleep_until(save) => Turn::Save,
                        () = gauge.moved(), if behind || waits => {
                            patience.moved();
                            Turn::CatchUp
                        }
                        done = self.teller.hook(), if hooks => Turn::Hook(done),
                        () = sleep_until(patience.until()), if waits => Turn::CatchUp,
                        step = watcher.step(), if !waits => Turn::Step(step),
                        () = sleep_until(self.idle_at) => Turn::Idle,
                    }
                }
            };
            let ending = match turn {
                Turn::Step(Ok(WatcherStep::Record(record))) => self.take(&record)?,
                Turn::Step(Ok(WatcherStep::Notice(text))) => {
                    self.teller.output().warn(text);
                    None
                }
                Turn::Step(Ok(WatcherStep::Quiet)) => {
                    if !self.covered {
                        let output = self.teller.output();
                        self.progress.tell(output, watcher.progress());
                    }
                    None
                }
                Turn::Step(Err(error)) => Some(Ending::failed(error)),
                Turn::Settled => self.settle()?,
                Turn::CatchUp => self.catch_up()?,
                Turn::Hook(done) => {
                    let ends = self.teller.remark_on_hook(&done);
                    ends.then(|| Ending::new(EndReason::Hook, Code::Hook))
                }
                Turn::Save => {
                    self.save(watcher);
                    None
                }
                Turn::TimeUp => Some(self.time_up(EndReason::Timeout)),
                Turn::Idle => Some(self.time_up(EndReason::Idle)),
                Turn::Signal(code) => Some(Ending::signalled(code)),
                Turn::Gone => return Ok(None),
            };
            if ending.is_some() {
                return Ok(ending);
            }
        }
    }

    /// A time that runs out is an end like any other, unless something was still to be achieved.
    const fn time_up(&self, reason: EndReason) -> Ending {
        let unachieved = self.args.count.is_some()
            || self.args.until.is_some()
            || matches!(self.args.snapshot, Snapshot::Only);
        let code = if unachieved { Code::TimedOut } else { Code::Ok };
        Ending::new(reason, code)
    }

    /// Takes the events that are there already: until something ends the stream, until the reader cannot keep up, or
    /// until it is time to look at everything else.
    fn take_ready(&mut self, watcher: &mut Watcher) -> io::Result<DrainResult<Option<Ending>>> {
        let mut left = AT_A_STRETCH;
        let told = watcher.drain_ready(|record| match self.take(record) {
            Ok(None) => {
                left -= 1;
                if left == 0 || self.teller.is_crowded() {
                    return ControlFlow::Break(Ok(None));
                }
                ControlFlow::Continue(())
            }
            Ok(ending) => ControlFlow::Break(Ok(ending)),
            Err(error) => ControlFlow::Break(Err(error)),
        });
        Ok(match told {
            DrainResult::Break(ending) => DrainResult::Break(ending?),
            DrainResult::Empty => DrainResult::Empty,
            DrainResult::Other => DrainResult::Other,
        })
    }

    /// Takes a record from the watcher.
    fn take(&mut self, record: &Record<'_>) -> io::Result<Option<Ending>> {
        if let Some(settle) = self.args.settle {
            match self.settling.take(record, Instant::now() + settle) {
                Fate::Tell => {}
                Fate::Wait => return Ok(None),
                Fate::Instead(settled) => return self.show(&settled.record()),
            }
        }
        self.show(record)
    }

    /// Shows the changes that have stood long enough.
    fn settle(&mut self) -> io::Result<Option<Ending>> {
        for settled in self.settling.due(Instant::now()) {
            let ending = self.show(&settled.record())?;
            if ending.is_some() {
                return Ok(ending);
            }
        }
        Ok(None)
    }

    /// Shows the changes that have not stood long enough yet when the stream ends: whoever went was gone at the end.
    fn tell_unsettled(&mut self) -> io::Result<()> {
        for settled in self.settling.rest() {
            self.show(&settled.record())?;
        }
        Ok(())
    }

    /// Tells a reader who takes lines again what was held back.
    fn catch_up(&mut self) -> io::Result<Option<Ending>> {
        let now = Utc::now();
        let Some((gap, folded)) = self.teller.catch_up(now) else {
            return Ok(None);
        };
        let gap = Record {
            received_at: now,
            source: RecordSource::Local,
            body: RecordBody::Gap(gap),
        };
        let mut ending = self.show(&gap)?;
        for folded in folded {
            if ending.is_some() {
                break;
            }
            ending = self.show(&folded.record())?;
        }
        Ok(ending)
    }

    /// Shows a record if it is of interest, and tells whether it ends the stream.
    fn show(&mut self, record: &Record<'_>) -> io::Result<Option<Ending>> {
        let told = self.teller.tell(record)?;
        let output = self.teller.output();
        // A terminal that shows the record need not show it twice.
        let seen = told.shown && output.settings().width.is_some() && !self.args.raw;
        if !seen {
            let was = LinkWas {
                up: self.linked,
                reconnects: !self.args.no_reconnect,
            };
            remark(output, record, was);
        }
        let ending = self.count(record, told.shown);
        if told.fulfilled {
            return Ok(Some(Ending::new(EndReason::Until, Code::Ok)));
        }
        Ok(ending)
    }

    /// Counts a record, and tells whether that ends the stream.
    fn count(&mut self, record: &Record<'_>, shown: bool) -> Option<Ending> {
        match &record.body {
            RecordBody::Event { event, .. } if shown && !event.is(HEALTH_CHECK) => {
                self.events += 1;
                self.idle_at = self.args.idle.map(|idle| Instant::now() + idle);
                (self.args.count == Some(self.events))
                    .then(|| Ending::new(EndReason::Count, Code::Ok))
            }
            RecordBody::Gap(_) => {
                self.gaps += 1;
                self.args
                    .fail_on_gap
                    .then(|| Ending::new(EndReason::Gap, Code::Gap))
            }
            RecordBody::Coverage(coverage) => {
                self.covered = true;
                if self.args.strict_coverage && !coverage.missing.is_empty() {
                    Some(Ending::new(EndReason::Coverage, Code::Coverage))
                } else if self.args.snapshot == Snapshot::Only {
                    Some(Ending::new(EndReason::Snapshot, Code::Ok))
                } else {
                    None
                }
            }
            RecordBody::ConnectionChanged(changed) => {
                self.linked = changed.online;
                self.reconnects += u64::from(changed.online);
                None
            }
            RecordBody::Event { .. }
            | RecordBody::Snapshot(_)
            | RecordBody::ConnectionRecovered
            | RecordBody::End(_) => None,
        }
    }

    fn save(&mut self, watcher: &Watcher) {
        let taken = self.teller.is_taken();
        if let Some(cursor) = &mut self.cursor {
            if taken {
                save(cursor, watcher, &self.settling, self.app);
            } else {
                cursor.postpone();
            }
        }
    }

    /// Lets the hooks end that the stream has called for.
    async fn finish_hooks(&mut self, ending: &mut Ending, signals: &mut Signals) {
        let mut patience = if ending.is_urgent() {
            self.teller.forget_hooks();
            Some(Instant::now() + LAST_WORDS)
        } else {
            // A time that was set as a bound is one for hooks, too, with a while to come to their end.
            (ending.reason == EndReason::Timeout).then(|| Instant::now() + HOOKS_GRACE)
        };
        while self.teller.hooks_are_busy() {
            tokio::select! {
                done = self.teller.hook() => {
                    if self.teller.remark_on_hook(&done) && ending.code == Code::Ok {
                        *ending = Ending::new(EndReason::Hook, Code::Hook);
                    }
                }
                code = signals.next() => {
                    *ending = Ending::signalled(code);
                    patience = Some(Instant::now() + LAST_WORDS);
                    self.teller.forget_hooks();
                }
                () = sleep_until(patience) => {
                    self.teller.output().warn("hooks that have not ended yet are left to themselves");
                    return;
                }
            }
        }
    }

    /// Writes the last line and waits for the reader to take it. The cursor comes back if he did, with who is not told.
    async fn end(
        mut self,
        ending: &mut Ending,
        signals: &mut Signals,
    ) -> io::Result<Option<(Cursor, Settling)>> {
        let now = Utc::now();
        if let Some((gap, folded)) = self.teller.catch_up_at_the_end(now) {
            let gap = Record {
                received_at: now,
                source: RecordSource::Local,
                body: RecordBody::Gap(gap),
            };
            self.show(&gap)?;
            for folded in folded {
                self.teller.tell(&folded.record())?;
            }
        }
        if let Err(error) = self.teller.copy() {
            // What ends the stream otherwise is worse, or somebody's wish.
            if ending.error.is_some() || ending.is_urgent() {
                self.teller.output().warn(&error.to_string());
            } else {
                *ending = Ending::uncopied(error);
            }
        }
        let end = StreamEnd {
            reason: ending.reason,
            events: self.events,
            gaps: self.gaps,
            reconnects: self.reconnects,
            exit_code: ending.code.number(),
        };
        self.teller.tell(&Record {
            received_at: now,
            source: RecordSource::Local,
            body: RecordBody::End(end),
        })?;
        let gauge = self.teller.gauge();
        let copied = self.teller.copy();
        self.teller.finish()?;
        // Whoever asks for the end does not want to wait for a reader who has stopped.
        let patience = if ending.is_urgent() {
            LAST_WORDS
        } else {
            Duration::MAX
        };
        let left = tokio::select! {
            drained = timeout(patience, gauge.drained()) => match drained {
                Ok(drained) => drained.map(|()| self.cursor.map(|cursor| (cursor, self.settling))),
                Err(_) => Ok(None),
            },
            _ = signals.next() => Ok(None),
        };
        copied.and(left)
    }
}
