//! The way of a record out: past the filters, to stdout, to a file, to hooks.
//!
//! All of them see the same records in the same order. When stdout falls behind, events are held back and folded before
//! they are numbered, so that what is told, wherever, has no hole that is not a gap.

use std::io;

use chrono::{DateTime, Utc};

use crate::app::App;
use crate::commands::watch::StreamArgs;
use crate::domain::record::{Gap, Record, RecordBody};
use crate::output::{Output, Records};
use crate::stream::debounce::Settled;
use crate::stream::filter::{Doubts, Filter};
use crate::stream::overflow::Behind;
use crate::stream::sinks::hooks::{Done, Hooks, Job};
use crate::stream::sinks::stdout_writer::{self as outlet, Gauge};
use crate::stream::sinks::tee::Tee;

/// How much waits for the reader when it is time to wait for him.
const MUCH: usize = 4 << 20;
/// How much may wait for the reader before events are held back.
const TOO_MUCH: usize = 8 << 20;
/// How little must wait before he is told what was held back.
const LITTLE: usize = 1 << 20;

/// What became of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Whether it was of interest and is on its way to the reader.
    pub(super) shown: bool,
    /// Whether it fulfils `--until`.
    pub(super) fulfilled: bool,
}

/// Everything that hears of records.
#[derive(Debug)]
pub(super) struct Teller<'a> {
    args: &'a StreamArgs,
    output: &'a Output,
    records: Records<'a>,
    gauge: Gauge,
    filter: Filter,
    doubts: Doubts,
    behind: Behind,
    tee: Option<Tee>,
    hooks: Option<Hooks>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(app: &'a App, args: &'a StreamArgs) -> anyhow::Result<Self> {
        let output = app.output();
        let records = output.records()?.raw(args.raw);
        for glob in args.events.iter().filter(|glob| !glob.fits_a_known_type()) {
            output.hint(&format!(
                "no type that this version knows fits `{glob}`; `presencectl help records` lists them"
            ));
        }
        let tee = args.tee.as_deref().map(Tee::open).transpose()?;
        let hooks = args
            .exec
            .as_deref()
            .map(|command| Hooks::new(command, usize::from(args.exec_jobs)));
        let (outlet, gauge) = outlet::open()?;
        Ok(Self {
            args,
            output,
            records: records.writing_to(outlet),
            gauge,
            filter: Filter::new(args),
            doubts: Doubts::default(),
            behind: Behind::default(),
            tee,
            hooks,
        })
    }

    pub(super) const fn output(&self) -> &'a Output {
        self.output
    }

    /// What tells of the reader.
    pub(super) fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Tells a record to everybody, if it is of interest.
    pub(super) fn tell(&mut self, record: &Record<'_>) -> io::Result<Told> {
        if !self.filter.passes(record) {
            return Ok(Told::default());
        }
        if (self.behind.is_behind() || self.gauge.waiting() > TOO_MUCH)
            && self.behind.absorb(record)
        {
            return Ok(Told::default());
        }
        let condition = self.filter.condition_for(record);
        let until = self.args.until.as_deref();
        if condition.is_none() && until.is_none() && self.tee.is_none() && self.hooks.is_none() {
            self.records.push(record)?;
            return Ok(Told {
                shown: true,
                fulfilled: false,
            });
        }
        let prepared = self.records.prepare(record);
        let json = prepared.json();
        let doubts = &mut self.doubts;
        if condition.is_some_and(|condition| !doubts.is_true(condition, json)) {
            // What is left out for this reason leaves no other trace.
            self.tell_doubt();
            return Ok(Told::default());
        }
        let fulfilled = until.is_some_and(|until| doubts.is_true(until, json));
        let event = match &record.body {
            RecordBody::Event { event, .. } => Some(event),
            _ => None,
        };
        if let Some(tee) = &mut self.tee {
            match (self.args.raw, event) {
                (false, _) => tee.push(json),
                (true, Some(event)) => tee.push(event.raw.as_bytes()),
                (true, None) => {}
            }
        }
        if let (Some(hooks), Some(event)) = (&mut self.hooks, event) {
            hooks.push(Job::new(event, json));
        }
        prepared.push()?;
        self.tell_doubt();
        Ok(Told {
            shown: true,
            fulfilled,
        })
    }

    /// Says once that an expression has no result.
    fn tell_doubt(&mut self) {
        if let Some(error) = self.doubts.first() {
            self.output.warn(&format!(
                "an expression has no result for a record and counts as false there: {error}"
            ));
        }
    }

    /// Hands out what has gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.records.flush()
    }

    /// Appends what has gathered to the file.
    ///
    /// # Errors
    ///
    /// The file takes nothing more; it is left alone from then on.
    pub(super) fn copy(&mut self) -> io::Result<()> {
        let copied = self.tee.as_mut().map_or(Ok(()), Tee::flush);
        if copied.is_err() {
            self.tee = None;
        }
        copied
    }

    /// Whether events are held back.
    pub(super) const fn is_behind(&self) -> bool {
        self.behind.is_behind()
    }

    /// Whether so much waits for the reader that events should wait, too, where they are.
    pub(super) fn is_crowded(&self) -> bool {
        !self.behind.is_behind() && self.gauge.waiting() > MUCH
    }

    /// Whether the reader has everything that was told.
    pub(super) fn is_taken(&self) -> bool {
        !self.behind.is_behind() && self.gauge.waiting() == 0
    }

    /// What to tell a reader who takes lines again.
    pub(super) fn catch_up(&mut self, now: DateTime<Utc>) -> Option<(Gap, Vec<Settled>)> {
        if self.gauge.waiting() > LITTLE {
            return None;
        }
        self.behind.catch_up(now)
    }

    /// What is held back, whether or not the reader is ready for it: there is no later.
    pub(super) fn catch_up_at_the_end(
        &mut self,
        now: DateTime<Utc>,
    ) -> Option<(Gap, Vec<Settled>)> {
        self.behind.catch_up(now)
    }

    /// Whether a hook runs or waits.
    pub(super) fn hooks_are_busy(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| !hooks.is_idle())
    }

    /// The next hook that ends, and whether that is to end the stream.
    pub(super) async fn hook(&mut self) -> Done {
        match &mut self.hooks {
            Some(hooks) => hooks.next().await,
            None => std::future::pending().await,
        }
    }

    /// Says how a hook ended. Whether that is to end the stream.
    pub(super) fn remark_on_hook(&self, done: &Done) -> bool {
        match done.failure() {
            Some(failure) => {
                self.output.warn(&failure);
                self.args.exec_fail
            }
            None => false,
        }
    }

    /// Leaves out the hooks that have not begun.
    pub(super) fn forget_hooks(&mut self) {
        if let Some(hooks) = &mut self.hooks {
            hooks.forget();
        }
    }

    /// Ends the records.
    pub(super) fn finish(self) -> io::Result<()> {
        if let Some(folded) = self.hooks.as_ref().map(Hooks::folded).filter(|n| *n > 0) {
            self.output.warn(&format!(
                "the hooks were too slow for {folded} events, which were folded into later ones of the same users"
            ));
        }
        if self.doubts.failed() > 1 {
            let failed = self.doubts.failed();
            self.output
                .warn(&format!("an expression had no result for {failed} records"));
        }
        self.records.finish()
    }
}
