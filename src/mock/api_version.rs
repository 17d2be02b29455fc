//! The two dialects of the API. Under `/api/v2`, custom fields are nested under `custom` in both directions, and times
//! in answers and events are integer nanoseconds. The rules have one dialect, the flat one; this file translates.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Map, Value};

use super::encoded_frame::EncodedFrame;

/// How bodies and events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiVersion {
    /// Custom fields beside the built-in ones, times as text.
    V1,
    /// Custom fields under `custom`, times as nanoseconds.
    V2,
}

/// What a value is an instance of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectKind {
    User,
    Channel,
    Member,
    Event,
    Message,
    /// An object or a list that holds more of these, and no custom fields of its own.
    Holder,
}

/// The fields of users that are not custom.
const USER_FIELDS: &[&str] = &[
    "id",
    "role",
    "name",
    "image",
    "language",
    "teams",
    "teams_role",
    "created_at",
    "updated_at",
    "last_active",
    "deactivated_at",
    "deleted_at",
    "banned",
    "online",
    "blocked_user_ids",
    "invisible",
    "privacy_settings",
    "revoke_tokens_issued_before",
    "shadow_banned",
    "devices",
    "mutes",
    "channel_mutes",
    "unread_count",
    "total_unread_count",
    "unread_channels",
    "unread_threads",
    "ban_expires",
];

/// The fields of channels that are not custom.
const CHANNEL_FIELDS: &[&str] = &[
    "id",
    "type",
    "cid",
    "last_message_at",
    "created_at",
    "updated_at",
    "deleted_at",
    "created_by",
    "frozen",
    "disabled",
    "team",
    "members",
    "member_count",
    "config",
    "own_capabilities",
    "hidden",
    "cooldown",
    "auto_translation_enabled",
    "auto_translation_language",
    "filter_tags",
    "truncated_at",
    "truncated_by",
    "muted",
    "blocked",
];

/// The fields of memberships that are not custom.
const MEMBER_FIELDS: &[&str] = &[
    "user_id",
    "user",
    "status",
    "invited",
    "invite_accepted_at",
    "invite_rejected_at",
    "role",
    "channel_role",
    "is_moderator",
    "banned",
    "shadow_banned",
    "notifications_muted",
    "pinned_at",
    "archived_at",
    "created_at",
    "updated_at",
];

/// The fields of events that are not custom.
const EVENT_FIELDS: &[&str] = &[
    "type",
    "cid",
    "channel_type",
    "channel_id",
    "channel",
    "channel_member_count",
    "member",
    "user",
    "created_at",
    "watcher_count",
    "hard_delete",
    "mark_messages_deleted",
    "delete_conversation_channels",
    "delete_user",
    "delete_messages",
    "delete_conversation",
    "clear_history",
    "message",
    "message_id",
    "me",
    "created_by",
    "reason",
    "expiration",
    "shadow",
    "first_unread_message_id",
    "last_read_message_id",
    "last_read_at",
    "unread_messages",
    "unread_count",
    "total_unread_count",
    "unread_channels",
    "unread_threads",
    "thread_id",
    "thread",
    "connection_id",
    "error",
    "parent_id",
];

/// The fields of messages that are not custom.
const MESSAGE_FIELDS: &[&str] = &[
    "id",
    "text",
    "html",
    "type",
    "cid",
    "user",
    "attachments",
    "mentioned_users",
    "latest_reactions",
    "own_reactions",
    "restricted_visibility",
    "reaction_counts",
    "reaction_scores",
    "reaction_groups",
    "reply_count",
    "deleted_reply_count",
    "parent_id",
    "show_in_channel",
    "silent",
    "shadowed",
    "mentioned_channel",
    "mentioned_here",
    "pinned",
    "pinned_at",
    "pinned_by",
    "pin_expires",
    "created_at",
    "updated_at",
    "deleted_at",
    "channel",
    "member",
    "quoted_message_id",
];

impl ObjectKind {
    fn of(field: &str) -> Option<Self> {
        Some(match field {
            "user" | "created_by" | "me" | "users" | "watchers" | "own_user" | "target"
            | "banned_by" | "blocked_user" | "mentioned_users" | "pinned_by" | "truncated_by" => {
                Self::User
            }
            "channel" => Self::Channel,
            "member" | "members" | "membership" | "channel_member" => Self::Member,
            "event" | "events" => Self::Event,
            "message" | "messages" | "pinned_messages" | "parent_message" | "latest_replies" => {
                Self::Message
            }
            "channels"
            | "read"
            | "config"
            | "channel_types"
            | "result"
            | "mute"
            | "mutes"
            | "channel_mute"
            | "channel_mutes"
            | "bans"
            | "blocks"
            | "devices"
            | "command"
            | "commands"
            | "blocklist"
            | "blocklists"
            | "role"
            | "roles"
            | "counts_by_user"
            | "thread"
            | "threads"
            | "thread_participants" => Self::Holder,
            _ => return None,
        })
    }

    const fn fields(self) -> Option<&'static [&'static str]> {
        match self {
            Self::User => Some(USER_FIELDS),
            Self::Channel => Some(CHANNEL_FIELDS),
            Self::Member => Some(MEMBER_FIELDS),
            Self::Event => Some(EVENT_FIELDS),
            Self::Message => Some(MESSAGE_FIELDS),
            Self::Holder => None,
        }
    }
}

impl ApiVersion {
    /// A request's body as the rules read it.
    pub(crate) fn request(
        self,
        mut body: Map<String, Value>,
        defaults: &[(&str, &str)],
    ) -> Map<String, Value> {
        if self == Self::V2 {
            if defaults
                .first()
                .is_some_and(|(field, _)| !body.contains_key(*field))
            {
                for (field, json) in defaults {
                    let value = serde_json::from_str(json).expect("defaults are JSON");
                    body.entry(*field).or_insert(value);
                }
            }
            for (field, value) in &mut body {
                // Conditions and changes name fields; they hold no objects of the service.
                if !matches!(
                    field.as_str(),
                    "filter_conditions" | "set" | "sort" | "result"
                ) {
                    flatten(field, value);
                }
            }
        }
        body
    }

    /// An event of the rules as a socket reads it. A text that is not an event is left alone.
    pub(crate) fn event(self, frame: &Bytes) -> Bytes {
        match self {
            Self::V1 => frame.clone(),
            Self::V2 => match serde_json::from_slice(frame) {
                Ok(mut event @ Value::Object(_)) => {
                    each(&mut event, ObjectKind::Event, false);
                    event.to_string().into()
                }
                _ => frame.clone(),
            },
        }
    }

    /// An answer of the rules as the caller reads it.
    pub(crate) fn answer(self, text: String) -> String {
        match self {
            Self::V1 => text,
            Self::V2 => {
                let mut value: Value =
                    serde_json::from_str(&text).expect("answers are written as JSON");
                nest_within(&mut value);
                value.to_string()
            }
        }
    }
}

/// The prefix of a custom field whose name is also the name of a built-in field.
///
/// Only a v2 request can have both. Beside the built-in field, the custom one needs another name.
const CUSTOM_PREFIX: &str = "custom.";

/// Moves what is under `custom` beside the rest, here and in everything inside, but not inside custom data.
fn flatten(field: &str, value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|item| flatten(field, item)),
        Value::Object(fields) => {
            let custom = match fields.shift_remove("custom") {
                Some(Value::Object(custom)) => Some(custom),
                Some(other) => {
                    fields.insert("custom".to_owned(), other);
                    None
                }
                None => None,
            };
            // Users are a map by id, so a user's own key says nothing.
            let is_map = field == "users" && custom.is_none();
            for (name, value) in fields.iter_mut() {
                if name != "set" {
                    flatten(if is_map { field } else { name }, value);
                }
            }
            let built_in = match field {
                "users" | "user" | "user_details" | "created_by" => USER_FIELDS,
                "data" => CHANNEL_FIELDS,
                _ => &[],
            };
            for (name, value) in custom.into_iter().flatten() {
                if built_in.contains(&name.as_str()) {
                    fields.insert(format!("{CUSTOM_PREFIX}{name}"), value);
                } else {
                    fields.entry(name).or_insert(value);
                }
            }
        }
        _ => {}
    }
}

/// Translates the fields of an object that has no custom data of its own.
fn nest_within(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(nest_within),
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                translate(field, value);
            }
        }
        _ => {}
    }
}

/// Translates one field by its name.
fn translate(field: &str, value: &mut Value) {
    if let Some(kind) = ObjectKind::of(field) {
        each(value, kind, field == "users");
    } else if is_time(field)
        && let Value::String(text) = &*value
    {
        *value = nanoseconds(text);
    }
}

/// Translates an instance, a list of them, or (for users by id) a map of them.
fn each(value: &mut Value, kind: ObjectKind, may_be_map: bool) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|item| each(item, kind, false)),
        Value::Object(fields) if may_be_map => {
            fields.values_mut().for_each(|item| each(item, kind, false));
        }
        Value::Object(fields) => match kind.fields() {
            Some(known) => {
                nest(fields, known);
                if kind == ObjectKind::User {
                    // Required here, even of somebody about whom the caller may not know.
                    for flag in ["shadow_banned", "invisible"] {
                        fields.entry(flag).or_insert(Value::Bool(false));
                    }
                }
            }
            None => {
                for (field, value) in fields.iter_mut() {
                    match value {
                        // A type by its name.
                        Value::Object(_) if ObjectKind::of(field).is_none() => nest_within(value),
                        _ => translate(field, value),
                    }
                }
            }
        },
        _ => {}
    }
}

fn nest(fields: &mut Map<String, Value>, known: &[&str]) {
    let mut custom = Map::new();
    let mut rest = Map::with_capacity(fields.len());
    for (field, mut value) in std::mem::take(fields) {
        if known.contains(&field.as_str()) {
            translate(&field, &mut value);
            rest.insert(field, value);
        } else {
            let name = field.strip_prefix(CUSTOM_PREFIX).unwrap_or(&field);
            custom.insert(name.to_owned(), value);
        }
    }
    rest.insert("custom".to_owned(), custom.into());
    *fields = rest;
}

fn is_time(field: &str) -> bool {
    field.ends_with("_at")
        || matches!(
            field,
            "last_active"
                | "last_read"
                | "revoke_tokens_issued_before"
                | "ban_expires"
                | "pin_expires"
                | "expires"
                | "expiration"
        )
}

/// A time as nanoseconds since the epoch; one from before that can be counted is none at all.
fn nanoseconds(text: &str) -> Value {
    DateTime::parse_from_rfc3339(text).ok().map_or_else(
        || text.into(),
        |time| time.timestamp_nanos_opt().unwrap_or(0).into(),
    )
}

/// An event as a frame in each dialect. A frame is made when the first receiver needs it.
#[derive(Debug)]
pub(crate) struct EventFrames {
    event: Bytes,
    flat: Option<Arc<EncodedFrame>>,
    nested: Option<Arc<EncodedFrame>>,
}

impl EventFrames {
    /// The frames of an event in the flat dialect.
    pub(crate) const fn new(event: Bytes) -> Self {
        Self {
            event,
            flat: None,
            nested: None,
        }
    }

    /// The event in the dialect of a socket.
    pub(crate) fn get(&mut self, version: ApiVersion) -> Arc<EncodedFrame> {
        let frame = match version {
            ApiVersion::V1 => &mut self.flat,
            ApiVersion::V2 => &mut self.nested,
        };
        frame
            .get_or_insert_with(|| EncodedFrame::new(version.event(&self.event)))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn custom_data_is_lifted_out_of_requests() {
        let body: Map<String, Value> = serde_json::from_value(json!({
            "users": {"a": {"id": "a", "custom": {"color": "green", "custom": {"deep": 1}}}},
            "data": {"members": [{"user_id": "b", "custom": {"hat": 1}}], "custom": {"name": "N"}},
            "filter_conditions": {"custom": {"x": 1}},
            "set": {"custom": {"y": 1}}
        }))
        .unwrap();
        assert_eq!(
            Value::from(ApiVersion::V2.request(body.clone(), &[])),
            json!({
                "users": {"a": {"id": "a", "color": "green", "custom": {"deep": 1}}},
                "data": {"members": [{"user_id": "b", "hat": 1}], "name": "N"},
                "filter_conditions": {"custom": {"x": 1}},
                "set": {"custom": {"y": 1}}
            })
        );
        assert_eq!(ApiVersion::V1.request(body.clone(), &[]), body);
    }

    #[test]
    fn answers_nest_custom_data_and_count_time() {
        let text = json!({
            "users": {"a": {"id": "a", "color": "green", "created_at": "1970-01-01T00:00:01.5Z"}},
            "channels": [{
                "channel": {"cid": "x:y", "name": "N", "created_by": {"id": "a", "status": "s"}},
                "members": [{"user_id": "a", "hat": 1, "user": {"id": "a"}}],
                "read": [{"user": {"id": "a"}, "last_read": "0001-01-01T00:00:00Z"}]
            }],
            "duration": "1ms"
        })
        .to_string();
        let answer: Value = serde_json::from_str(&ApiVersion::V2.answer(text.clone())).unwrap();
        assert_eq!(
            answer,
            json!({
                "users": {"a": {"id": "a", "created_at": 1_500_000_000, "custom": {"color": "green"}, "shadow_banned": false, "invisible": false}},
                "channels": [{
                    "channel": {"cid": "x:y", "created_by": {"id": "a", "custom": {"status": "s"}, "shadow_banned": false, "invisible": false}, "custom": {"name": "N"}},
                    "members": [{"user_id": "a", "user": {"id": "a", "custom": {}, "shadow_banned": false, "invisible": false}, "custom": {"hat": 1}}],
                    "read": [{"user": {"id": "a", "custom": {}, "shadow_banned": false, "invisible": false}, "last_read": 0}]
                }],
                "duration": "1ms"
            })
        );
        assert_eq!(ApiVersion::V1.answer(text.clone()), text);
    }

    #[test]
    fn an_event_is_translated_and_encoded_once_for_all_receivers() {
        let event = r#"{"type":"user.updated","user":{"id":"a","color":"green"},"mood":1}"#;
        let mut frames = EventFrames::new(event.into());
        let (flat, nested) = (frames.get(ApiVersion::V1), frames.get(ApiVersion::V2));
        assert!(Arc::ptr_eq(&flat, &frames.get(ApiVersion::V1)));
        assert!(Arc::ptr_eq(&nested, &frames.get(ApiVersion::V2)));
        assert_eq!(flat.text(), event.as_bytes());
        let told: Value = serde_json::from_slice(nested.text()).unwrap();
        assert_eq!(told["user"]["custom"], json!({"color": "green"}));
        assert_eq!(told["custom"], json!({"mood": 1}));
        let garbage = EventFrames::new("no event".into()).get(ApiVersion::V2);
        assert_eq!(garbage.text(), b"no event");
    }
}
