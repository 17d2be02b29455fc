//! A connection in the state: its user, its subscriptions, and when it was last active. Sockets and queues are handled
//! elsewhere.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::mock::engine::data::slots::{ChannelKey, UserKey};

/// A connection of the state; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionKey(pub(crate) u64);

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A WebSocket.
    Socket,
    /// A long poll.
    LongPoll,
    /// Nothing: the connection is pretended, and never silent.
    Virtual,
}

impl Transport {
    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::LongPoll => "long poll",
            Self::Virtual => "virtual",
        }
    }
}

/// Where a subscription to a user comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubscriptionSource {
    /// A users query.
    Users,
    /// A call about this channel.
    Channel(ChannelKey),
}

impl SubscriptionSource {
    /// The last of them in order.
    pub(crate) const MAX: Self = Self::Channel(ChannelKey::MAX);
}

/// One connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The id that the client knows it by.
    pub(crate) id: Box<str>,
    /// Whose it is.
    pub(crate) user: UserKey,
    /// What carries it.
    pub(crate) carrier: Transport,
    /// When it was last heard.
    pub(crate) last_seen: DateTime<Utc>,
    /// When it will be looked at for silence.
    pub(crate) silence_at: Option<DateTime<Utc>>,
    /// When its token expires.
    pub(crate) token_expires: Option<DateTime<Utc>>,
    /// When an unasked health check is due.
    pub(crate) health_check_at: Option<DateTime<Utc>>,
    /// Users it hears presence of.
    pub(crate) subscriptions: BTreeSet<(UserKey, SubscriptionSource)>,
    /// Channels it watches.
    pub(crate) watching: BTreeSet<ChannelKey>,
}
