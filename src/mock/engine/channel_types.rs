//! Channel types: the five that are built in, and those that the server side makes. A type is its configuration, of
//! which the rules look at `connect_events` only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::ServiceState;
use super::async_tasks::short;
use super::permissions::Actor;
use super::requests::{JsonObject, Reply};
use super::rfc3339::{Rfc3339, stored};
use crate::domain::ChannelType as ChannelTypeName;
use crate::mock::error::Rejection;

/// The built-in types.
const BUILT_IN_TYPES: [&str; 5] = ["messaging", "livestream", "team", "gaming", "commerce"];

/// One type.
#[derive(Debug, Clone)]
pub(crate) struct ChannelType {
    name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    config: Map<String, Value>,
    grants: Value,
}

impl ChannelType {
    fn new(name: &str, now: DateTime<Utc>) -> Self {
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
        // Delivery events stay off: clients would report deliveries of messages, of which there are none.
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
            ("partition_ttl", json!("")),
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
            grants: json!({}),
        }
    }

    /// Whether watching is announced.
    pub(crate) fn has_connect_events(&self) -> bool {
        self.config.get("connect_events") != Some(&Value::Bool(false))
    }

    fn write(&mut self, changes: JsonObject) -> Result<(), Rejection> {
        for (key, value) in changes {
            match key.as_str() {
                "name" | "created_at" | "updated_at" => {}
                "grants" => self.grants = value,
                "commands" => {
                    // Written as names, read as objects.
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

    fn view(&self, with_grants: bool) -> ChannelTypeView<'_> {
        ChannelTypeView {
            channel_type: self,
            with_grants,
        }
    }

    /// The configuration, as channels carry it.
    pub(crate) fn config(&self) -> ChannelTypeView<'_> {
        self.view(false)
    }
}

/// A type as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelTypeView<'a> {
    channel_type: &'a ChannelType,
    with_grants: bool,
}

impl Serialize for ChannelTypeView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = self.channel_type;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("created_at", &Rfc3339(of.created_at))?;
        map.serialize_entry("updated_at", &Rfc3339(of.updated_at))?;
        map.serialize_entry("name", &of.name)?;
        for (key, value) in &of.config {
            map.serialize_entry(key, value)?;
        }
        if self.with_grants {
            map.serialize_entry("permissions", &[(); 0])?;
            map.serialize_entry("grants", &of.grants)?;
        }
        map.end()
    }
}

/// The types by name.
#[derive(Debug, Clone)]
pub(crate) struct ChannelTypes(BTreeMap<String, ChannelType>);

impl Default for ChannelTypes {
    fn default() -> Self {
        let since = DateTime::UNIX_EPOCH;
        Self(
            BUILT_IN_TYPES
                .into_iter()
                .map(|name| (name.to_owned(), ChannelType::new(name, since)))
                .collect(),
        )
    }
}

impl ChannelTypes {
    /// A type by name.
    pub(crate) fn get(&self, name: &str) -> Result<&ChannelType, Rejection> {
        self.0.get(name).ok_or_else(|| {
            Rejection::not_found(format!("channel type {:?} does not exist", short(name)))
        })
    }
}

impl ServiceState {
    pub(crate) fn list_channel_types(&self, actor: &Actor) -> Result<Reply, Rejection> {
        #[derive(Serialize)]
        struct ChannelTypeListResponse<'a> {
            channel_types: BTreeMap<&'a str, ChannelTypeView<'a>>,
        }
        actor.server_only()?;
        Ok(Reply::new(&ChannelTypeListResponse {
            channel_types: self
                .types
                .0
                .iter()
                .map(|(name, channel_type)| (name.as_str(), channel_type.view(true)))
                .collect(),
        }))
    }

    pub(crate) fn get_channel_type(&self, actor: &Actor, name: &str) -> Result<Reply, Rejection> {
        actor.server_only()?;
        Ok(Reply::new(&self.types.get(name)?.view(true)))
    }

    pub(crate) fn create_channel_type(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        body: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let name = body
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| Rejection::field("name", "is a required field"))?
            .parse::<ChannelTypeName>()
            .map_err(|error| Rejection::input(error.to_string()))?;
        if self.types.0.contains_key(name.as_str()) {
            return Err(Rejection::input(format!(
                "channel type {:?} exists already",
                name.as_str()
            )));
        }
        let mut channel_type = ChannelType::new(name.as_str(), stored(now));
        channel_type.write(body)?;
        let reply = Reply::new(&channel_type.view(true));
        self.types.0.insert(name.into(), channel_type);
        Ok(reply)
    }

    pub(crate) fn update_channel_type(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &str,
        body: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut channel_type = self.types.get(name)?.clone();
        channel_type.write(body)?;
        channel_type.updated_at = stored(now);
        let reply = Reply::new(&channel_type.view(true));
        self.types.0.insert(name.to_owned(), channel_type);
        Ok(reply)
    }

    pub(crate) fn delete_channel_type(
        &mut self,
        actor: &Actor,
        name: &str,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        self.types.get(name)?;
        let used = self
            .channels
            .iter()
            .any(|(_, channel)| channel.channel_type == name);
        if used {
            return Err(Rejection::input(format!(
                "channel type {name:?} still has channels"
            )));
        }
        self.types.0.remove(name);
        Ok(Reply::new(&Map::new()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::mock::engine::requests::Caller;
    use crate::mock::engine::test_support::{TestState, op, user};

    #[test]
    fn a_type_without_connect_events_counts_silently() {
        let mut stage = TestState::new();
        let create = op(
            "POST /channeltypes",
            json!({"name": "quiet", "connect_events": false}),
        );
        let answer = stage.apply(&Caller::Server, create.clone()).unwrap();
        assert_eq!(answer["connect_events"], false);
        assert_eq!(stage.apply(&Caller::Server, create).unwrap_err().code, 4);
        let (a, b) = (stage.connect("a"), stage.connect("b"));
        for (id, key) in [("a", a), ("b", b)] {
            let body = json!({"data": {"members": ["a", "b"]}, "watch": true, "state": true, "connection_id": stage.id(key)});
            let answer = stage.channel(&user(id), "quiet:x", body).unwrap();
            assert_eq!(answer["channel"]["config"]["connect_events"], false);
        }
        assert_eq!(stage.heard(a), ["notification.added_to_channel a"]);
        let delete = op("DELETE /channeltypes/quiet", json!({}));
        assert_eq!(stage.apply(&Caller::Server, delete).unwrap_err().code, 4);
    }

    #[test]
    fn types_are_changed_by_the_server_side_only() {
        let mut stage = TestState::new();
        let update = |value: Value| op("PUT /channeltypes/team", json!({"typing_events": value}));
        assert_eq!(
            stage
                .apply(&user("a"), update(json!(false)))
                .unwrap_err()
                .code,
            17
        );
        assert_eq!(
            stage
                .apply(&Caller::Server, update(json!("no")))
                .unwrap_err()
                .code,
            4
        );
        let answer = stage.apply(&Caller::Server, update(json!(false))).unwrap();
        assert_eq!(answer["typing_events"], false);
        let unknown = op("GET /channeltypes/ghost", json!({}));
        assert_eq!(stage.apply(&Caller::Server, unknown).unwrap_err().code, 16);
    }
}
