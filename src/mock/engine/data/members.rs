//! The members of one channel, in the order in which they joined.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::mock::engine::data::filter::{FieldType, FieldValue, FilterRow, custom};
use crate::mock::engine::data::relations::Ban;
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::user_view::UserView;
use crate::mock::error::Rejection;

/// The role of a member without an explicit role.
pub(crate) const DEFAULT_ROLE: &str = "channel_member";

/// The role of a moderator.
pub(crate) const MODERATOR_ROLE: &str = "channel_moderator";

/// The state of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invite {
    /// Invited, without an answer yet.
    Pending,
    /// The invitation was accepted.
    Accepted(DateTime<Utc>),
    /// The invitation was rejected.
    Rejected(DateTime<Utc>),
}

impl Invite {
    /// The state's name in the API.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted(_) => "accepted",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// The membership of a user in a channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelMember {
    place: u64,
    pub(crate) channel_role: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) invite: Option<Invite>,
    pub(crate) last_read: Option<DateTime<Utc>>,
    /// The place of the last message that they have read.
    pub(crate) read_up_to: u64,
    pub(crate) pinned_at: Option<DateTime<Utc>>,
    pub(crate) archived_at: Option<DateTime<Utc>>,
    pub(crate) custom: Map<String, Value>,
}

impl ChannelMember {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self {
            place: 0,
            channel_role: DEFAULT_ROLE.to_owned(),
            created_at: now,
            updated_at: now,
            invite: None,
            last_read: None,
            read_up_to: 0,
            pinned_at: None,
            archived_at: None,
            custom: Map::new(),
        }
    }
}

/// The members of a channel, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelMembers {
    by_user: BTreeMap<UserKey, ChannelMember>,
    by_place: BTreeMap<u64, UserKey>,
    next: u64,
}

impl ChannelMembers {
    /// Adds a member. An existing member stays unchanged.
    pub(crate) fn add(&mut self, user: UserKey, mut member: ChannelMember) -> bool {
        if self.by_user.contains_key(&user) {
            return false;
        }
        member.place = self.next;
        self.by_place.insert(self.next, user);
        self.by_user.insert(user, member);
        self.next += 1;
        true
    }

    pub(crate) fn remove(&mut self, user: UserKey) -> Option<ChannelMember> {
        let member = self.by_user.remove(&user)?;
        self.by_place.remove(&member.place);
        Some(member)
    }

    pub(crate) fn contains(&self, user: UserKey) -> bool {
        self.by_user.contains_key(&user)
    }

    pub(crate) fn get(&self, user: UserKey) -> Option<&ChannelMember> {
        self.by_user.get(&user)
    }

    pub(crate) fn get_mut(&mut self, user: UserKey) -> Option<&mut ChannelMember> {
        self.by_user.get_mut(&user)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_user.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = UserKey> + '_ {
        self.by_place.values().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserKey, &ChannelMember)> {
        self.by_place.values().map(|user| {
            let member = self
                .by_user
                .get(user)
                .expect("both maps hold the same users");
            (*user, member)
        })
    }
}

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
