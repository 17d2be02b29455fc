//! Operations on a user's own view of a channel: hide, show, mark as read, and change the membership.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::member_view::MemberView;
use crate::mock::engine::data::requests::{
    ChannelRef, JsonObject, MarkReadRequest, PartialUpdateRequest, Reply,
};
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::Viewer;
use crate::mock::engine::rules::channel_data::RESERVED_MEMBER_FIELDS;
use crate::mock::engine::rules::channel_events::ChannelEventDraft;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

#[derive(Serialize)]
struct EventResponse<'a> {
    event: &'a RawValue,
}

#[derive(Serialize)]
struct MemberResponse<'a> {
    channel_member: Option<MemberView<'a>>,
}

impl ServiceState {
    /// `POST …/hide`.
    pub(crate) fn hide_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        clear_history: bool,
    ) -> Result<Reply, Rejection> {
        self.set_hidden(now, actor, name, true, clear_history)
    }

    /// `POST …/show`.
    pub(crate) fn show_channel(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
    ) -> Result<Reply, Rejection> {
        self.set_hidden(now, actor, name, false, false)
    }

    pub(crate) fn set_hidden(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        hidden: bool,
        clear_history: bool,
    ) -> Result<Reply, Rejection> {
        let (key, user) = self.readable(actor, name)?;
        if let Some(channel) = self.channels.get_mut(key) {
            if hidden {
                channel.hidden_for.insert(user);
            } else {
                channel.hidden_for.remove(&user);
            }
        }
        let mut extra = Map::new();
        if hidden {
            extra.insert("clear_history".to_owned(), Value::Bool(clear_history));
        }
        let kind = if hidden {
            "channel.hidden"
        } else {
            "channel.visible"
        };
        let news = ChannelEventDraft {
            user: Some(user),
            whole: true,
            extra: Some(&extra),
            ..ChannelEventDraft::new(kind, key)
        };
        self.send_channel_event(now, &self.connections_of(user), &news);
        self.record_in_history(now, key, Some(user), &news);
        Ok(Reply::new(&Map::new()))
    }

    /// `POST …/read`: tells those who watch, and the user's own connections.
    pub(crate) fn mark_read(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        request: &MarkReadRequest,
    ) -> Result<Reply, Rejection> {
        let (key, user) = self.readable(actor, name)?;
        let text = match &request.thread_id {
            None => self.read_channel(now, key, user),
            Some(id) => {
                let thread = self.set_thread_read(key, id, user, true)?;
                let text = self.send_read_event(now, key, user, Some(&thread));
                self.send_read_notification(now, "notification.mark_read", key, user, thread);
                text
            }
        };
        Ok(Reply::new(&EventResponse {
            event: serde_json::from_slice(&text).expect("it was written as JSON"),
        }))
    }

    fn read_channel(&mut self, now: DateTime<Utc>, key: ChannelKey, user: UserKey) -> bytes::Bytes {
        if let Some(channel) = self.channels.get_mut(key)
            && let Some(member) = channel.members.get_mut(user)
        {
            member.last_read = Some(stored(now));
            member.read_up_to = channel.messages.last_sequence();
        }
        let text = self.send_read_event(now, key, user, None);
        self.send_read_notification(now, "notification.mark_read", key, user, Map::new());
        text
    }

    /// Tells those who watch that a user has read the channel, or a thread of it. Returns the event as the user sees it.
    fn send_read_event(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        user: UserKey,
        thread: Option<&JsonObject>,
    ) -> bytes::Bytes {
        let news = ChannelEventDraft {
            user: Some(user),
            extra: thread,
            ..ChannelEventDraft::new("message.read", key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &news);
        self.render_channel_event(now, Viewer::User(user), &news)
    }

    /// `POST /channels/read`: marks every channel of the user.
    pub(crate) fn mark_channels_read(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
    ) -> Result<Reply, Rejection> {
        let user = self.acting_user(actor)?;
        let channels: Vec<ChannelKey> = self
            .users
            .get(user)
            .map(|user| user.memberships.iter().copied().collect())
            .unwrap_or_default();
        for key in channels {
            self.read_channel(now, key, user);
        }
        Ok(Reply::new(&Map::new()))
    }

    /// `PATCH …/member/{user_id}`.
    pub(crate) fn update_member_partial(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &ChannelRef,
        id: &str,
        request: &PartialUpdateRequest,
    ) -> Result<Reply, Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        let user = self.require_user(id)?;
        let mut member = channel
            .members
            .get(user)
            .cloned()
            .ok_or_else(|| Rejection::not_found(format!("user {id:?} is not a member")))?;
        let own = actor.user == Some(user);
        let may_change = self.may_change(actor, channel);
        if !own && !may_change {
            return Err(actor.denied("UpdateChannelMembers", &name.channel_type));
        }
        let now_stored = stored(now);
        for (field, value) in &request.set {
            if RESERVED_MEMBER_FIELDS.contains(&field.as_str()) {
                return Err(Rejection::field(
                    format!("set.{field}"),
                    "is a reserved field",
                ));
            }
            match (field.as_str(), value) {
                ("pinned", Value::Bool(on)) => member.pinned_at = on.then_some(now_stored),
                ("archived", Value::Bool(on)) => member.archived_at = on.then_some(now_stored),
                ("channel_role", Value::String(role)) if !role.is_empty() => {
                    if !may_change {
                        return Err(actor.denied("UpdateChannelMembers", &name.channel_type));
                    }
                    member.channel_role.clone_from(role);
                }
                ("pinned" | "archived" | "channel_role", _) => {
                    return Err(Rejection::field(
                        format!("set.{field}"),
                        "has the wrong type",
                    ));
                }
                _ => {
                    member.custom.insert(field.clone(), value.clone());
                }
            }
        }
        for field in &request.unset {
            match field.as_str() {
                "pinned" => member.pinned_at = None,
                "archived" => member.archived_at = None,
                _ => {
                    member.custom.shift_remove(field);
                }
            }
        }
        self.update_member(now, key, user, |place| *place = member);
        let viewer = actor.viewer();
        let channel = self.channels.get(key).expect("it was found above");
        Ok(Reply::new(&MemberResponse {
            channel_member: self.member_view(channel, user, viewer),
        }))
    }

    pub(crate) fn readable(
        &self,
        actor: &Actor,
        name: &ChannelRef,
    ) -> Result<(ChannelKey, UserKey), Rejection> {
        let (key, channel) = self.channel_named(&name.channel_type, &name.id)?;
        if !self.may_read(actor, channel) {
            return Err(actor.denied("ReadChannel", &name.channel_type));
        }
        Ok((key, self.acting_user(actor)?))
    }

    pub(crate) fn acting_user(&self, actor: &Actor) -> Result<UserKey, Rejection> {
        actor.not_anonymous("ReadChannel")?;
        actor
            .user
            .ok_or_else(|| Rejection::input("user_id is a required field"))
    }

    pub(crate) fn connections_of(&self, key: UserKey) -> Vec<ConnectionKey> {
        self.users
            .get(key)
            .map(|user| user.connections.clone())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mock::engine::data::requests::Caller;
    use crate::mock::engine::test_support::{TestState, channel_op, op, user};

    fn stage() -> TestState {
        let mut stage = TestState::new();
        stage.users(&["a", "b", "c"]);
        let body = json!({"data": {"members": ["a", "b"]}});
        stage.channel(&user("a"), "messaging:x", body).unwrap();
        stage
    }

    #[test]
    fn hidden_is_hidden_for_one() {
        let mut stage = stage();
        let b = stage.connect("b");
        let cid = "messaging:x";
        stage
            .apply(
                &user("b"),
                channel_op("POST", cid, "/hide", json!({"clear_history": true})),
            )
            .unwrap();
        assert_eq!(stage.heard(b), ["channel.hidden b"]);
        let count = |stage: &mut TestState, who: &str, filter: Value| {
            let query = op("POST /channels", json!({"filter_conditions": filter}));
            let answer = stage.apply(&user(who), query).unwrap();
            answer["channels"].as_array().unwrap().len()
        };
        assert_eq!(count(&mut stage, "b", json!({})), 0);
        assert_eq!(count(&mut stage, "b", json!({"hidden": true})), 1);
        assert_eq!(count(&mut stage, "a", json!({})), 1);
        let show = channel_op("POST", cid, "/show", json!({"user_id": "b"}));
        stage.apply(&Caller::Server, show).unwrap();
        assert_eq!(stage.heard(b), ["channel.visible b"]);
        assert_eq!(count(&mut stage, "b", json!({})), 1);
    }

    #[test]
    fn reading_sends_events_to_watchers_and_to_the_reader() {
        let mut stage = stage();
        let (a, b) = (stage.connect("a"), stage.connect("b"));
        let body = json!({"watch": true, "connection_id": stage.id(a)});
        stage.channel(&user("a"), "messaging:x", body).unwrap();
        stage.take(a);
        let read = channel_op("POST", "messaging:x", "/read", json!({}));
        let answer = stage.apply(&user("b"), read.clone()).unwrap();
        assert_eq!(answer["event"]["type"], "message.read");
        assert_eq!(stage.heard(a), ["message.read b"]);
        assert_eq!(stage.heard(b), ["notification.mark_read b"]);
        assert_eq!(stage.apply(&Caller::Server, read).unwrap_err().code, 4);
    }

    #[test]
    fn members_change_their_own_data() {
        let mut stage = stage();
        let patch = |id: &str, set: Value, unset: Value| {
            let body = json!({"set": set, "unset": unset});
            channel_op("PATCH", "messaging:x", &format!("/member/{id}"), body)
        };
        let answer = stage
            .apply(
                &user("b"),
                patch("b", json!({"hat": "blue", "pinned": true}), json!([])),
            )
            .unwrap();
        assert_eq!(answer["channel_member"]["hat"], "blue");
        assert!(answer["channel_member"]["pinned_at"].is_string());
        let answer = stage
            .apply(&user("a"), patch("b", json!({}), json!(["hat"])))
            .unwrap();
        assert!(answer["channel_member"].get("hat").is_none());
        for (who, id, set, code) in [
            ("b", "a", json!({"hat": 1}), 17),
            ("b", "b", json!({"channel_role": "channel_moderator"}), 17),
            ("b", "b", json!({"user_id": "x"}), 4),
            ("a", "c", json!({"hat": 1}), 16),
        ] {
            let reject = stage
                .apply(&user(who), patch(id, set, json!([])))
                .unwrap_err();
            assert_eq!(reject.code, code);
        }
    }
}
