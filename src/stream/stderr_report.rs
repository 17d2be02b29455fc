//! What a stream says on stderr beside its records: losses that nobody should miss, and progress for a person who waits.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::id::summarize_ids;
use crate::domain::record::{ConnectionChanged, Coverage, Gap, MissingReason, Record, RecordBody};
use crate::escape;
use crate::output::Output;

/// The time between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Subscribing with fewer calls than this is fast, and needs no progress messages.
const PROGRESS_CALLS_MIN: usize = 10;

/// Reports records on stderr that nobody should miss.
#[derive(Debug)]
pub(crate) struct StderrReport<'a> {
    output: &'a Output,
    /// Whether a lost connection is made again.
    pub(crate) reconnects: bool,
    is_connected: bool,
    /// Whether users who are not subscribed are reported.
    pub(crate) reports_missing: bool,
    /// The team whose users are watched.
    team: Option<String>,
}

impl<'a> StderrReport<'a> {
    /// The report of a stream that is connected. `reconnects`: whether a lost connection is made again.
    pub(crate) const fn new(output: &'a Output, reconnects: bool) -> Self {
        Self {
            output,
            reconnects,
            is_connected: true,
            reports_missing: true,
            team: None,
        }
    }

    /// The same report for a stream about the users of a team. The service finds only users who are in the team.
    pub(crate) fn with_team(self, team: Option<String>) -> Self {
        Self { team, ..self }
    }

    /// Reports a record. `is_visible`: whether the same person sees the record itself anyway.
    pub(crate) fn report(&mut self, record: &Record<'_>, is_visible: bool) {
        if !is_visible {
            self.write(record);
        }
        if let RecordBody::ConnectionChanged(changed) = &record.body {
            self.is_connected = changed.online;
        }
    }

    fn write(&self, record: &Record<'_>) {
        match &record.body {
            RecordBody::Gap(gap) => self.output.warn(&gap_text(gap)),
            RecordBody::Coverage(coverage)
                if self.reports_missing && !coverage.missing.is_empty() =>
            {
                self.output
                    .warn(&coverage_text(coverage, self.team.as_deref()));
            }
            RecordBody::ConnectionChanged(changed) => self.write_connection(changed),
            RecordBody::ConnectionRecovered => self.output.status("all subscriptions restored."),
            RecordBody::Coverage(_)
            | RecordBody::Event { .. }
            | RecordBody::Snapshot(_)
            | RecordBody::End(_) => {}
        }
    }

    fn write_connection(&self, changed: &ConnectionChanged) {
        let ConnectionChanged {
            online,
            reason,
            attempt,
        } = changed;
        if *online {
            self.output.status("connected again.");
        } else if !self.is_connected {
            self.output
                .warn(&format!("attempt {attempt} to connect failed: {reason}"));
        } else if self.reconnects {
            self.output
                .warn(&format!("connection lost: {reason}; reconnecting"));
        } else {
            self.output.warn(&format!("connection lost: {reason}"));
        }
    }
}

fn gap_text(gap: &Gap) -> String {
    let users = match gap.repaired.as_slice() {
        [] => "no user has changed".to_owned(),
        ids => format!("changed since: {}", summarize_ids(ids)),
    };
    format!(
        "events may be missing between {} and {} ({}); {users}",
        gap.from, gap.to, gap.note
    )
}

fn coverage_text(coverage: &Coverage, team: Option<&str>) -> String {
    let Coverage {
        requested,
        subscribed,
        missing,
        missing_reasons,
    } = coverage;
    let mut text = format!(
        "{subscribed} of {requested} users are subscribed; missing: {}",
        summarize_ids(missing)
    );
    for (reason, label) in [
        (MissingReason::Deactivated, "deactivated"),
        (MissingReason::Refused, "refused"),
    ] {
        let has_reason = |id: &&String| missing_reasons.get(*id) == Some(&reason);
        let ids: Vec<&String> = missing.iter().filter(has_reason).collect();
        if !ids.is_empty() {
            write!(text, "; {label}: {}", summarize_ids(&ids)).expect("a string takes any text");
        }
    }
    let is_not_found = |id: &String| {
        let reason = missing_reasons.get(id).copied().unwrap_or_default();
        reason == MissingReason::NotFound
    };
    if let Some(team) = team
        && missing.iter().any(is_not_found)
    {
        let team = escape::quote(team);
        write!(
            text,
            "; users who are not found do not exist, or are not in team {team}"
        )
        .expect("a string takes any text");
    }
    text
}

/// Reports how many of the subscribing calls are done, from time to time.
#[derive(Debug)]
pub(super) struct SubscribeProgress {
    next_report: Instant,
}

impl SubscribeProgress {
    pub(super) fn new() -> Self {
        Self {
            next_report: Instant::now() + PROGRESS_INTERVAL,
        }
    }

    pub(super) fn report(&mut self, output: &Output, (done, calls): (usize, usize)) {
        if !output.settings().terminal.stderr || calls <= PROGRESS_CALLS_MIN {
            return;
        }
        let now = Instant::now();
        if now >= self.next_report {
            self.next_report = now + PROGRESS_INTERVAL;
            output.status(&format!("subscribing: {done} of {calls} calls."));
        }
    }
}
