//! Parsing of channel data in requests: built-in fields, custom fields, and members in both spellings.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde_json::{Map, Value};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::members::ChannelMember;
use crate::mock::engine::data::requests::UserRef;
use crate::mock::error::Rejection;

/// How many members or invites one call may name.
pub(crate) const MAX_MEMBERS_PER_CALL: usize = 100;

/// Fields that only the service sets.
pub(crate) const RESERVED_CHANNEL_FIELDS: &[&str] = &[
    "id",
    "type",
    "cid",
    "config",
    "created_at",
    "updated_at",
    "deleted_at",
    "last_message_at",
    "member_count",
    "own_capabilities",
    "truncated_at",
];

/// Fields of a membership that only the service sets. Clients send them back with what they have read.
pub(crate) const RESERVED_MEMBER_FIELDS: &[&str] = &[
    "user_id",
    "user",
    "created_at",
    "updated_at",
    "status",
    "role",
    "banned",
    "ban_expires",
    "shadow_banned",
    "notifications_muted",
    "invited",
    "invite_accepted_at",
    "invite_rejected_at",
    "is_moderator",
    "pinned_at",
    "archived_at",
];

/// The id of the distinct channel of a set of members, independent of their order.
pub(crate) fn distinct_id(members: &[UserRef]) -> Result<String, Rejection> {
    let mut ids = members
        .iter()
        .map(UserRef::id)
        .collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < 2 {
        return Err(Rejection::input(
            "a distinct channel needs at least 2 members in data.members",
        ));
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, ids.join(",").as_bytes());
    Ok(format!("!members-{}", URL_SAFE_NO_PAD.encode(digest)))
}

/// Parses the membership that a member object describes.
pub(crate) fn parse_membership(user: &UserRef) -> Result<ChannelMember, Rejection> {
    let mut member = ChannelMember::new(DateTime::UNIX_EPOCH);
    if let UserRef::Object(fields) = user {
        for (field, value) in fields {
            match (field.as_str(), value) {
                ("id", _) => {}
                // Typed clients send every field of a member, most of them null.
                (reserved, _) if RESERVED_MEMBER_FIELDS.contains(&reserved) => {}
                ("channel_role", Value::String(role)) if !role.is_empty() => {
                    member.channel_role.clone_from(role);
                }
                // The Go SDK always sends the field, empty if it has no value.
                ("channel_role", Value::Null | Value::String(_)) => {}
                ("channel_role", _) => {
                    return Err(Rejection::field("channel_role", "must be a string"));
                }
                _ => {
                    member.custom.insert(field.clone(), value.clone());
                }
            }
        }
    }
    Ok(member)
}

/// Parses a list of users of any length, for fixtures.
pub(crate) fn long_user_list(value: Option<Value>, what: &str) -> Result<Vec<UserRef>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => serde_json::from_value(value)
            .map_err(|_| Rejection::field(format!("data.{what}"), "must be a list of users")),
    }
}

/// Parses a list of users from channel data.
pub(crate) fn user_list(value: Option<Value>, what: &str) -> Result<Vec<UserRef>, Rejection> {
    let list = long_user_list(value, what)?;
    if list.len() > MAX_MEMBERS_PER_CALL {
        return Err(Rejection::field(
            format!("data.{what}"),
            &format!("must hold at most {MAX_MEMBERS_PER_CALL} users"),
        ));
    }
    Ok(list)
}

/// Sets channel data: built-in fields by name, everything else as custom data.
pub(crate) fn write_data(
    channel: &mut Channel,
    data: Map<String, Value>,
    limit: usize,
) -> Result<(), Rejection> {
    for (field, value) in data {
        let name = || format!("data.{field}");
        if RESERVED_CHANNEL_FIELDS.contains(&field.as_str()) {
            return Err(Rejection::field(name(), "is a reserved field"));
        }
        match (field.as_str(), value) {
            // Typed clients send null for what they do not set.
            (
                "frozen"
                | "disabled"
                | "cooldown"
                | "auto_translation_enabled"
                | "auto_translation_language"
                | "config_overrides",
                Value::Null,
            ) => {}
            ("frozen", Value::Bool(flag)) => channel.frozen = flag,
            ("disabled", Value::Bool(flag)) => channel.disabled = flag,
            ("frozen" | "disabled", _) => {
                return Err(Rejection::field(name(), "must be a boolean"));
            }
            ("filter_tags", Value::Null) => channel.filter_tags = None,
            ("filter_tags", tags) => {
                let tags = serde_json::from_value(tags)
                    .map_err(|_| Rejection::field(name(), "must be a list of strings"))?;
                channel.filter_tags = Some(tags);
            }
            ("team", Value::String(team)) => channel.team = (!team.is_empty()).then_some(team),
            ("team", Value::Null) => channel.team = None,
            ("team", _) => return Err(Rejection::field(name(), "must be a string")),
            (_, value) => {
                channel.custom.insert(field, value);
            }
        }
    }
    let size = serde_json::to_string(&channel.custom).map_or(0, |text| text.len());
    if size > limit {
        return Err(Rejection::input(format!(
            "custom data of the channel is {size} bytes, and at most {limit} are allowed"
        )));
    }
    Ok(())
}
