//! Events out of thin air: what the control API sends to connections, past all rules about who hears what.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::connection::ConnKey;
use super::rfc3339::Stamp;
use super::{State, events};
use crate::mock::error::Reject;

/// To whom an event is sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receivers {
    /// A connection, by its id.
    pub(crate) connection: Option<String>,
    /// All connections of a user.
    pub(crate) user: Option<String>,
    /// All connections that hear a user's presence.
    pub(crate) subscribers: Option<String>,
    /// All connections that watch a channel.
    pub(crate) channel: Option<String>,
}

impl State {
    /// Sends an event, completed where it says nothing of its time and its channel, and tells to how many connections.
    pub(crate) fn inject(
        &mut self,
        now: DateTime<Utc>,
        receivers: &Receivers,
        mut event: Map<String, Value>,
    ) -> Result<usize, Reject> {
        let connections = self.receivers(receivers)?;
        let kind = match event.shift_remove("type") {
            Some(Value::String(kind)) if !kind.is_empty() => kind,
            _ => return Err(Reject::field("event.type", "is a required field, a string")),
        };
        // The type comes first, as in every event of the service.
        let mut whole = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        if let Some((channel_type, id)) = receivers
            .channel
            .as_deref()
            .and_then(|cid| cid.split_once(':'))
        {
            whole.insert("cid".to_owned(), format!("{channel_type}:{id}").into());
            whole.insert("channel_type".to_owned(), channel_type.into());
            whole.insert("channel_id".to_owned(), id.into());
        }
        whole.extend(event);
        whole
            .entry("created_at")
            .or_insert_with(|| Stamp(now).to_string().into());
        let frame = events::frame(&whole);
        Ok(self.send_to_all(&connections, &frame))
    }

    /// Sends a text that may be no event at all, and tells to how many connections.
    pub(crate) fn inject_text(
        &mut self,
        receivers: &Receivers,
        text: String,
    ) -> Result<usize, Reject> {
        let connections = self.receivers(receivers)?;
        Ok(self.send_to_all(&connections, &Bytes::from(text)))
    }

    fn send_to_all(&mut self, connections: &BTreeSet<ConnKey>, frame: &Bytes) -> usize {
        for key in connections {
            self.send(*key, frame.clone());
        }
        connections.len()
    }

    fn receivers(&self, wanted: &Receivers) -> Result<BTreeSet<ConnKey>, Reject> {
        let mut found = BTreeSet::new();
        let mut named = false;
        if let Some(id) = &wanted.connection {
            named = true;
            let key = self
                .connection_ids
                .get(id.as_str())
                .ok_or_else(|| Reject::not_found(format!("connection {id:?} was not found")))?;
            found.insert(*key);
        }
        if let Some(id) = &wanted.user {
            named = true;
            found.extend(&self.known(id)?.connections);
        }
        if let Some(id) = &wanted.subscribers {
            named = true;
            found.extend(&self.known(id)?.subscribers);
        }
        if let Some(cid) = &wanted.channel {
            named = true;
            let channel = self
                .channel_ids
                .get(cid.as_str())
                .and_then(|key| self.channels.get(*key))
                .ok_or_else(|| Reject::not_found(format!("channel {cid:?} was not found")))?;
            found.extend(&channel.watchers);
        }
        if named {
            Ok(found)
        } else {
            Err(Reject::input(
                "one of connection, user, subscribers and channel is required",
            ))
        }
    }

    fn known(&self, id: &str) -> Result<&super::User, Reject> {
        self.user(id)
            .map(|(_, user)| user)
            .ok_or_else(|| Reject::not_found(format!("user {id:?} was not found")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mock::engine::test_support::Stage;

    fn to(change: impl FnOnce(&mut Receivers)) -> Receivers {
        let mut receivers = Receivers::default();
        change(&mut receivers);
        receivers
    }

    #[test]
    fn an_event_reaches_those_it_is_for_once() {
        let mut stage = Stage::new();
        stage.users(&["B"]);
        let (watcher, b) = (stage.connect("A"), stage.connect("B"));
        stage.subscribe("A", watcher, &["B"]);
        stage.take(watcher);
        let event = || {
            Map::from_iter([
                ("n".to_owned(), json!(1)),
                ("type".to_owned(), json!("x.y")),
            ])
        };
        let id = stage.id(watcher);
        let mut inject = |receivers: &Receivers| {
            let sent = stage.state.inject(stage.now, receivers, event());
            (
                sent.map_err(|reject| reject.status),
                stage.frames_of(&[watcher, b]),
            )
        };
        let (sent, frames) = inject(&to(|to| {
            to.connection = Some(id);
            to.subscribers = Some("B".into());
        }));
        assert_eq!(sent, Ok(1));
        assert_eq!(
            frames[0],
            [json!({"type": "x.y", "n": 1, "created_at": "2026-01-05T11:00:00.123456789Z"})]
        );
        let (sent, frames) = inject(&to(|to| to.user = Some("B".into())));
        assert_eq!((sent, frames[0].len(), frames[1].len()), (Ok(1), 0, 1));
        assert_eq!(inject(&Receivers::default()).0, Err(400));
        assert_eq!(
            inject(&to(|to| to.user = Some("nobody".into()))).0,
            Err(404)
        );
        assert_eq!(
            inject(&to(|to| to.channel = Some("messaging:x".into()))).0,
            Err(404)
        );
    }
}
