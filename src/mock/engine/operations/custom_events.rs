//! Events that clients and servers make up: into a channel, or to one user.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::requests::{ChannelRef, OnBehalfOf, Reply, SendEventRequest};
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::engine::rules::channel_events::ChannelEventDraft;
use crate::mock::engine::rules::events::frame;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

/// Types with a dot that clients may send: everything else with one is the service's own.
const SENDABLE_EVENT_TYPES: &[&str] = &[
    "typing.start",
    "typing.stop",
    "message.read",
    "ai_indicator.update",
    "ai_indicator.clear",
    "ai_indicator.stop",
];
/// Fields of an event that the service sets.
const RESERVED_EVENT_FIELDS: &[&str] = &[
    "type",
    "cid",
    "channel_type",
    "channel_id",
    "user",
    "user_id",
    "created_at",
    "channel",
    "member",
    "connection_id",
];

#[derive(Serialize)]
struct CustomEventResponse<'a> {
    event: &'a RawValue,
}

#[derive(Serialize)]
struct UserCustomEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    user: UserView<'a>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
    created_at: Rfc3339,
}

impl ServiceState {
    /// `POST /channels/{type}/{id}/event`.
    pub(crate) fn send_event(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: SendEventRequest,
    ) -> Result<Reply, Rejection> {
        let mut event = request.event;
        let kind = kind_of(&mut event)?;
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &name.channel_type));
        }
        actor.not_anonymous("SendCustomEvent")?;
        if kind.contains('.') && !SENDABLE_EVENT_TYPES.contains(&kind.as_str()) {
            return Err(Rejection::input(format!("event type {kind:?} is reserved")));
        }
        let acting: OnBehalfOf = crate::mock::engine::data::requests::read(event.clone())?;
        let actor = self.acting(now, actor.clone(), &acting)?;
        let Some(user) = actor.user else {
            return Err(Rejection::input("event.user_id is a required field"));
        };
        event.retain(|field, _| !RESERVED_EVENT_FIELDS.contains(&field.as_str()));
        let news = ChannelEventDraft {
            user: Some(user),
            extra: Some(&event),
            ..ChannelEventDraft::new(&kind, key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &news);
        let viewer = actor.viewer();
        let text = self.render_channel_event(now, viewer, &news);
        Ok(Reply::new(&CustomEventResponse {
            event: serde_json::from_slice(&text).expect("it was written as JSON"),
        }))
    }

    /// `POST /users/{id}/event`.
    pub(crate) fn send_user_custom_event(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        id: &str,
        request: SendEventRequest,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut event = request.event;
        let kind = kind_of(&mut event)?;
        if kind.contains('.') {
            return Err(Rejection::input(format!(
                "event type {kind:?} must not contain a dot"
            )));
        }
        let key = self.require_user(id)?;
        event.retain(|field, _| !RESERVED_EVENT_FIELDS.contains(&field.as_str()));
        let receivers: Vec<ConnectionKey> = self
            .users
            .get(key)
            .map(|user| user.connections.clone())
            .unwrap_or_default();
        self.publish(&receivers, Some(key), |state, _| {
            frame(&UserCustomEvent {
                kind: &kind,
                user: state.view(key, Viewer::User(key), UserShape::Common),
                extra: &event,
                created_at: Rfc3339(now),
            })
        });
        Ok(Reply::new(&Map::new()))
    }
}

fn kind_of(event: &mut Map<String, Value>) -> Result<String, Rejection> {
    match event.shift_remove("type") {
        Some(Value::String(kind)) if !kind.is_empty() && kind.len() <= 255 => Ok(kind),
        _ => Err(Rejection::field(
            "event.type",
            "is a required field, a text of at most 255 bytes",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mock::engine::data::requests::Caller;
    use crate::mock::engine::operations::OperationRequest;
    use crate::mock::engine::test_support::{TestState, channel_op, op, user};

    fn send(body: &Value) -> OperationRequest {
        channel_op("POST", "messaging:x", "/event", json!({"event": body}))
    }

    #[test]
    fn a_channel_event_reaches_those_who_watch() {
        let mut stage = TestState::new();
        stage.users(&["a", "b"]);
        let (a, b) = (stage.connect("a"), stage.connect("b"));
        let body =
            json!({"data": {"members": ["a", "b"]}, "watch": true, "connection_id": stage.id(a)});
        stage.channel(&user("a"), "messaging:x", body).unwrap();
        stage.take(a);
        stage.take(b);
        let event = send(&json!({"type": "knock", "text": "hey", "cid": "lie", "user_id": "a"}));
        let answer = stage.apply(&user("b"), event).unwrap();
        assert_eq!(
            answer["event"]["user"]["id"], "b",
            "a client speaks for itself"
        );
        let heard = stage.take(a);
        assert_eq!(heard[0]["type"], "knock");
        assert_eq!(heard[0]["text"], "hey");
        assert_eq!(heard[0]["cid"], "messaging:x");
        assert_eq!(heard[0]["user"]["id"], "b");
        assert!(stage.take(b).is_empty());
        for kind in ["user.updated", "health.check", ""] {
            let event = send(&json!({"type": kind}));
            assert_eq!(
                stage.apply(&user("b"), event).unwrap_err().code,
                4,
                "{kind}"
            );
        }
        let nobody = send(&json!({"type": "knock"}));
        assert_eq!(stage.apply(&Caller::Server, nobody).unwrap_err().code, 4);
        let typing = send(&json!({"type": "typing.start"}));
        stage.apply(&user("b"), typing).unwrap();
        assert_eq!(stage.heard(a), ["typing.start b"]);
    }

    #[test]
    fn a_user_event_reaches_all_connections_of_one_user() {
        let mut stage = TestState::new();
        let (one, two, other) = (stage.connect("a"), stage.connect("a"), stage.connect("b"));
        let event = |kind: &str| {
            op(
                "POST /users/a/event",
                json!({"event": json!({"type": kind, "n": 1})}),
            )
        };
        stage.apply(&Caller::Server, event("hello")).unwrap();
        assert_eq!(stage.heard(one), ["hello a"]);
        assert_eq!(stage.heard(two), ["hello a"]);
        assert!(stage.take(other).is_empty());
        assert_eq!(
            stage.apply(&Caller::Server, event("a.b")).unwrap_err().code,
            4
        );
        assert_eq!(
            stage.apply(&user("b"), event("hello")).unwrap_err().code,
            17
        );
        let unknown = op(
            "POST /users/ghost/event",
            json!({"event": json!({"type": "hello"})}),
        );
        assert_eq!(stage.apply(&Caller::Server, unknown).unwrap_err().code, 16);
    }
}
