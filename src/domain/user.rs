//! A user object of the service: all its fields, with typed access to the ones that this program uses.
//!
//! The service adds fields, applications add custom ones at the same level, and scripts want all of them. So a user is
//! kept as its JSON object, in the service's order. Other code calls [`User::presence`] and does not read `["online"]`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::presence::{Presence, PresenceField};

/// A user object, complete, in the order in which the service sent its fields.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct User {
    fields: Map<String, Value>,
}

impl User {
    /// Wraps an object. The service always sends `id`; an object without one has the empty id.
    pub const fn new(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// The user's id; `""` if the object has none.
    pub fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// The display name, if one was set.
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// The role, such as `user` or `admin`.
    pub fn role(&self) -> Option<&str> {
        self.text("role")
    }

    /// The presence fields.
    pub fn presence(&self) -> Presence {
        Presence {
            online: self.flag("online"),
            invisible: self.flag("invisible"),
            status: self.text("status").map(str::to_owned),
            last_active: self.text("last_active").map(str::to_owned),
        }
    }

    /// Any field by name.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// All fields, in the service's order.
    pub const fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The user with all fields that every record promises: `online`, `status`, `last_active` and `invisible`. An unknown
    /// one is `null`.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        for field in [
            PresenceField::Online,
            PresenceField::Status,
            PresenceField::LastActive,
            PresenceField::Invisible,
        ] {
            if !self.fields.contains_key(field.name()) {
                self.fields.insert(field.name().to_owned(), Value::Null);
            }
        }
        self
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    fn flag(&self, field: &str) -> Option<bool> {
        self.fields.get(field).and_then(Value::as_bool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalized_adds_only_what_is_missing() {
        let user: User =
            serde_json::from_str(r#"{"id":"john","online":true,"color":"green"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&user.normalized()).unwrap(),
            r#"{"id":"john","online":true,"color":"green","status":null,"last_active":null,"invisible":null}"#
        );
    }
}
