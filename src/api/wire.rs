//! The envelopes around answers, opened here and never seen outside.
//!
//! The service leaves out what is empty, sends `null` for it, or sends it empty, depending on the endpoint and its age;
//! all three read the same.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::api::{ChannelState, Member};
use crate::domain::User;

/// Reads `null` like an absent key.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `GET /users`.
#[derive(Deserialize)]
pub(super) struct UserList {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) users: Vec<User>,
}

/// `POST` and `PATCH /users`: a map by id, in the service's order.
#[derive(Deserialize)]
pub(super) struct UserMap {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) users: Map<String, Value>,
}

impl UserMap {
    pub(super) fn into_users(self) -> Vec<User> {
        self.users
            .into_iter()
            .filter_map(|(_, user)| match user {
                Value::Object(fields) => Some(User::new(fields)),
                _ => None,
            })
            .collect()
    }
}

/// Deactivation, reactivation and deletion of one user.
#[derive(Deserialize)]
pub(super) struct OneUser {
    #[serde(default)]
    pub(super) user: Option<User>,
}

/// `POST /channels`.
#[derive(Deserialize)]
pub(super) struct ChannelList {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) channels: Vec<ChannelState>,
}

/// `GET /members`.
#[derive(Deserialize)]
pub(super) struct MemberList {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) members: Vec<Member>,
}

/// An answer of which only the success matters.
#[derive(Deserialize)]
pub(super) struct Done {}
