//! A membership as a viewer sees it, and its fields for filters.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::mock::engine::data::filter::{FieldType, FieldValue, FilterRow, custom};
use crate::mock::engine::data::members::{ChannelMember, Invite, MODERATOR_ROLE};
use crate::mock::engine::data::relations::Ban;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::user_view::UserView;
use crate::mock::error::Rejection;

/// A membership, as a viewer sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberView<'a> {
    pub(crate) member: &'a ChannelMember,
    pub(crate) user: UserView<'a>,
    /// Their ban of this channel.
    pub(crate) ban: Option<&'a Ban>,
    /// Whether the user created the channel.
    pub(crate) owner: bool,
    /// Whether `user_id` is included. The service leaves it out of the caller's own `membership`.
    pub(crate) with_id: bool,
}

impl MemberView<'_> {
    fn role(&self) -> &'static str {
        if self.owner {
            "owner"
        } else if self.user.user.profile.role == "admin" {
            "admin"
        } else if self.member.channel_role == MODERATOR_ROLE {
            "moderator"
        } else {
            "member"
        }
    }
}

impl Serialize for MemberView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let member = self.member;
        let mut map = serializer.serialize_map(None)?;
        if self.with_id {
            map.serialize_entry("user_id", &*self.user.user.id)?;
        }
        map.serialize_entry("user", &self.user)?;
        for (field, value) in &member.custom {
            map.serialize_entry(field, value)?;
        }
        map.serialize_entry("status", member.invite.map_or("member", Invite::word))?;
        if let Some(invite) = member.invite {
            map.serialize_entry("invited", &true)?;
            match invite {
                Invite::Pending => {}
                Invite::Accepted(at) => map.serialize_entry("invite_accepted_at", &Rfc3339(at))?,
                Invite::Rejected(at) => map.serialize_entry("invite_rejected_at", &Rfc3339(at))?,
            }
        }
        map.serialize_entry("role", self.role())?;
        map.serialize_entry("channel_role", &member.channel_role)?;
        if member.channel_role == MODERATOR_ROLE {
            map.serialize_entry("is_moderator", &true)?;
        }
        map.serialize_entry("banned", &self.ban.is_some_and(|ban| !ban.shadow))?;
        map.serialize_entry("shadow_banned", &self.ban.is_some_and(|ban| ban.shadow))?;
        map.serialize_entry("notifications_muted", &false)?;
        if let Some(at) = member.pinned_at {
            map.serialize_entry("pinned_at", &Rfc3339(at))?;
        }
        if let Some(at) = member.archived_at {
            map.serialize_entry("archived_at", &Rfc3339(at))?;
        }
        map.serialize_entry("created_at", &Rfc3339(member.created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(member.updated_at))?;
        map.end()
    }
}

impl FilterRow for MemberView<'_> {
    fn field(&self, name: &str) -> FieldValue<'_> {
        match name {
            "id" | "user_id" => FieldValue::Text(&self.user.user.id),
            "name" | "user.name" => self.user.field("name"),
            "user.id" => self.user.field("id"),
            "user.role" => self.user.field("role"),
            "channel_role" => FieldValue::Text(&self.member.channel_role),
            "created_at" => FieldValue::Time(self.member.created_at),
            "updated_at" => FieldValue::Time(self.member.updated_at),
            "last_active" => self.user.field("last_active"),
            "banned" => FieldValue::Flag(self.ban.is_some_and(|ban| !ban.shadow)),
            "invite" => self.member.invite.map_or(FieldValue::Missing, |invite| {
                FieldValue::Text(invite.word())
            }),
            "joined" => FieldValue::Flag(matches!(
                self.member.invite,
                None | Some(Invite::Accepted(_))
            )),
            other => custom(&self.member.custom, other),
        }
    }
}

/// The fields of members that filters know.
pub(crate) fn schema(field: &str) -> Result<Option<FieldType>, Rejection> {
    Ok(match field {
        "id" | "user_id" | "name" | "user.name" | "user.id" | "user.role" | "channel_role"
        | "invite" => Some(FieldType::Text),
        "created_at" | "updated_at" | "last_active" => Some(FieldType::Time),
        "banned" | "joined" => Some(FieldType::Flag),
        _ => None,
    })
}
