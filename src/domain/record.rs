//! The lines of a stream: what a watcher learns, before anybody decides how it looks.
//!
//! Events of the service keep their own shape; what this program says itself has its own types. How a record is
//! written (NDJSON, a table row, a human line) is the output's business; the names and fields here are the contract
//! that scripts rely on, and change by addition only.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::event::Event;
use super::presence::Change;
use super::user::User;
use crate::exit::Code;

/// Where the content of a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordSource {
    /// The WebSocket.
    Ws,
    /// An answer to a query.
    Query,
    /// The comparison of a fresh query with the last known state, after a gap.
    Resync,
    /// This program.
    Local,
}

/// One record, not yet numbered.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When this program received or made it.
    pub received_at: DateTime<Utc>,
    /// Where it comes from.
    pub source: RecordSource,
    /// What it says.
    pub body: RecordBody<'a>,
}

/// What a record says.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the one that comes a million times; a box would be an allocation for each"
)]
pub enum RecordBody<'a> {
    /// An event of the service, or one in its shape that a resync made.
    Event {
        /// The event.
        event: Event<'a>,
        /// How the user's presence moved, for events about a user whose earlier state is known.
        change: Option<Change>,
    },
    /// `presence.snapshot`: the state of one subscribed user.
    Snapshot(&'a User),
    /// `connection.changed`: the link went down or came up.
    ConnectionChanged(ConnectionChanged),
    /// `connection.recovered`: all subscriptions restored.
    ConnectionRecovered,
    /// `presence.gap`: an interval in which events may have been lost.
    Gap(Gap),
    /// `presence.coverage`: how many of the requested users are subscribed.
    Coverage(Coverage),
    /// `stream.end`: the last line.
    End(StreamEnd),
}

/// Fields of `connection.changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionChanged {
    /// Whether the link is up now.
    pub online: bool,
    /// Why it changed, in a few words.
    pub reason: String,
    /// Which attempt since the link was last healthy; 0 for the first loss itself.
    pub attempt: u32,
}

/// Fields of `presence.gap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The last moment up to which the stream is known to be complete (RFC 3339).
    pub from: String,
    /// The moment from which it is complete again (RFC 3339).
    pub to: String,
    /// Ids of the users who differed afterwards, in their presence or anything else; each follows as an event of source `resync`.
    pub repaired: Vec<String>,
    /// Why, in a few words.
    pub note: String,
}

/// Fields of `presence.coverage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many users were asked for.
    pub requested: usize,
    /// How many of them are subscribed.
    pub subscribed: usize,
    /// Ids of the others.
    pub missing: Vec<String>,
}

/// Fields of `stream.end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamEnd {
    /// Why the stream ends.
    pub reason: EndReason,
    /// How many events were written, snapshots and our own records excluded.
    pub events: u64,
    /// How many gaps there were.
    pub gaps: u64,
    /// How often the link was made anew.
    pub reconnects: u64,
    /// The exit code that follows.
    pub exit_code: u8,
}

/// Why a stream ends: `reason` of `stream.end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

    /// The id of the user concerned.
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
