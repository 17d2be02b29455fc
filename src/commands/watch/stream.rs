//! The life of a stream: from whom to watch to an exit code.
//!
//! Records come from the watcher, go through folding and filters, and out. Everything that can end a stream is here: a
//! count, a time, silence, a condition, a gap, a signal, a reader who has left. Whatever ends it, the last line says so.

use std::io::{self, IsTerminal};
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::Client;
use crate::app::{App, DEFAULT_TIMEOUT};
use crate::commands::ids::in_words;
use crate::commands::signals::Signals;
use crate::commands::watch::filter::{Doubts, Filter};
use crate::commands::watch::outlet::{self, Gauge};
use crate::commands::watch::settle::{Fate, Settling};
use crate::commands::watch::{Snapshot, StreamArgs};
use crate::domain::event::HEALTH_CHECK;
use crate::domain::record::{Body, ConnectionChanged, Coverage, End, Gap, Record, Source};
use crate::events::{Observer, Options, Step, Target, WatchError, Watcher};
use crate::exit::{Code, code_of};
use crate::output::{Output, Records};

/// Steps that need no waiting and are taken before signals and times are looked at again.
const AT_A_STRETCH: u32 = 256;
/// How long what is still to be written may take once a signal came.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a stream ended.
struct Ending {
    reason: &'static str,
    code: Code,
    error: Option<anyhow::Error>,
}

impl Ending {
    const fn new(reason: &'static str, code: Code) -> Self {
        Self {
            reason,
            code,
            error: None,
        }
    }

    fn failed(error: WatchError) -> Self {
        let error = anyhow::Error::from(error);
        Self {
            reason: "lost",
            code: code_of(&error),
            error: Some(error),
        }
    }
}

/// Why the stream woke up.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is what nearly every turn is"
)]
enum Turn<'w> {
    Step(Result<Step<'w>, WatchError>),
    Settled,
    TimeUp,
    Idle,
    Signal(Code),
    Gone,
}

/// Follows a target until something ends the stream.
///
/// # Errors
///
/// The stream could not begin, or was lost; or `--columns` names no column.
pub async fn follow(app: &App, args: &StreamArgs, target: Target) -> anyhow::Result<Code> {
    let output = app.output();
    let mut stream = Stream::new(app, args)?;
    let mut signals = Signals::listen()?;
    let (server, options) = eye(app, args).await?;
    let watcher = tokio::select! {
        watcher = Watcher::start(server, target, options) => watcher?,
        code = signals.next() => return stream.end(&Ending::new(word(code), code), &mut signals).await,
        () = stream.gauge.hung_up() => return Ok(Code::Ok),
        () = due(stream.deadline) => {
            let ending = stream.time_up("timeout");
            return stream.end(&ending, &mut signals).await;
        }
    };
    let mut watcher = watcher;
    match stream.run(&mut watcher, &mut signals).await? {
        // A stream that never began has nothing to end.
        Some(Ending {
            error: Some(error), ..
        }) if !stream.covered => Err(error),
        Some(mut ending) => {
            let error = ending.error.take();
            // The reader need not wait for the goodbye, nor the goodbye for the reader.
            let (ended, ()) = tokio::join!(stream.end(&ending, &mut signals), watcher.close());
            match error {
                Some(error) => Err(error),
                None => ended,
            }
        }
        None => {
            output.trace(1, "nobody reads any more");
            Ok(Code::Ok)
        }
    }
}

/// Who looks, and how.
async fn eye(app: &App, args: &StreamArgs) -> anyhow::Result<(Client, Options)> {
    let (client, observer) = observer(app).await?;
    let options = Options {
        reconnect: !args.no_reconnect,
        shard: args.shard,
        raw: args.raw,
        ..Options::new(observer)
    };
    Ok((client, options))
}

/// The user that a stream connects as, and the client to watch with.
///
/// # Errors
///
/// No credentials.
pub(crate) async fn observer(app: &App) -> anyhow::Result<(Client, Observer)> {
    let user = app.observer().await?;
    let dedicated = app.global().acting_as.is_none();
    let (client, observer) = match app.server_client().await? {
        Some(server) if dedicated => (server, Observer::Dedicated(user)),
        Some(server) => (server, Observer::Person(user)),
        None => (app.client().await?, Observer::Person(user)),
    };
    if let Observer::Person(user) = &observer {
        app.output().status(&format!(
            "watching as {user}, who is online for as long as this runs."
        ));
    }
    // The time that a stream may take is not the time that a call may take.
    Ok((client.with_timeout(DEFAULT_TIMEOUT), observer))
}

struct Stream<'a> {
    args: &'a StreamArgs,
    output: &'a Output,
    records: Records<'a>,
    gauge: Gauge,
    filter: Filter,
    doubts: Doubts,
    settling: Settling,
    deadline: Option<Instant>,
    idle_at: Option<Instant>,
    events: u64,
    gaps: u64,
    reconnects: u64,
    covered: bool,
    progress_at: Instant,
}

impl<'a> Stream<'a> {
    fn new(app: &'a App, args: &'a StreamArgs) -> anyhow::Result<Self> {
        let output = app.output();
        let records = output.records()?.raw(args.raw);
        for glob in args.events.iter().filter(|glob| !glob.fits_a_known_type()) {
            output.hint(&format!(
                "no type that this version knows fits `{glob}`; `presencectl help records` lists them"
            ));
        }
        let (outlet, gauge) = outlet::open()?;
        let now = Instant::now();
        Ok(Self {
            args,
            output,
            records: records.writing_to(outlet),
            gauge,
            filter: Filter::new(args),
            doubts: Doubts::default(),
            settling: Settling::default(),
            deadline: app.global().timeout.map(|timeout| now + timeout),
            idle_at: args.idle.map(|idle| now + idle),
            events: 0,
            gaps: 0,
            reconnects: 0,
            covered: false,
            progress_at: now,
        })
    }

    /// Runs until something ends the stream. `None` when the reader has left.
    async fn run(
        &mut self,
        watcher: &mut Watcher,
        signals: &mut Signals,
    ) -> anyhow::Result<Option<Ending>> {
        let gauge = self.gauge.clone();
        let mut gone = std::pin::pin!(gauge.hung_up());
        let mut stretch = 0;
        loop {
            stretch += 1;
            let ready = if stretch < AT_A_STRETCH {
                watcher.step().now_or_never()
            } else {
                None
            };
            let turn = match ready {
                Some(step) => Turn::Step(step),
                None => {
                    stretch = 0;
                    self.records.flush()?;
                    let settled = self.settling.next_due();
                    tokio::select! {
                        biased;
                        code = signals.next() => Turn::Signal(code),
                        () = &mut gone => Turn::Gone,
                        () = due(self.deadline) => Turn::TimeUp,
                        () = due(settled) => Turn::Settled,
                        step = watcher.step() => Turn::Step(step),
                        () = due(self.idle_at) => Turn::Idle,
                    }
                }
            };
            let ending = match turn {
                Turn::Step(Ok(Step::Record(record))) => self.take(&record)?,
                Turn::Step(Ok(Step::Notice(text))) => {
                    self.output.warn(text);
                    None
                }
                Turn::Step(Ok(Step::Quiet)) => {
                    if !self.covered {
                        self.tell_progress(watcher.progress());
                    }
                    None
                }
                Turn::Step(Err(error)) => Some(Ending::failed(error)),
                Turn::Settled => self.settle()?,
                Turn::TimeUp => Some(self.time_up("timeout")),
                Turn::Idle => Some(self.time_up("idle")),
                Turn::Signal(code) => Some(Ending::new(word(code), code)),
                Turn::Gone => return Ok(None),
            };
            if ending.is_some() {
                return Ok(ending);
            }
        }
    }

    /// A time that runs out is an end like any other, unless something was still to be achieved.
    const fn time_up(&self, reason: &'static str) -> Ending {
        let unachieved = self.args.count.is_some()
            || self.args.until.is_some()
            || matches!(self.args.snapshot, Snapshot::Only);
        let code = if unachieved { Code::TimedOut } else { Code::Ok };
        Ending::new(reason, code)
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

    /// Shows a record if it is of interest, and tells whether it ends the stream.
    fn show(&mut self, record: &Record<'_>) -> io::Result<Option<Ending>> {
        let (shown, fulfilled) = self.write(record)?;
        self.remark(record, shown);
        if fulfilled {
            return Ok(Some(Ending::new("until", Code::Ok)));
        }
        Ok(match &record.body {
            Body::Event { event, .. } if shown && !event.is(HEALTH_CHECK) => {
                self.events += 1;
                self.idle_at = self.args.idle.map(|idle| Instant::now() + idle);
                (self.args.count == Some(self.events)).then(|| Ending::new("count", Code::Ok))
            }
            Body::Gap(_) => {
                self.gaps += 1;
                self.args.fail_on_gap.then(|| Ending::new("gap", Code::Gap))
            }
            Body::Coverage(coverage) => {
                self.covered = true;
                if self.args.strict_coverage && !coverage.missing.is_empty() {
                    Some(Ending::new("coverage", Code::Coverage))
                } else if self.args.snapshot == Snapshot::Only {
                    Some(Ending::new("snapshot", Code::Ok))
                } else {
                    None
                }
            }
            Body::ConnectionChanged(changed) => {
                self.reconnects += u64::from(changed.online);
                None
            }
            Body::Event { .. } | Body::Snapshot(_) | Body::ConnectionRecovered | Body::End(_) => {
                None
            }
        })
    }

    /// Writes a record if it is of interest. Whether it was, and whether it fulfils `--until`.
    fn write(&mut self, record: &Record<'_>) -> io::Result<(bool, bool)> {
        if !self.filter.passes(record) {
            return Ok((false, false));
        }
        let condition = self.filter.condition_for(record);
        let until = self.args.until.as_deref();
        if condition.is_none() && until.is_none() {
            self.records.push(record)?;
            return Ok((true, false));
        }
        let prepared = self.records.prepare(record);
        let doubts = &mut self.doubts;
        if condition.is_some_and(|condition| !doubts.is_true(condition, prepared.json())) {
            return Ok((false, false));
        }
        let fulfilled = until.is_some_and(|until| doubts.is_true(until, prepared.json()));
        prepared.push()?;
        if let Some(error) = self.doubts.first() {
            self.output.warn(&format!(
                "an expression has no result for a record and counts as false there: {error}"
            ));
        }
        Ok((true, fulfilled))
    }

    /// Says on stderr what nobody should miss, unless the terminal shows it already.
    fn remark(&self, record: &Record<'_>, shown: bool) {
        let settings = self.output.settings();
        let seen = shown && settings.width.is_some() && !self.args.raw;
        if seen {
            return;
        }
        match &record.body {
            Body::Gap(gap) => self.output.warn(&gap_in_words(gap)),
            Body::Coverage(coverage) if !coverage.missing.is_empty() => {
                self.output.warn(&coverage_in_words(coverage));
            }
            Body::ConnectionChanged(changed) => self.remark_on_link(changed),
            Body::ConnectionRecovered => self.output.status("all subscriptions stand again."),
            Body::Coverage(_) | Body::Event { .. } | Body::Snapshot(_) | Body::End(_) => {}
        }
    }

    fn remark_on_link(&self, changed: &ConnectionChanged) {
        let ConnectionChanged {
            online,
            reason,
            attempt,
        } = changed;
        if *online {
            self.output.status("connected again.");
        } else if *attempt > 0 {
            self.output
                .warn(&format!("attempt {attempt} to connect failed: {reason}"));
        } else if self.args.no_reconnect {
            self.output.warn(&format!("connection lost: {reason}"));
        } else {
            self.output
                .warn(&format!("connection lost: {reason}; connecting again"));
        }
    }

    /// Says how far subscribing is, once a second and only to a person who waits.
    fn tell_progress(&mut self, (done, calls): (usize, usize)) {
        let now = Instant::now();
        if calls > 10
            && now > self.progress_at + Duration::from_secs(1)
            && io::stderr().is_terminal()
        {
            self.progress_at = now;
            self.output
                .status(&format!("subscribing: {done} of {calls} calls."));
        }
    }

    /// Writes the last line and waits for the reader to take it.
    async fn end(mut self, ending: &Ending, signals: &mut Signals) -> anyhow::Result<Code> {
        let record = Record {
            received_at: Utc::now(),
            source: Source::Local,
            body: Body::End(End {
                reason: ending.reason,
                events: self.events,
                gaps: self.gaps,
                reconnects: self.reconnects,
                exit_code: ending.code.number(),
            }),
        };
        self.records.push(&record)?;
        self.records.finish()?;
        if self.doubts.failed() > 1 {
            let failed = self.doubts.failed();
            self.output
                .warn(&format!("an expression had no result for {failed} records"));
        }
        let drained = self.gauge.drained();
        if matches!(ending.code, Code::Interrupted | Code::Terminated) {
            // Whoever asks for the end does not want to wait for a reader who has stopped.
            if let Ok(drained) = timeout(LAST_WORDS, drained).await {
                drained?;
            }
            return Ok(ending.code);
        }
        tokio::select! {
            drained = drained => drained?,
            code = signals.next() => return Ok(code),
        }
        Ok(ending.code)
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The reason that a signal is.
const fn word(code: Code) -> &'static str {
    match code {
        Code::Terminated => "terminated",
        _ => "interrupted",
    }
}

fn gap_in_words(gap: &Gap) -> String {
    let users = match gap.repaired.as_slice() {
        [] => "nobody had changed".to_owned(),
        ids => format!("{} had changed", in_words(ids)),
    };
    format!(
        "events may be lost between {} and {} ({}); {users}",
        gap.from, gap.to, gap.note
    )
}

fn coverage_in_words(coverage: &Coverage) -> String {
    format!(
        "{} of {} users are subscribed; not {}",
        coverage.subscribed,
        coverage.requested,
        in_words(&coverage.missing)
    )
}
