//! What a stream says on stderr beside its records: losses that nobody should miss, and progress for a person who waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::commands::ids::summarize_ids;
use crate::domain::record::{ConnectionChanged, Coverage, Gap, Record, RecordBody};
use crate::output::Output;

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);
/// The number of calls from which on subscribing takes long enough to be told of.
const MANY: usize = 10;

/// How the link was before a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkWas {
    pub(crate) up: bool,
    /// Whether it is made anew when it is lost.
    pub(crate) reconnects: bool,
}

/// Says a record on stderr if it is one that nobody should miss.
pub(crate) fn remark(output: &Output, record: &Record<'_>, was: LinkWas) {
    match &record.body {
        RecordBody::Gap(gap) => output.warn(&gap_in_words(gap)),
        RecordBody::Coverage(coverage) if !coverage.missing.is_empty() => {
            output.warn(&coverage_in_words(coverage));
        }
        RecordBody::ConnectionChanged(changed) => link(output, changed, was),
        RecordBody::ConnectionRecovered => output.status("all subscriptions stand again."),
        RecordBody::Coverage(_)
        | RecordBody::Event { .. }
        | RecordBody::Snapshot(_)
        | RecordBody::End(_) => {}
    }
}

fn link(output: &Output, changed: &ConnectionChanged, was: LinkWas) {
    let ConnectionChanged {
        online,
        reason,
        attempt,
    } = changed;
    if *online {
        output.status("connected again.");
    } else if !was.up {
        output.warn(&format!("attempt {attempt} to connect failed: {reason}"));
    } else if was.reconnects {
        output.warn(&format!("connection lost: {reason}; connecting again"));
    } else {
        output.warn(&format!("connection lost: {reason}"));
    }
}

fn gap_in_words(gap: &Gap) -> String {
    let users = match gap.repaired.as_slice() {
        [] => "nobody had changed".to_owned(),
        ids => format!("{} had changed", summarize_ids(ids)),
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
        summarize_ids(&coverage.missing)
    )
}

/// How far subscribing is, told once in a while.
#[derive(Debug)]
pub(super) struct Progress {
    next: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now() + EVERY,
        }
    }

    pub(super) fn tell(&mut self, output: &Output, (done, calls): (usize, usize)) {
        if !output.settings().terminal.stderr || calls <= MANY {
            return;
        }
        let now = Instant::now();
        if now >= self.next {
            self.next = now + EVERY;
            output.status(&format!("subscribing: {done} of {calls} calls."));
        }
    }
}
