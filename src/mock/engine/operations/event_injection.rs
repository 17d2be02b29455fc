//! Events that the control API sends to connections, regardless of the rules about who receives what.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::events;
use crate::mock::error::Rejection;

/// To whom an event is sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventReceivers {
    /// A connection, by its id.
    pub(crate) connection: Option<String>,
    /// All connections of a user.
    pub(crate) user: Option<String>,
    /// All connections that are subscribed to a user's presence.
    pub(crate) subscribers: Option<String>,
    /// All connections that watch a channel.
    pub(crate) channel: Option<String>,
}

impl ServiceState {
    /// Sends an event and returns the number of receiving connections. Adds the time and the channel if they are missing.
    pub(crate) fn inject(
        &mut self,
        now: DateTime<Utc>,
        receivers: &EventReceivers,
        mut event: Map<String, Value>,
    ) -> Result<usize, Rejection> {
        let connections = self.receivers(receivers)?;
        let kind = match event.shift_remove("type") {
            Some(Value::String(kind)) if !kind.is_empty() => kind,
            _ => {
                return Err(Rejection::field(
                    "event.type",
                    "is a required field, a string",
                ));
            }
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
            .or_insert_with(|| Rfc3339(now).to_string().into());
        let frame = events::frame(&whole);
        Ok(self.send_to_all(&connections, &frame))
    }

    /// Sends a text that may be no event at all, and tells to how many connections.
    pub(crate) fn inject_text(
        &mut self,
        receivers: &EventReceivers,
        text: String,
    ) -> Result<usize, Rejection> {
        let connections = self.receivers(receivers)?;
        Ok(self.send_to_all(&connections, &Bytes::from(text)))
    }

    fn send_to_all(&mut self, connections: &BTreeSet<ConnectionKey>, frame: &Bytes) -> usize {
        for key in connections {
            self.send(*key, frame.clone());
        }
        connections.len()
    }

    fn receivers(&self, wanted: &EventReceivers) -> Result<BTreeSet<ConnectionKey>, Rejection> {
        let mut found = BTreeSet::new();
        let mut named = false;
        if let Some(id) = &wanted.connection {
            named = true;
            let key = self
                .connection_ids
                .get(id.as_str())
                .ok_or_else(|| Rejection::not_found(format!("connection {id:?} was not found")))?;
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
                .ok_or_else(|| Rejection::not_found(format!("channel {cid:?} was not found")))?;
            found.extend(&channel.watchers);
        }
        if named {
            Ok(found)
        } else {
            Err(Rejection::input(
                "at least one of `connection`, `user`, `subscribers` or `channel` is required",
            ))
        }
    }

    fn known(&self, id: &str) -> Result<&crate::mock::engine::data::user::StoredUser, Rejection> {
        self.user(id)
            .map(|(_, user)| user)
            .ok_or_else(|| Rejection::not_found(format!("user {id:?} was not found")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mock::engine::test_support::TestState;

    fn to(change: impl FnOnce(&mut EventReceivers)) -> EventReceivers {
        let mut receivers = EventReceivers::default();
        change(&mut receivers);
        receivers
    }

    #[test]
    fn an_event_reaches_those_it_is_for_once() {
        let mut stage = TestState::new();
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
        let mut inject = |receivers: &EventReceivers| {
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
        assert_eq!(inject(&EventReceivers::default()).0, Err(400));
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
