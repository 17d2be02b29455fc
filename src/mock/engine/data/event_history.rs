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
/// How many bytes the kept events take, over all channels together.
const MAX_BYTES_KEPT: usize = 8 * 1024 * 1024;

/// The events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct EventHistory {
    events: VecDeque<PastEvent>,
    bytes: usize,
}

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

impl PastEvent {
    fn size(&self) -> usize {
        size_of::<Self>() + self.cid.len() + self.event.len()
    }
}

impl EventHistory {
    /// Adds an event and forgets the oldest ones beyond the limits.
    pub(crate) fn push(&mut self, event: PastEvent) {
        self.bytes += event.size();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS_KEPT || self.bytes > MAX_BYTES_KEPT {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.size();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PastEvent> {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_bounded_by_bytes() {
        let mut history = EventHistory::default();
        for size in [
            1,
            MAX_BYTES_KEPT / 4,
            MAX_BYTES_KEPT / 4,
            MAX_BYTES_KEPT / 4,
        ] {
            history.push(PastEvent {
                at: DateTime::UNIX_EPOCH,
                cid: "messaging:a".into(),
                only: None,
                event: vec![b' '; size].into(),
            });
        }
        assert_eq!(history.iter().count(), 4);
        history.push(PastEvent {
            at: DateTime::UNIX_EPOCH,
            cid: "messaging:a".into(),
            only: None,
            event: vec![b' '; MAX_BYTES_KEPT / 4].into(),
        });
        assert_eq!(history.iter().count(), 3);
        assert!(history.bytes <= MAX_BYTES_KEPT);
    }
}
