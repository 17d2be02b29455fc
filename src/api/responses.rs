//! Response bodies: the JSON objects that contain the values for callers.
//!
//! Depending on the endpoint, the service sends an empty list as `[]` or as `null`. It never omits the field. So a
//! response without the field comes from another server, and is not read as an empty list.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::domain::User;

/// Parses `null` as the default value, such as an empty list.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The response of `GET /users`.
#[derive(Deserialize)]
pub(super) struct UserList {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) users: Vec<User>,
}

/// The response of `POST` and `PATCH /users`: a map by id, in the service's order.
#[derive(Deserialize)]
pub(super) struct UserMap {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) users: Map<String, Value>,
}

impl UserMap {
    /// The users, if the response contains all users that were written.
    pub(super) fn with<'a>(self, mut written: impl Iterator<Item = &'a str>) -> Option<Vec<User>> {
        if !written.all(|id| self.users.get(id).is_some_and(Value::is_object)) {
            return None;
        }
        let users = self.users.into_iter().filter_map(|(_, user)| match user {
            Value::Object(fields) => Some(User::new(fields)),
            _ => None,
        });
        Some(users.collect())
    }
}

/// The response to a change of one user. If it has no user, it has a `duration`.
#[derive(Deserialize)]
#[serde(try_from = "OneUserOrNot")]
pub(super) struct OneUser {
    pub(super) user: Option<User>,
}

#[derive(Deserialize)]
struct OneUserOrNot {
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    duration: Option<IgnoredAny>,
}

impl TryFrom<OneUserOrNot> for OneUser {
    type Error = &'static str;

    fn try_from(answer: OneUserOrNot) -> Result<Self, Self::Error> {
        match answer {
            OneUserOrNot {
                user: None,
                duration: None,
            } => Err("neither a user nor a duration"),
            OneUserOrNot { user, .. } => Ok(Self { user }),
        }
    }
}
