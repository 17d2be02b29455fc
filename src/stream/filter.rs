//! Which records of a stream are of interest.
//!
//! Filters choose among the service's events and the snapshots; all that are given must hold. What the program says
//! itself is chosen by `-e` alone, and a gap by nothing: a reader who filters must not lose events silently.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::commands::watch::{Snapshot, StreamArgs};
use crate::domain::event::{self, HEALTH_CHECK};
use crate::domain::record::{Record, RecordBody};
use crate::domain::{PresenceField, UserId};
use crate::json::expression::{EvalError, Expr};

/// A pattern of record types, in which `*` stands for any text and `?` for any letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
    /// How much of the pattern stands before its one `*`, where that is at its end: the usual kind, looked at for each
    /// event.
    start: Option<usize>,
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ok = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
        if text.is_empty() || !text.chars().all(ok) {
            return Err(
                "write a type such as user.presence.changed, or a pattern such as user.*".into(),
            );
        }
        let start = text
            .find(['*', '?'])
            .filter(|&at| text.ends_with('*') && at + 1 == text.len());
        Ok(Self {
            pattern: text.to_owned(),
            start,
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl Glob {
    /// Whether a type fits the pattern.
    pub fn fits(&self, kind: &str) -> bool {
        match self.start {
            Some(start) => kind.starts_with(&self.pattern[..start]),
            None => fits(self.pattern.as_bytes(), kind.as_bytes()),
        }
    }

    /// Whether the pattern fits a type that this version knows. Others may exist: the service adds some, and
    /// applications send their own.
    pub fn fits_a_known_type(&self) -> bool {
        KNOWN.iter().any(|kind| self.fits(kind))
    }
}

/// Types that a stream may hold as far as we know.
const KNOWN: [&str; 27] = [
    "presence.snapshot",
    "presence.gap",
    "presence.coverage",
    "connection.changed",
    "connection.recovered",
    "stream.end",
    event::USER_PRESENCE_CHANGED,
    event::USER_UPDATED,
    event::USER_DELETED,
    event::USER_WATCHING_START,
    event::USER_WATCHING_STOP,
    event::MEMBER_ADDED,
    event::MEMBER_REMOVED,
    HEALTH_CHECK,
    "member.updated",
    "user.banned",
    "user.unbanned",
    "user.deactivated",
    "user.reactivated",
    "channel.created",
    "channel.updated",
    "channel.deleted",
    "message.new",
    "typing.start",
    "typing.stop",
    "notification.added_to_channel",
    "notification.removed_from_channel",
];

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        ([b'?', pattern @ ..], [_, text @ ..]) => fits(pattern, text),
        ([a, pattern @ ..], [b, text @ ..]) if a == b => fits(pattern, text),
        _ => false,
    }
}

/// The filters of a stream.
#[derive(Debug)]
pub(super) struct Filter {
    events: Vec<Glob>,
    only: Vec<UserId>,
    changed: Vec<PresenceField>,
    condition: Option<Arc<Expr>>,
    snapshots: bool,
}

impl Filter {
    pub(super) fn new(args: &StreamArgs) -> Self {
        Self {
            events: args.events.clone(),
            only: args.only.clone(),
            changed: args.changed.clone(),
            condition: args.condition.clone(),
            snapshots: args.snapshot != Snapshot::None,
        }
    }

    /// Whether a record passes, as far as can be told without rendering it.
    pub(super) fn passes(&self, record: &Record<'_>) -> bool {
        let body = &record.body;
        if let RecordBody::Gap(_) | RecordBody::End(_) = body {
            return true;
        }
        let kind = body.kind();
        let chosen = self.events.iter().any(|glob| glob.fits(kind));
        // Heartbeats are how the link works; they are shown only to those who ask for them.
        if !chosen && (!self.events.is_empty() || kind == HEALTH_CHECK) {
            return false;
        }
        match body {
            RecordBody::Event { change, .. } => {
                let moved = |change: &crate::domain::Change| {
                    self.changed
                        .iter()
                        .any(|field| change.changed.contains(*field))
                };
                self.concerns(body)
                    && (self.changed.is_empty() || change.as_ref().is_some_and(moved))
            }
            RecordBody::Snapshot(_) => self.snapshots && self.concerns(body),
            RecordBody::ConnectionChanged(_)
            | RecordBody::ConnectionRecovered
            | RecordBody::Coverage(_)
            | RecordBody::Gap(_)
            | RecordBody::End(_) => true,
        }
    }

    /// The condition that a record must still fulfil once it is rendered, if there is one for it.
    pub(super) fn condition_for(&self, record: &Record<'_>) -> Option<&Expr> {
        match record.body {
            RecordBody::Gap(_) | RecordBody::End(_) => None,
            RecordBody::Event { .. }
            | RecordBody::Snapshot(_)
            | RecordBody::ConnectionChanged(_)
            | RecordBody::ConnectionRecovered
            | RecordBody::Coverage(_) => self.condition.as_deref(),
        }
    }

    fn concerns(&self, body: &RecordBody<'_>) -> bool {
        self.only.is_empty()
            || body
                .user_id()
                .is_some_and(|id| self.only.iter().any(|only| only.as_str() == id))
    }
}

/// Conditions on records whose failures are told once and counted: one odd record must not end a stream.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    failed: u64,
    first: Option<EvalError>,
}

impl Doubts {
    /// Whether a condition is true for a rendered record; not where it has no result.
    pub(super) fn is_true(&mut self, condition: &Expr, json: &[u8]) -> bool {
        condition.is_true(json).unwrap_or_else(|error| {
            self.failed += 1;
            if self.failed == 1 {
                self.first = Some(error);
            }
            false
        })
    }

    /// The first failure, once.
    pub(super) fn first(&mut self) -> Option<EvalError> {
        self.first.take()
    }

    /// How often a condition had no result.
    pub(super) const fn failed(&self) -> u64 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use clap::Parser;

    use super::*;
    use crate::domain::record::{Coverage, Gap, RecordSource};
    use crate::domain::{Change, Event, User};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        stream: StreamArgs,
    }

    fn filter(line: &str) -> Filter {
        let words = std::iter::once("x").chain(line.split(' ').filter(|word| !word.is_empty()));
        Filter::new(&Line::try_parse_from(words).unwrap().stream)
    }

    fn record(body: RecordBody<'_>) -> Record<'_> {
        Record {
            received_at: DateTime::UNIX_EPOCH,
            source: RecordSource::Ws,
            body,
        }
    }

    fn event(raw: &str, changed: Vec<PresenceField>) -> Record<'_> {
        record(RecordBody::Event {
            event: Event::parse(raw).unwrap(),
            change: Some(Change {
                changed: changed.into_iter().collect(),
                ..Change::default()
            }),
        })
    }

    #[test]
    fn globs() {
        let fits = |pattern: &str, kind: &str| pattern.parse::<Glob>().unwrap().fits(kind);
        assert!(fits("user.*", "user.presence.changed"));
        assert!(fits("*", ""));
        assert!(!fits("user.*", "use"));
        assert!(!fits("us?r.*", "user"));
        assert!(fits("*.start", "user.watching.start"));
        assert!(fits("user.?pdated", "user.updated"));
        assert!(fits("*a*b*", "xaxxbx"));
        assert!(!fits("user", "user.updated"));
        assert!(!fits("user.?", "user."));
        assert!("user changed".parse::<Glob>().is_err());
        assert!(
            !"user.presense.*"
                .parse::<Glob>()
                .unwrap()
                .fits_a_known_type()
        );
        for kind in KNOWN {
            assert!(fits(kind, kind));
        }
    }

    #[test]
    fn all_filters_must_hold() {
        let john = r#"{"type":"user.updated","user":{"id":"john"}}"#;
        let passes = |line: &str| filter(line).passes(&event(john, vec![PresenceField::Status]));
        assert!(passes(""));
        assert!(passes("-e user.updated,member.*"));
        assert!(passes("-e x -e user.*"));
        assert!(!passes("-e user.presence.changed"));
        assert!(passes("--user jack,john --changed online,status"));
        assert!(!passes("--user jack"));
        assert!(!passes("--changed online"));
        assert!(!passes("-e user.updated --user jack"));
    }

    #[test]
    fn an_event_about_nobody_is_not_about_john() {
        let updated = event(r#"{"type":"channel.updated"}"#, Vec::new());
        assert!(filter("").passes(&updated));
        assert!(!filter("--user john").passes(&updated));
    }

    #[test]
    fn gaps_always_pass_and_heartbeats_only_when_asked_for() {
        let gap = record(RecordBody::Gap(Gap {
            from: String::new(),
            to: String::new(),
            repaired: Vec::new(),
            note: String::new(),
        }));
        assert!(filter("-e user.updated --user john --changed online").passes(&gap));
        let beat = event(r#"{"type":"health.check"}"#, Vec::new());
        assert!(!filter("").passes(&beat));
        assert!(filter("-e *").passes(&beat));
    }

    #[test]
    fn our_own_records_are_chosen_by_type_alone() {
        let coverage = record(RecordBody::Coverage(Coverage::default()));
        assert!(filter("--user john --changed online").passes(&coverage));
        assert!(!filter("-e user.*").passes(&coverage));
        assert!(filter("-e user.*,presence.*").passes(&coverage));
    }

    #[test]
    fn snapshots_are_filtered_by_user_and_can_be_left_out() {
        let john: User = serde_json::from_str(r#"{"id":"john"}"#).unwrap();
        let snapshot = record(RecordBody::Snapshot(&john));
        assert!(filter("--changed online").passes(&snapshot));
        assert!(!filter("--user jack").passes(&snapshot));
        assert!(!filter("--snapshot none").passes(&snapshot));
    }
}
