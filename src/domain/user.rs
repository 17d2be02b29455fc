//! A user as the service describes one: an open set of fields of which we know five by name.
//!
//! The service adds fields, applications add custom ones at the same level, and scripts want all of them. So a user
//! here *is* its JSON object, in the service's order, with typed access to what the product reasons about. Other code
//! asks for [`User::presence`] and never for `["online"]`.

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
    /// Wraps an object. The service always sends `id`; an object without it reads as the empty id.
    pub const fn new(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// The user's id, or `""` where the object has none.
    pub fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// The display name, where one was ever set.
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

    /// The fields with `online`, `status`, `last_active` and `invisible` present, as `null` where unknown: what every
    /// record promises about a user.
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

    /// Replaces the presence fields by `presence`, keeping everything else.
    pub fn set_presence(&mut self, presence: &Presence) {
        let Presence {
            online,
            invisible,
            status,
            last_active,
        } = presence;
        self.fields.insert(
            PresenceField::Online.name().to_owned(),
            Value::from(*online),
        );
        self.fields.insert(
            PresenceField::Status.name().to_owned(),
            Value::from(status.clone()),
        );
        self.fields.insert(
            PresenceField::LastActive.name().to_owned(),
            Value::from(last_active.clone()),
        );
        self.fields.insert(
            PresenceField::Invisible.name().to_owned(),
            Value::from(*invisible),
        );
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
