//! Lists that the service keeps for the application and the mock only stores: commands, block lists, roles.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::mock::engine::data::requests::JsonObject;
use crate::mock::engine::data::rfc3339::Rfc3339;

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoredList {
    Commands,
    BlockLists,
    Roles,
}

/// The commands that every application has.
const BUILT_IN_COMMANDS: [&str; 6] = ["giphy", "flag", "ban", "unban", "mute", "unmute"];

/// The block lists that every application has. Their words are the service's own.
const BUILT_IN_BLOCK_LISTS: [&str; 2] = ["profanity", "profanity_en_2020_v1"];

/// The roles that every application has.
const BUILT_IN_ROLES: [&str; 7] = [
    "admin",
    "anonymous",
    "channel_member",
    "channel_moderator",
    "guest",
    "moderator",
    "user",
];

impl StoredList {
    /// What an entry is called in responses.
    pub(crate) const fn entry(self) -> &'static str {
        match self {
            Self::Commands => "command",
            Self::BlockLists => "blocklist",
            Self::Roles => "role",
        }
    }

    /// What the list is called in responses.
    pub(crate) const fn list(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::BlockLists => "blocklists",
            Self::Roles => "roles",
        }
    }

    const fn built_in(self) -> &'static [&'static str] {
        match self {
            Self::Commands => &BUILT_IN_COMMANDS,
            Self::BlockLists => &BUILT_IN_BLOCK_LISTS,
            Self::Roles => &BUILT_IN_ROLES,
        }
    }

    /// Whether an entry belongs to the service and cannot be changed.
    pub(crate) fn is_built_in(self, name: &str) -> bool {
        self.built_in().contains(&name)
    }

    /// An entry with the fields that every entry of the list has.
    pub(crate) fn new_entry(self, name: &str, fields: JsonObject, now: DateTime<Utc>) -> Value {
        let time = Rfc3339(now).to_string();
        let mut entry = Map::from_iter([("name".to_owned(), Value::from(name))]);
        let defaults = match self {
            Self::Commands => json!({"description": "", "args": "", "set": ""}),
            Self::BlockLists => json!({"type": "word", "words": []}),
            Self::Roles => json!({"custom": !self.is_built_in(name), "scopes": [".app"]}),
        };
        if let Value::Object(defaults) = defaults {
            entry.extend(defaults);
        }
        entry.extend(fields.into_iter().filter(|(field, _)| field != "name"));
        entry.insert("created_at".to_owned(), time.clone().into());
        entry.insert("updated_at".to_owned(), time.into());
        entry.into()
    }
}

/// The lists.
#[derive(Debug, Default)]
pub(crate) struct StoredLists {
    entries: BTreeMap<StoredList, BTreeMap<String, Value>>,
}

impl StoredLists {
    /// All entries, with those that every application has.
    pub(crate) fn all(&self, list: StoredList) -> Vec<Value> {
        let built_in = list
            .built_in()
            .iter()
            .map(|name| list.new_entry(name, Map::new(), DateTime::UNIX_EPOCH));
        let own = self
            .entries
            .get(&list)
            .into_iter()
            .flat_map(BTreeMap::values);
        built_in.chain(own.cloned()).collect()
    }

    pub(crate) fn get(&self, list: StoredList, name: &str) -> Option<Value> {
        if list.is_built_in(name) {
            return Some(list.new_entry(name, Map::new(), DateTime::UNIX_EPOCH));
        }
        self.entries.get(&list)?.get(name).cloned()
    }

    pub(crate) fn put(&mut self, list: StoredList, name: &str, entry: Value) {
        self.entries
            .entry(list)
            .or_default()
            .insert(name.to_owned(), entry);
    }

    /// Removes an entry. False if there is none.
    pub(crate) fn remove(&mut self, list: StoredList, name: &str) -> bool {
        self.entries
            .get_mut(&list)
            .is_some_and(|entries| entries.remove(name).is_some())
    }
}
