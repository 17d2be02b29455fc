//! Channel types: the five built-in ones, and those that the application creates.
//!
//! A type is a configuration. The rules depend on its `connect_events` only.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::requests::JsonObject;
use super::rfc3339::Rfc3339;
use crate::mock::error::{Rejection, shortened};

/// The names of the built-in types.
const BUILT_IN_TYPES: [&str; 5] = ["messaging", "livestream", "team", "gaming", "commerce"];

/// The grants of each role, as responses list them. The rules do not use them.
const DEFAULT_GRANTS: [(&str, &[&str]); 5] = [
    (
        "admin",
        &[
            "create-channel",
            "read-channel",
            "update-channel",
            "delete-channel",
        ],
    ),
    ("user", &["create-channel"]),
    ("guest", &[]),
    (
        "channel_member",
        &["read-channel", "create-message", "leave-channel-member"],
    ),
    (
        "channel_moderator",
        &["read-channel", "create-message", "update-channel-members"],
    ),
];

/// A channel type.
#[derive(Debug, Clone)]
pub(crate) struct ChannelType {
    name: String,
    created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    config: Map<String, Value>,
    grants: Value,
}

impl ChannelType {
    pub(crate) fn new(name: &str, now: DateTime<Utc>) -> Self {
        let mut config = Map::new();
        for on in [
            "typing_events",
            "read_events",
            "connect_events",
            "search",
            "reactions",
            "replies",
            "quotes",
            "mutes",
            "uploads",
            "url_enrichment",
            "custom_events",
        ] {
            config.insert(on.to_owned(), true.into());
        }
        // Delivery events stay off. Otherwise clients would report deliveries of messages, which the mock does not
        // have.
        for off in [
            "delivery_events",
            "push_notifications",
            "reminders",
            "mark_messages_pending",
            "polls",
            "user_message_reminders",
            "shared_locations",
            "count_messages",
            "skip_last_msg_update_for_system_msgs",
        ] {
            config.insert(off.to_owned(), false.into());
        }
        for (key, value) in [
            ("message_retention", json!("infinite")),
            ("max_message_length", json!(5000)),
            ("automod", json!("disabled")),
            ("automod_behavior", json!("flag")),
            ("blocklist_behavior", json!("flag")),
            ("partition_size", json!(0)),
            ("push_level", json!("all")),
            ("commands", json!([])),
        ] {
            config.insert(key.to_owned(), value);
        }
        Self {
            name: name.to_owned(),
            created_at: now,
            updated_at: now,
            config,
            grants: json!(DEFAULT_GRANTS.iter().copied().collect::<BTreeMap<_, _>>()),
        }
    }

    /// Whether starting and stopping to watch is announced.
    pub(crate) fn has_connect_events(&self) -> bool {
        self.config.get("connect_events") != Some(&Value::Bool(false))
    }

    pub(crate) fn write(&mut self, changes: JsonObject) -> Result<(), Rejection> {
        for (key, value) in changes {
            // Typed clients send empty values for what they do not set.
            let is_unset = value.is_null() || (key == "partition_ttl" && value == "");
            match key.as_str() {
                _ if is_unset => {}
                "name" | "created_at" | "updated_at" => {}
                "grants" => self.grants = value,
                "commands" => {
                    // Commands are set as names and returned as objects.
                    let commands = value
                        .as_array()
                        .ok_or_else(|| Rejection::field("commands", "must be a list"))?
                        .iter()
                        .map(|command| match command {
                            Value::String(name) => {
                                json!({"name": name, "description": "", "args": "", "set": ""})
                            }
                            other => other.clone(),
                        })
                        .collect();
                    self.config.insert(key, Value::Array(commands));
                }
                _ => {
                    let fits = self.config.get(&key).is_none_or(|old| {
                        std::mem::discriminant(old) == std::mem::discriminant(&value)
                    });
                    if !fits {
                        return Err(Rejection::field(key, "has the wrong type"));
                    }
                    self.config.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// The type in answers to whoever reads it.
    pub(crate) const fn view(&self) -> ChannelTypeView<'_> {
        ChannelTypeView {
            channel_type: self,
            with_grants: true,
            with_command_names: false,
        }
    }

    /// The type in answers to whoever writes it, who gives its commands by name.
    pub(crate) const fn written(&self) -> ChannelTypeView<'_> {
        ChannelTypeView {
            with_command_names: true,
            ..self.view()
        }
    }

    /// The configuration, as channels contain it.
    pub(crate) const fn config(&self) -> ChannelTypeView<'_> {
        ChannelTypeView {
            with_grants: false,
            ..self.view()
        }
    }
}

/// A type, as it is serialised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelTypeView<'a> {
    channel_type: &'a ChannelType,
    with_grants: bool,
    with_command_names: bool,
}

impl Serialize for ChannelTypeView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = self.channel_type;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("created_at", &Rfc3339(of.created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(of.updated_at))?;
        map.serialize_entry("name", &of.name)?;
        for (key, value) in &of.config {
            match value.as_array() {
                Some(commands) if self.with_command_names && key == "commands" => {
                    let names: Vec<&Value> = commands
                        .iter()
                        .map(|command| command.get("name").unwrap_or(command))
                        .collect();
                    map.serialize_entry(key, &names)?;
                }
                _ => map.serialize_entry(key, value)?,
            }
        }
        if self.with_grants {
            map.serialize_entry("permissions", &[(); 0])?;
            map.serialize_entry("grants", &of.grants)?;
        }
        map.end()
    }
}

/// All channel types by name. A type is replaced as a whole, so states share those that nobody has changed.
#[derive(Debug, Clone)]
pub(crate) struct ChannelTypes(BTreeMap<String, Arc<ChannelType>>);

static BUILT_IN: LazyLock<ChannelTypes> = LazyLock::new(|| {
    let built_in = BUILT_IN_TYPES.into_iter().map(|name| {
        let channel_type = ChannelType::new(name, DateTime::UNIX_EPOCH);
        (name.to_owned(), Arc::new(channel_type))
    });
    ChannelTypes(built_in.collect())
});

impl Default for ChannelTypes {
    fn default() -> Self {
        BUILT_IN.clone()
    }
}

impl ChannelTypes {
    /// A type by name.
    pub(crate) fn get(&self, name: &str) -> Result<&ChannelType, Rejection> {
        self.0.get(name).map(|found| &**found).ok_or_else(|| {
            Rejection::not_found(format!("channel type {:?} does not exist", shortened(name)))
        })
    }

    /// All types, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ChannelType)> {
        self.0
            .iter()
            .map(|(name, channel_type)| (name.as_str(), &**channel_type))
    }

    /// Adds or replaces a type.
    pub(crate) fn insert(&mut self, name: &str, channel_type: ChannelType) {
        self.0.insert(name.to_owned(), Arc::new(channel_type));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }
}
