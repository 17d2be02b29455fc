//! Operations on the lists that the mock only stores: commands, block lists, roles.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::mock::engine::data::requests::{JsonObject, Reply};
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::stored_lists::StoredList;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::{Rejection, shortened};

impl ServiceState {
    /// All entries.
    pub(crate) fn list_entries(&self, actor: &Actor, list: StoredList) -> Result<Reply, Rejection> {
        actor.server_only()?;
        Ok(Reply::new(&json!({list.list(): self.lists.all(list)})))
    }

    /// One entry. Commands are answered without an envelope.
    pub(crate) fn get_entry(
        &self,
        actor: &Actor,
        list: StoredList,
        name: &str,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let entry = self
            .lists
            .get(list, name)
            .ok_or_else(|| unknown(list, name))?;
        Ok(match list {
            StoredList::Commands => Reply::new(&entry),
            _ => Reply::new(&json!({list.entry(): entry})),
        })
    }

    /// Adds an entry.
    pub(crate) fn create_entry(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        list: StoredList,
        fields: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let name = match fields.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            _ => return Err(Rejection::input("name is a required field")),
        };
        if self.lists.get(list, &name).is_some() {
            return Err(Rejection::input(format!(
                "{} {:?} already exists",
                list.entry(),
                shortened(&name)
            )));
        }
        let entry = list.new_entry(&name, fields, stored(now));
        self.lists.put(list, &name, entry.clone());
        Ok(Reply::new(&json!({list.entry(): entry})))
    }

    /// Changes an entry.
    pub(crate) fn update_entry(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        list: StoredList,
        name: &str,
        fields: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let old = self.own_entry(list, name, "update")?;
        let mut entry = list.new_entry(name, fields, stored(now));
        for (field, value) in old.as_object().into_iter().flatten() {
            if field == "created_at" || entry[field].is_null() {
                entry[field] = value.clone();
            }
        }
        self.lists.put(list, name, entry.clone());
        Ok(Reply::new(&json!({list.entry(): entry})))
    }

    /// Removes an entry.
    pub(crate) fn delete_entry(
        &mut self,
        actor: &Actor,
        list: StoredList,
        name: &str,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        self.own_entry(list, name, "delete")?;
        self.lists.remove(list, name);
        let mut answer = Map::new();
        if list == StoredList::Commands {
            answer.insert("name".to_owned(), name.into());
        }
        Ok(Reply::new(&answer))
    }

    /// An entry that the application made itself.
    fn own_entry(&self, list: StoredList, name: &str, verb: &str) -> Result<Value, Rejection> {
        let entry = self
            .lists
            .get(list, name)
            .ok_or_else(|| unknown(list, name))?;
        if list.is_built_in(name) {
            let what = match list {
                StoredList::BlockLists => "block list",
                other => other.entry(),
            };
            return Err(Rejection::input(format!(
                "cannot {verb} the builtin {what} {name:?}"
            )));
        }
        Ok(entry)
    }
}

fn unknown(list: StoredList, name: &str) -> Rejection {
    Rejection::not_found(format!(
        "{} {:?} does not exist",
        list.entry(),
        shortened(name)
    ))
}
