//! Timers: deadlines in order. Setting and clearing one takes logarithmic time, and idle connections cost nothing until
//! their deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};

/// What happens at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The connection times out, unless it has sent something since.
    Silence(ConnectionKey),
    /// The connection's token expires.
    Token(ConnectionKey),
    /// An unsolicited health check is due.
    HealthCheck(ConnectionKey),
    /// The user has been connected for another period, so `last_active` is updated.
    Refresh(UserKey),
    /// The grace period after the user's last connection is over.
    Offline(UserKey),
    /// Something with an expiry ends.
    Expiry(ExpiringEntry),
}

/// What ends by itself at the time that a request has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ExpiringEntry {
    /// The first user's mute of the second.
    UserMute(UserKey, UserKey),
    /// A user's mute of a channel.
    ChannelMute(ChannelKey, UserKey),
    /// A user's ban of a channel, or (`None`) of the application.
    Ban(UserKey, Option<ChannelKey>),
    /// The pin of the message at this place of the channel.
    Pin(ChannelKey, u64),
}

/// All deadlines, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers(BTreeSet<(DateTime<Utc>, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: DateTime<Utc>, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, at: DateTime<Utc>, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<DateTime<Utc>> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, Timer)> {
        let (at, _) = self.0.first()?;
        if *at > now {
            return None;
        }
        self.0.pop_first()
    }
}

/// Adds a duration to a time; at most the largest possible time.
pub(crate) fn after(time: DateTime<Utc>, while_: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(while_)
        .ok()
        .and_then(|delta| time.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
