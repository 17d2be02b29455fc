//! Filters: which records reach stdout and the hooks. All filters that are given must match.
//!
//! `-e` applies to every record type. `--user` and `--changed` apply to events and snapshots, so that a reader who
//! filters by user still learns about gaps. `--where` needs the record as JSON, so it comes last: see
//! [`Filter::condition_for`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::domain::event::{self, HEALTH_CHECK};
use crate::domain::glob::Glob;
use crate::domain::record::{Record, RecordBody};
use crate::domain::{Change, PresenceField, UserId};
use crate::json::expression::{EvalError, Expr};

/// A glob over record types (`-e`).
#[derive(Debug, Clone, PartialEq)]
pub struct TypeGlob(Glob);

impl FromStr for TypeGlob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
        if text.is_empty() || !text.chars().all(is_allowed) {
            return Err(
                "expected a type such as user.presence.changed, or a pattern such as user.*".into(),
            );
        }
        Ok(Self(Glob::new(text)))
    }
}

impl fmt::Display for TypeGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TypeGlob {
    /// Whether a type matches the pattern.
    pub fn matches(&self, kind: &str) -> bool {
        self.0.matches(kind)
    }

    /// Whether a type that this version knows matches the pattern. Others may exist: the service adds types, and
    /// applications send their own.
    pub fn matches_a_known_type(&self) -> bool {
        KNOWN_TYPES.iter().any(|kind| self.matches(kind))
    }
}

/// The record types that this version knows.
const KNOWN_TYPES: &[&str] = &[
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
    event::CONNECTION_ERROR,
    "member.updated",
    "user.banned",
    "user.unbanned",
    "user.deactivated",
    "user.reactivated",
    "channel.created",
    "channel.updated",
    event::CHANNEL_DELETED,
    "message.new",
    "typing.start",
    "typing.stop",
    event::NOTIFICATION_CHANNEL_DELETED,
    "notification.added_to_channel",
    "notification.removed_from_channel",
];

/// The filters of a stream.
#[derive(Debug, Clone)]
pub struct Filter {
    /// `-e`: record types. Empty for all types but heartbeats.
    pub types: Vec<TypeGlob>,
    /// `--user`: whom events and snapshots must be about. Empty for everybody.
    pub users: Vec<UserId>,
    /// `--changed`: fields of which one must have changed. Empty for any event.
    pub changed: Vec<PresenceField>,
    /// `--where`: what must be true of the rendered record.
    pub condition: Option<Arc<Expr>>,
    /// Whether snapshots pass.
    pub snapshots: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            types: Vec::new(),
            users: Vec::new(),
            changed: Vec::new(),
            condition: None,
            snapshots: true,
        }
    }
}

impl Filter {
    /// Whether a record passes all filters but `--where`.
    pub(super) fn passes(&self, record: &Record<'_>) -> bool {
        self.passes_type(record.body.kind()) && self.passes_body(&record.body)
    }

    fn passes_type(&self, kind: &str) -> bool {
        if self.types.is_empty() {
            // Heartbeats show how the connection works. Only those who ask for them see them.
            return kind != HEALTH_CHECK;
        }
        self.types.iter().any(|glob| glob.matches(kind))
    }

    fn passes_body(&self, body: &RecordBody<'_>) -> bool {
        match body {
            RecordBody::Event { change, .. } => {
                self.passes_user(body) && self.passes_change(change.as_ref())
            }
            RecordBody::Snapshot(_) => self.snapshots && self.passes_user(body),
            RecordBody::ConnectionChanged(_)
            | RecordBody::ConnectionRecovered
            | RecordBody::Coverage(_)
            | RecordBody::Gap(_)
            | RecordBody::End(_) => true,
        }
    }

    fn passes_user(&self, body: &RecordBody<'_>) -> bool {
        self.users.is_empty()
            || body
                .user_id()
                .is_some_and(|id| self.users.iter().any(|user| user.as_str() == id))
    }

    fn passes_change(&self, change: Option<&Change>) -> bool {
        self.changed.is_empty()
            || change.is_some_and(|change| {
                let mut fields = self.changed.iter();
                fields.any(|field| change.changed.contains(*field))
            })
    }

    /// The condition (`--where`) that this record must still satisfy once it is rendered. Gaps and the last record are
    /// exempt, so that a reader who filters still learns about losses.
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
}

/// The evaluation errors of expressions: the first is kept for a warning, all are counted. One odd record must not end
/// a stream.
#[derive(Debug, Default)]
pub(super) struct EvalErrors {
    count: u64,
    first: Option<EvalError>,
}

impl EvalErrors {
    /// Whether an expression is true of a rendered record. An error counts as false.
    pub(super) fn is_true(&mut self, condition: &Expr, json: &[u8]) -> bool {
        condition.is_true(json).unwrap_or_else(|error| {
            self.count += 1;
            if self.count == 1 {
                self.first = Some(error);
            }
            false
        })
    }

    /// The first error, the first time this is called after it.
    pub(super) fn take_first(&mut self) -> Option<EvalError> {
        self.first.take()
    }

    /// How many evaluations failed.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::record::{Coverage, Gap, RecordSource};
    use crate::domain::{Event, User};

    fn types(globs: &str) -> Filter {
        Filter {
            types: globs.split(',').map(|glob| glob.parse().unwrap()).collect(),
            ..Filter::default()
        }
    }

    fn user(id: &str) -> Filter {
        Filter {
            users: vec![id.parse().unwrap()],
            ..Filter::default()
        }
    }

    fn changed(field: PresenceField) -> Filter {
        Filter {
            changed: vec![field],
            ..Filter::default()
        }
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
    fn a_type_glob_is_made_of_the_letters_of_types() {
        let parse = str::parse::<TypeGlob>;
        assert!(parse("user changed").is_err());
        assert!(parse("").is_err());
        assert!(!parse("user.presense.*").unwrap().matches_a_known_type());
        for kind in KNOWN_TYPES {
            assert!(parse(kind).unwrap().matches(kind));
        }
    }

    #[test]
    fn every_type_with_a_constant_is_known() {
        let source = include_str!("../domain/event.rs");
        let mut constants = 0;
        for line in source.lines() {
            if let Some((_, value)) = line.split_once(": &str = ")
                && line.starts_with("pub const ")
            {
                let kind = value.trim_end_matches(';').trim_matches('"');
                assert!(KNOWN_TYPES.contains(&kind), "{kind}");
                constants += 1;
            }
        }
        assert_eq!(constants, 11);
    }

    #[test]
    fn all_filters_must_match() {
        let john = r#"{"type":"user.updated","user":{"id":"john"}}"#;
        let passes = |filter: Filter| filter.passes(&event(john, vec![PresenceField::Status]));
        assert!(passes(Filter::default()));
        assert!(passes(types("user.updated,member.*")));
        assert!(passes(types("x,user.*")));
        assert!(!passes(types("user.presence.changed")));
        assert!(passes(user("john")));
        assert!(!passes(user("jack")));
        assert!(passes(changed(PresenceField::Status)));
        assert!(!passes(changed(PresenceField::Online)));
        assert!(!passes(Filter {
            types: types("user.updated").types,
            ..user("jack")
        }));
    }

    #[test]
    fn an_event_about_nobody_is_not_about_john() {
        let updated = event(r#"{"type":"channel.updated"}"#, Vec::new());
        assert!(Filter::default().passes(&updated));
        assert!(!user("john").passes(&updated));
    }

    #[test]
    fn only_a_type_filter_stops_a_gap() {
        let gap = record(RecordBody::Gap(Gap {
            from: String::new(),
            to: String::new(),
            repaired: Vec::new(),
            note: String::new(),
        }));
        assert!(user("john").passes(&gap));
        assert!(changed(PresenceField::Online).passes(&gap));
        assert!(!types("user.updated").passes(&gap));
        assert!(types("*.gap").passes(&gap));
    }

    #[test]
    fn heartbeats_pass_only_when_asked_for() {
        let heartbeat = event(r#"{"type":"health.check"}"#, Vec::new());
        assert!(!Filter::default().passes(&heartbeat));
        assert!(types("*").passes(&heartbeat));
    }

    #[test]
    fn our_own_records_are_filtered_by_type_alone() {
        let coverage = record(RecordBody::Coverage(Coverage::default()));
        assert!(user("john").passes(&coverage));
        assert!(!types("user.*").passes(&coverage));
        assert!(types("user.*,presence.*").passes(&coverage));
    }

    #[test]
    fn snapshots_are_filtered_by_user_and_can_be_left_out() {
        let john: User = serde_json::from_str(r#"{"id":"john"}"#).unwrap();
        let snapshot = record(RecordBody::Snapshot(&john));
        assert!(changed(PresenceField::Online).passes(&snapshot));
        assert!(!user("jack").passes(&snapshot));
        let without = Filter {
            snapshots: false,
            ..Filter::default()
        };
        assert!(!without.passes(&snapshot));
    }
}
