//! A channel and its members, as each viewer sees them, in responses, events and queries.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::channel_types::ChannelType;
use crate::mock::engine::data::filter::{FieldType, FieldValue, FilterRow, custom};
use crate::mock::engine::data::member_view::MemberView;
use crate::mock::engine::data::relations::Ban;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::{ChannelKey, UserKey};
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::{UserShape, Viewer};
use crate::mock::engine::data::user_view::UserView;
use crate::mock::error::Rejection;

/// A channel, as a viewer sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelView<'a> {
    pub(crate) state: &'a ServiceState,
    pub(crate) channel: &'a Channel,
    pub(crate) viewer: Viewer,
    /// The caller's capabilities; not included in events.
    pub(crate) capabilities: Option<&'static [&'static str]>,
    /// Whether members are included, as in events.
    pub(crate) with_members: bool,
    /// When it was deleted, in the response to the deletion.
    pub(crate) deleted_at: Option<DateTime<Utc>>,
}

/// How many members an event includes at most.
const MAX_EVENT_MEMBERS: usize = 100;

impl<'a> ChannelView<'a> {
    /// A user who still exists.
    fn user(&self, key: Option<UserKey>) -> Option<UserView<'a>> {
        let state = self.state;
        key.filter(|key| state.users.get(*key).is_some())
            .map(|key| state.view(key, self.viewer, UserShape::Common))
    }
}

impl Serialize for ChannelView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let channel = self.channel;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &channel.id)?;
        map.serialize_entry("type", &channel.channel_type)?;
        map.serialize_entry("cid", &*channel.cid)?;
        for (field, value) in &channel.custom {
            map.serialize_entry(field, value)?;
        }
        if let Some(at) = channel.last_message_at {
            map.serialize_entry("last_message_at", &Rfc3339(at))?;
        }
        map.serialize_entry("created_at", &Rfc3339(channel.created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(channel.updated_at))?;
        map.serialize_entry("created_by", &self.user(channel.created_by))?;
        map.serialize_entry("frozen", &channel.frozen)?;
        map.serialize_entry("disabled", &channel.disabled)?;
        if let Some(at) = self.deleted_at {
            map.serialize_entry("deleted_at", &Rfc3339(at))?;
        }
        if let Some(at) = channel.truncated_at {
            map.serialize_entry("truncated_at", &Rfc3339(at))?;
            if let Some(user) = self.user(channel.truncated_by) {
                map.serialize_entry("truncated_by", &user)?;
            }
        }
        if let Some(team) = &channel.team {
            map.serialize_entry("team", team)?;
        }
        if let Some(tags) = &channel.filter_tags {
            map.serialize_entry("filter_tags", tags)?;
        }
        if self.with_members {
            let members: Vec<MemberView<'_>> = self
                .state
                .members_of(channel, self.viewer)
                .take(MAX_EVENT_MEMBERS)
                .collect();
            map.serialize_entry("members", &members)?;
        }
        map.serialize_entry("member_count", &channel.members.len())?;
        map.serialize_entry(
            "config",
            &self
                .state
                .types
                .get(&channel.channel_type)
                .map(ChannelType::config)
                .ok(),
        )?;
        if let Some(capabilities) = self.capabilities {
            map.serialize_entry("own_capabilities", capabilities)?;
        }
        map.end()
    }
}

/// A channel as a row of a query.
pub(crate) struct ChannelRow<'a> {
    pub(crate) state: &'a ServiceState,
    pub(crate) channel: &'a Channel,
    /// The user whose membership fields such as `hidden` refer to.
    pub(crate) user: Option<UserKey>,
}

impl FilterRow for ChannelRow<'_> {
    fn field(&self, name: &str) -> FieldValue<'_> {
        let channel = self.channel;
        let membership = || self.user.and_then(|user| channel.members.get(user));
        match name {
            "cid" => FieldValue::Text(&channel.cid),
            "id" => FieldValue::Text(&channel.id),
            "type" => FieldValue::Text(&channel.channel_type),
            "members" => FieldValue::Texts(
                channel
                    .members
                    .keys()
                    .filter_map(|key| self.state.users.get(key))
                    .map(|user| &*user.id)
                    .collect(),
            ),
            "member_count" => FieldValue::Count(channel.members.len()),
            "created_at" => FieldValue::Time(channel.created_at),
            "updated_at" => FieldValue::Time(channel.updated_at),
            "last_message_at" => channel
                .last_message_at
                .map_or(FieldValue::Missing, FieldValue::Time),
            "last_updated" => {
                FieldValue::Time(channel.last_message_at.unwrap_or(channel.created_at))
            }
            "created_by_id" => channel
                .created_by
                .and_then(|key| self.state.users.get(key))
                .map_or(FieldValue::Missing, |user| FieldValue::Text(&user.id)),
            "team" => channel
                .team
                .as_deref()
                .map_or(FieldValue::Missing, FieldValue::Text),
            "filter_tags" => FieldValue::Texts(
                channel
                    .filter_tags
                    .iter()
                    .flatten()
                    .map(String::as_str)
                    .collect(),
            ),
            "frozen" => FieldValue::Flag(channel.frozen),
            "disabled" => FieldValue::Flag(channel.disabled),
            "hidden" => FieldValue::Flag(
                self.user
                    .is_some_and(|user| channel.hidden_for.contains(&user)),
            ),
            "archived" => FieldValue::Flag(membership().is_some_and(|m| m.archived_at.is_some())),
            "pinned" => FieldValue::Flag(membership().is_some_and(|m| m.pinned_at.is_some())),
            "distinct" => FieldValue::Flag(channel.is_distinct()),
            "joined" => FieldValue::Flag(membership().is_some()),
            "muted" => FieldValue::Flag(
                self.user
                    .is_some_and(|user| channel.muted_by.contains_key(&user)),
            ),
            "has_unread" => FieldValue::Flag(
                self.user
                    .is_some_and(|user| self.state.unread_in(channel, user) > 0),
            ),
            "blocked" => FieldValue::Flag(false),
            "channel_role" => membership().map_or(FieldValue::Missing, |member| {
                FieldValue::Text(&member.channel_role)
            }),
            "invite" => membership()
                .and_then(|member| member.invite)
                .map_or(FieldValue::Missing, |invite| {
                    FieldValue::Text(invite.word())
                }),
            "member.user.name" => FieldValue::Texts(
                channel
                    .members
                    .keys()
                    .filter_map(|key| self.state.users.get(key)?.profile.name.as_deref())
                    .collect(),
            ),
            other => custom(&channel.custom, other),
        }
    }
}

/// The fields of channels that filters know.
pub(crate) fn schema(field: &str) -> Result<Option<FieldType>, Rejection> {
    Ok(match field {
        "cid" | "id" | "type" | "created_by_id" | "team" | "channel_role" | "invite" => {
            Some(FieldType::Text)
        }
        "members" | "member.user.name" | "filter_tags" => Some(FieldType::Texts),
        "member_count" => Some(FieldType::Count),
        "created_at" | "updated_at" | "last_message_at" | "last_updated" => Some(FieldType::Time),
        "frozen" | "disabled" | "hidden" | "distinct" | "joined" | "muted" | "blocked"
        | "archived" | "pinned" | "has_unread" => Some(FieldType::Flag),
        _ => None,
    })
}

impl ServiceState {
    fn channel_ban(&self, channel: &Channel, user: UserKey) -> Option<&Ban> {
        // Hardly anybody is banned.
        let relations = self.relations.get(&user)?;
        let key = self.channel_ids.get(&channel.cid)?;
        relations.bans.get(&Some(*key))
    }

    /// A membership, as a viewer sees it.
    pub(crate) fn member_view<'a>(
        &'a self,
        channel: &'a Channel,
        user: UserKey,
        viewer: Viewer,
    ) -> Option<MemberView<'a>> {
        Some(MemberView {
            member: channel.members.get(user)?,
            user: self.view(user, viewer, UserShape::Common),
            ban: self.channel_ban(channel, user),
            owner: channel.created_by == Some(user),
            with_id: true,
        })
    }

    /// The memberships of a channel as a viewer sees them, oldest first.
    pub(crate) fn members_of<'a>(
        &'a self,
        channel: &'a Channel,
        viewer: Viewer,
    ) -> impl Iterator<Item = MemberView<'a>> {
        channel
            .members
            .iter()
            .map(move |(user, member)| MemberView {
                member,
                user: self.view(user, viewer, UserShape::Common),
                ban: self.channel_ban(channel, user),
                owner: channel.created_by == Some(user),
                with_id: true,
            })
    }

    /// A channel with its members, as a viewer sees it in an event.
    pub(crate) fn event_channel<'a>(&'a self, key: ChannelKey, viewer: Viewer) -> ChannelView<'a> {
        ChannelView {
            state: self,
            channel: self
                .channels
                .get(key)
                .expect("the event is about a channel"),
            viewer,
            capabilities: None,
            with_members: true,
            deleted_at: None,
        }
    }
}

/// A member's read state: when they last read, and how many messages are unread.
#[derive(Debug, Serialize)]
pub(crate) struct ReadView<'a> {
    pub(crate) user: UserView<'a>,
    pub(crate) last_read: String,
    pub(crate) unread_messages: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_read_message_id: Option<&'a str>,
}
