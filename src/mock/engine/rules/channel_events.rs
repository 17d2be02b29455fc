//! Events about channels and their members. Watchers receive the event of the channel; members who do not watch receive
//! a notification.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::mock::engine::data::channel_view::ChannelView;
use crate::mock::engine::data::connection::ConnectionKey;
use crate::mock::engine::data::event_history::PastEvent;
use crate::mock::engine::data::member_view::MemberView;
use crate::mock::engine::data::members::ChannelMember;
use crate::mock::engine::data::message_view::MessageView;
use crate::mock::engine::data::messages::Message;
use crate::mock::engine::data::rfc3339::{Rfc3339, stored};
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::engine::rules::events::frame;
use crate::mock::engine::rules::permissions::Actor;

/// The JSON of an event about a channel.
#[derive(Serialize)]
struct ChannelEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    cid: &'a str,
    channel_type: &'a str,
    channel_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_member_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView<'a>>,
    #[serde(flatten)]
    extra: Option<&'a Map<String, Value>>,
    created_at: Rfc3339,
}

/// The content of an event about a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelEventDraft<'a> {
    /// The type.
    pub(crate) kind: &'a str,
    /// The channel.
    pub(crate) channel: ChannelKey,
    /// The user of the event, who sees their own view.
    pub(crate) user: Option<UserKey>,
    /// The user whose membership is included.
    pub(crate) member: EventMember<'a>,
    /// The message concerned.
    pub(crate) message: Option<&'a Message>,
    /// Whether the channel is included, with its members.
    pub(crate) whole: bool,
    /// Whether the number of members is included.
    pub(crate) count: bool,
    /// Custom fields.
    pub(crate) extra: Option<&'a Map<String, Value>>,
}

/// The membership in an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventMember<'a> {
    /// None.
    None,
    /// The user's current membership.
    Current,
    /// The user's former membership.
    Past(&'a ChannelMember),
}

impl ChannelEventDraft<'_> {
    /// An event of this type about a channel, without optional parts.
    pub(crate) const fn new<'a>(kind: &'a str, channel: ChannelKey) -> ChannelEventDraft<'a> {
        ChannelEventDraft {
            kind,
            channel,
            user: None,
            member: EventMember::None,
            message: None,
            whole: false,
            count: false,
            extra: None,
        }
    }
}

impl ServiceState {
    /// Sends an event to connections.
    pub(crate) fn send_channel_event(
        &mut self,
        now: DateTime<Utc>,
        receivers: &[ConnectionKey],
        draft: &ChannelEventDraft<'_>,
    ) {
        self.publish(receivers, draft.user, |state, viewer| {
            state.render_channel_event(now, viewer, draft)
        });
    }

    /// Serialises an event as a viewer sees it.
    pub(crate) fn render_channel_event(
        &self,
        now: DateTime<Utc>,
        viewer: Viewer,
        draft: &ChannelEventDraft<'_>,
    ) -> bytes::Bytes {
        let channel = self
            .channels
            .get(draft.channel)
            .expect("draft are about channels that exist");
        frame(&ChannelEvent {
            kind: draft.kind,
            cid: &channel.cid,
            channel_type: &channel.channel_type,
            channel_id: &channel.id,
            channel: draft
                .whole
                .then(|| self.event_channel(draft.channel, viewer)),
            channel_member_count: draft.count.then(|| channel.members.len()),
            member: match (draft.member, draft.user) {
                (EventMember::Current, Some(user)) => self.member_view(channel, user, viewer),
                (EventMember::Past(member), Some(user)) => Some(MemberView {
                    member,
                    user: self.view(user, viewer, UserShape::Common),
                    ban: None,
                    owner: channel.created_by == Some(user),
                    with_id: true,
                }),
                (EventMember::None, _) | (_, None) => None,
            },
            message_id: draft.message.map(|message| message.id.as_str()),
            message: draft.message.map(|message| MessageView {
                state: self,
                channel,
                message,
                viewer,
            }),
            user: draft
                .user
                .map(|user| self.view(user, viewer, UserShape::Common)),
            extra: draft.extra,
            created_at: Rfc3339(now),
        })
    }

    /// Sends draft to connections, to those of a member with their unread counts.
    pub(crate) fn send_with_unread_counts(
        &mut self,
        now: DateTime<Utc>,
        receivers: &[ConnectionKey],
        draft: &ChannelEventDraft<'_>,
    ) {
        let mut by_user: BTreeMap<UserKey, Vec<ConnectionKey>> = BTreeMap::new();
        for key in receivers {
            if let Some(connection) = self.connections.get(key) {
                by_user.entry(connection.user).or_default().push(*key);
            }
        }
        for (user, connections) in by_user {
            let is_member = self
                .channels
                .get(draft.channel)
                .is_some_and(|channel| channel.members.contains(user));
            let mut extra = draft.extra.cloned().unwrap_or_default();
            if is_member {
                extra.extend(self.unread_counts(user));
            }
            let draft = ChannelEventDraft {
                extra: Some(&extra),
                ..*draft
            };
            self.send_channel_event(now, &connections, &draft);
        }
    }

    /// The connections that watch a channel.
    pub(crate) fn watchers_of(&self, key: ChannelKey) -> Vec<ConnectionKey> {
        self.channels
            .get(key)
            .map(|channel| channel.watchers.iter().copied().collect())
            .unwrap_or_default()
    }

    /// A user's connections that do not watch a channel.
    pub(crate) fn not_watching(&self, key: ChannelKey, user: UserKey) -> Vec<ConnectionKey> {
        let (Some(channel), Some(user)) = (self.channels.get(key), self.users.get(user)) else {
            return Vec::new();
        };
        user.connections
            .iter()
            .copied()
            .filter(|connection| !channel.watchers.contains(connection))
            .collect()
    }

    /// Sends an event about one member to the watchers.
    pub(crate) fn send_member_event(
        &mut self,
        now: DateTime<Utc>,
        kind: &str,
        key: ChannelKey,
        user: UserKey,
    ) {
        let draft = ChannelEventDraft {
            user: Some(user),
            member: EventMember::Current,
            whole: true,
            count: true,
            ..ChannelEventDraft::new(kind, key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &draft);
    }

    /// Sends a notification to those connections of a member that do not watch the channel.
    pub(crate) fn notify(
        &mut self,
        now: DateTime<Utc>,
        kind: &str,
        key: ChannelKey,
        user: UserKey,
    ) {
        let unread = self.unread_counts(user);
        let draft = ChannelEventDraft {
            user: Some(user),
            member: EventMember::Current,
            whole: true,
            extra: Some(&unread),
            ..ChannelEventDraft::new(kind, key)
        };
        self.send_channel_event(now, &self.not_watching(key, user), &draft);
        self.record_in_history(now, key, Some(user), &draft);
    }

    /// Sends an event that the channel has changed to the watchers.
    pub(crate) fn send_channel_updated(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        key: ChannelKey,
    ) {
        if let Some(channel) = self.channels.get_mut(key) {
            channel.updated_at = stored(now);
        }
        let draft = ChannelEventDraft {
            user: actor.user.filter(|_| !actor.server),
            whole: true,
            count: true,
            ..ChannelEventDraft::new("channel.updated", key)
        };
        self.send_channel_event(now, &self.watchers_of(key), &draft);
        self.record_in_history(now, key, None, &draft);
    }

    /// Adds an event to the history, for clients that reconnect later.
    pub(crate) fn record_in_history(
        &mut self,
        now: DateTime<Utc>,
        key: ChannelKey,
        only: Option<UserKey>,
        draft: &ChannelEventDraft<'_>,
    ) {
        let Some(channel) = self.channels.get(key) else {
            return;
        };
        let cid = Box::from(&*channel.cid);
        let viewer = only.map_or(Viewer::Other, Viewer::User);
        let event = self.render_channel_event(now, viewer, draft);
        self.history.push(PastEvent {
            at: now,
            cid,
            only,
            event,
        });
    }
}
