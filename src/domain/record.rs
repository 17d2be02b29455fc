//! The records of a stream, independent of how they are written.
//!
//! Events of the service keep their own form; records of this program have types of their own. `output` writes a record
//! as NDJSON, a table row or a line for people. Scripts rely on the names and fields, so they change by addition only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::presence::Change;
use super::user::User;
use crate::exit::Code;

/// The source of a record's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordSource {
    /// The WebSocket.
    Ws,
    /// An answer to a query.
    Query,
    /// The comparison of a new answer with the last known state, after a gap.
    Resync,
    /// This program.
    Local,
}

/// One record, not yet numbered.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When this program received or created it.
    pub received_at: DateTime<Utc>,
    /// The source of its content.
    pub source: RecordSource,
    /// The content.
    pub body: RecordBody<'a>,
}

impl Record<'_> {
    /// The change of an event.
    pub(crate) fn into_change(self) -> Option<Change> {
        match self.body {
            RecordBody::Event { change, .. } => change,
            RecordBody::Snapshot(_)
            | RecordBody::ConnectionChanged(_)
            | RecordBody::ConnectionRecovered
            | RecordBody::Gap(_)
            | RecordBody::Coverage(_)
            | RecordBody::End(_) => None,
        }
    }
}

/// The content of a record.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the one that comes a million times; a box would be an allocation for each"
)]
pub enum RecordBody<'a> {
    /// An event of the service, or one in the same form that a resync made.
    Event {
        /// The event.
        event: Event<'a>,
        /// The change of the user's state, if the earlier state is known.
        change: Option<Change>,
    },
    /// `presence.snapshot`: the state of one subscribed user.
    Snapshot(&'a User),
    /// `connection.changed`: the connection was lost or established.
    ConnectionChanged(ConnectionChanged),
    /// `connection.recovered`: all subscriptions are restored.
    ConnectionRecovered,
    /// `presence.gap`: an interval in which events may have been lost.
    Gap(Gap),
    /// `presence.coverage`: how many of the requested users are subscribed.
    Coverage(Coverage),
    /// `stream.end`: the last record.
    End(StreamEnd),
}

/// Fields of `connection.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionChanged {
    /// Whether the connection is established now.
    pub online: bool,
    /// Why it changed, in a few words.
    pub reason: String,
    /// The number of attempts since the last stable connection; 0 for the first loss.
    pub attempt: u32,
}

/// Fields of `presence.gap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The stream is complete up to this time (RFC 3339).
    pub from: String,
    /// The stream is complete again from this time on (RFC 3339).
    pub to: String,
    /// The ids of the users whose state changed, presence or other fields. An event of source `resync` follows for each.
    pub repaired: Vec<String>,
    /// Why, in a few words.
    pub note: String,
}

/// Fields of `presence.coverage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// How many users are requested.
    pub requested: usize,
    /// How many of them are subscribed.
    pub subscribed: usize,
    /// The ids of the others.
    pub missing: Vec<String>,
    /// Why each of them is missing, by id. Older recordings do not have it.
    #[serde(default)]
    pub missing_reasons: BTreeMap<String, MissingReason>,
}

/// Why a requested user is not subscribed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The user does not exist or, with `--team`, is not in that team.
    #[default]
    NotFound,
    /// The user is deactivated.
    Deactivated,
    /// The service has the user, and does not subscribe to them.
    Refused,
}

impl MissingReason {
    /// All reasons, for the schema.
    pub const ALL: [Self; 3] = [Self::NotFound, Self::Deactivated, Self::Refused];
}

/// Fields of `stream.end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// Why the stream ends.
    pub reason: EndReason,
    /// How many events were written, snapshots and our own records excluded.
    pub events: u64,
    /// How many gaps there were.
    pub gaps: u64,
    /// How often the connection was made again.
    pub reconnects: u64,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// Why a stream ends: `reason` of `stream.end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// `-n` was reached.
    Count,
    /// A record satisfied `--until`.
    Until,
    /// `--snapshot only`: the state at the start is complete.
    Snapshot,
    /// `--timeout`, or `hold --for`, ran out.
    Timeout,
    /// `--idle` passed without an event.
    Idle,
    /// A gap happened and `--fail-on-gap` was given.
    Gap,
    /// Coverage is incomplete and `--strict-coverage` was given.
    Coverage,
    /// A hook failed and `--exec-fail` was given.
    Hook,
    /// The file of `--tee` cannot be written.
    Tee,
    /// The connection was lost for good, or the service refused to go on.
    Lost,
    /// `hold`: a user cannot be connected.
    Refused,
    /// SIGHUP.
    HungUp,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The reader closed stdout. Only the file of `--tee` still gets this record.
    ReaderLeft,
    /// Writing to stdout failed. Only the file of `--tee` still gets this record.
    WriteFailed,
}

impl EndReason {
    /// All reasons, for the schema.
    pub const ALL: [Self; 16] = [
        Self::Count,
        Self::Until,
        Self::Snapshot,
        Self::Timeout,
        Self::Idle,
        Self::Gap,
        Self::Coverage,
        Self::Hook,
        Self::Tee,
        Self::Lost,
        Self::Refused,
        Self::HungUp,
        Self::Interrupted,
        Self::Terminated,
        Self::ReaderLeft,
        Self::WriteFailed,
    ];

    /// The reason of a stream that a signal ends with this code.
    pub const fn of_signal(code: Code) -> Self {
        match code {
            Code::HungUp => Self::HungUp,
            Code::Terminated => Self::Terminated,
            _ => Self::Interrupted,
        }
    }

    /// The reason as it is written in the record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Until => "until",
            Self::Snapshot => "snapshot",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Gap => "gap",
            Self::Coverage => "coverage",
            Self::Hook => "hook",
            Self::Tee => "tee",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::HungUp => "hung_up",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::ReaderLeft => "reader_left",
            Self::WriteFailed => "write_failed",
        }
    }
}

impl RecordBody<'_> {
    /// The value of `type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Event { event, .. } => &event.kind,
            Self::Snapshot(_) => "presence.snapshot",
            Self::ConnectionChanged(_) => "connection.changed",
            Self::ConnectionRecovered => "connection.recovered",
            Self::Gap(_) => "presence.gap",
            Self::Coverage(_) => "presence.coverage",
            Self::End(_) => "stream.end",
        }
    }

    /// The id of the user that the record is about.
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Self::Event { event, .. } => event.user.as_ref().map(|user| &*user.id),
            Self::Snapshot(user) => Some(user.id()),
            Self::ConnectionChanged(_)
            | Self::ConnectionRecovered
            | Self::Gap(_)
            | Self::Coverage(_)
            | Self::End(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EndReason;

    #[test]
    fn an_end_reason_is_serialised_as_its_name() {
        for reason in EndReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }
}
