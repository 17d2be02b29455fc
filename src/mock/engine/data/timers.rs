//! Timers: deadlines in order. Setting and clearing one takes logarithmic time, and idle connections cost nothing until
//! their deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::slots::UserKey;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The connection has been silent for too long, unless it has been heard since.
    Silence(ConnectionKey),
    /// The connection's token expires.
    Token(ConnectionKey),
    /// An unasked health check is due.
    HealthCheck(ConnectionKey),
    /// The user has been connected for another period.
    Refresh(UserKey),
    /// The user's last connection has been gone long enough.
    Offline(UserKey),
}

/// The deadlines.
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

/// `time` and a while, stopping at the end of time.
pub(crate) fn after(time: DateTime<Utc>, while_: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(while_)
        .ok()
        .and_then(|delta| time.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
