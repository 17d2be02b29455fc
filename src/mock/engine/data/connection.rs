//! A connection in the state: its user, its subscriptions, and when it was last active. Sockets and queues are handled
//! elsewhere.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::mock::engine::data::slots::{ChannelKey, UserKey};

/// The key of a connection; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionKey(pub(crate) u64);

/// The transport of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A WebSocket.
    Socket,
    /// A long poll.
    LongPoll,
    /// None: the connection is simulated, and never times out.
    Virtual,
}

impl Transport {
    /// The name of the transport in status output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::LongPoll => "long poll",
            Self::Virtual => "virtual",
        }
    }
}

/// Why a connection is subscribed to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubscriptionSource {
    /// A users query.
    Users,
    /// A call about this channel.
    Channel(ChannelKey),
}

impl SubscriptionSource {
    /// The largest value, for ranges.
    pub(crate) const MAX: Self = Self::Channel(ChannelKey::MAX);
}

/// A connection of the state.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The connection id that the client knows.
    pub(crate) id: Box<str>,
    /// The user of the connection.
    pub(crate) user: UserKey,
    /// Its transport.
    pub(crate) carrier: Transport,
    /// When it last sent anything.
    pub(crate) last_seen: DateTime<Utc>,
    /// When it is checked for silence next.
    pub(crate) silence_at: Option<DateTime<Utc>>,
    /// When its token expires.
    pub(crate) token_expires: Option<DateTime<Utc>>,
    /// When the next unsolicited health check is due.
    pub(crate) health_check_at: Option<DateTime<Utc>>,
    /// The users to whose presence it is subscribed.
    pub(crate) subscriptions: BTreeSet<(UserKey, SubscriptionSource)>,
    /// The channels that it watches.
    pub(crate) watching: BTreeSet<ChannelKey>,
}
