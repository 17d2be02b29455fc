//! The event history of channels, for clients that reconnect and request what they missed.
//!
//! Like the service, it does not replay events about presence, watchers and members. Events are stored as they were
//! sent.

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::slots::UserKey;

/// How many events are kept, over all channels together.
const MAX_EVENTS_KEPT: usize = 20_000;

/// The events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct EventHistory(VecDeque<PastEvent>);

/// One event of a channel.
#[derive(Debug)]
pub(crate) struct PastEvent {
    /// When it was sent.
    pub(crate) at: DateTime<Utc>,
    /// The channel.
    pub(crate) cid: Box<str>,
    /// The only user who may see it. If `None`, all users who may read the channel.
    pub(crate) only: Option<UserKey>,
    /// The event, as JSON.
    pub(crate) event: Bytes,
}

impl EventHistory {
    /// Adds an event and forgets the oldest one beyond the limit.
    pub(crate) fn push(&mut self, event: PastEvent) {
        self.0.push_back(event);
        if self.0.len() > MAX_EVENTS_KEPT {
            self.0.pop_front();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PastEvent> {
        self.0.iter()
    }
}
