//! `POST /sync`: the events that a client missed while it was away.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::mock::engine::data::requests::{Reply, SyncRequest};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// Events that one answer may hold.
const MAX_EVENTS_PER_SYNC: usize = 2000;
/// Channels that one call may name.
const MAX_CHANNELS_PER_SYNC: usize = 255;
/// How far back a call may ask.
const MAX_SYNC_AGE: TimeDelta = TimeDelta::days(30);

#[derive(Serialize)]
struct SyncResponse<'a> {
    events: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inaccessible_cids: Option<Vec<&'a str>>,
}

impl ServiceState {
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
