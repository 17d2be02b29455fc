//! What happened to channels lately, for clients that come back and ask what they have missed. Presence, watching and
//! members are not replayed, as the service does not; what was sent is kept as it was written.

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ServiceState;
use super::channel_events::ChannelEventDraft;
use super::permissions::Actor;
use super::requests::{Reply, SyncRequest};
use super::slots::{ChannelKey, UserKey};
use super::user::Viewer;
use crate::mock::error::Rejection;

/// Events kept, over all channels.
const MAX_EVENTS_KEPT: usize = 20_000;
/// Events that one answer may hold.
const MAX_EVENTS_PER_SYNC: usize = 2000;
/// Channels that one call may name.
const MAX_CHANNELS_PER_SYNC: usize = 255;
/// How far back a call may ask.
const MAX_SYNC_AGE: TimeDelta = TimeDelta::days(30);

/// The events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct EventHistory(VecDeque<PastEvent>);

#[derive(Debug)]
struct PastEvent {
    at: DateTime<Utc>,
    cid: Box<str>,
    /// The one user whom it concerns; otherwise it is for everybody who may read the channel.
    only: Option<UserKey>,
    event: Bytes,
}

#[derive(Serialize)]
struct SyncResponse<'a> {
    events: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inaccessible_cids: Option<Vec<&'a str>>,
}

impl ServiceState {
    /// Keeps news for those who will ask.
    pub(crate) fn record_in_history(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        only: Option<UserKey>,
        news: &ChannelEventDraft<'_>,
    ) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let cid = Box::from(&*channel.cid);
        let viewer = only.map_or(Viewer::Other, Viewer::User);
        let event = self.render_channel_event(now, viewer, news);
        self.history.0.push_back(PastEvent {
            at: now,
            cid,
            only,
            event,
        });
        if self.history.0.len() > MAX_EVENTS_KEPT {
            self.history.0.pop_front();
        }
    }

    /// `POST /sync`.
    pub(crate) fn sync(
        &self,
        now: DateTime<Utc>,
        actor: &Actor,
        request: &SyncRequest,
    ) -> Result<Reply, Rejection> {
        let count = request.channel_cids.len();
        if count == 0 || count > MAX_CHANNELS_PER_SYNC {
            return Err(Rejection::field(
                "channel_cids",
                &format!("must hold between 1 and {MAX_CHANNELS_PER_SYNC} channels"),
            ));
        }
        let since = request.last_sync_at;
        if now - since > MAX_SYNC_AGE {
            return Err(Rejection::input("last_sync_at is more than 30 days ago"));
        }
        let readable = |cid: &str| {
            self.channel_ids
                .get(cid)
                .and_then(|key| self.channels.get(*key))
                .is_some_and(|channel| self.may_read(actor, channel))
        };
        let (known, unknown): (Vec<&str>, Vec<&str>) = request
            .channel_cids
            .iter()
            .map(String::as_str)
            .partition(|cid| readable(cid));
        let known: std::collections::HashSet<&str> = known.into_iter().collect();
        let events: Vec<&RawValue> = self
            .history
            .0
            .iter()
            .filter(|past| {
                past.at > since
                    && known.contains(&*past.cid)
                    && past.only.is_none_or(|user| actor.user == Some(user))
            })
            .map(|past| serde_json::from_slice(&past.event).expect("it was written as JSON"))
            .collect();
        if events.len() > MAX_EVENTS_PER_SYNC {
            return Err(Rejection::input("Too many events to sync"));
        }
        Ok(Reply::new(&SyncResponse {
            events,
            inaccessible_cids: request.with_inaccessible_cids.then_some(unknown),
        }))
    }
}
