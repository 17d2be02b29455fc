//! `/users`: query, create, change, deactivate, delete.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::{ApiError, Client};
use crate::domain::{User, UserId};

/// One sort key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sort {
    /// The field.
    pub field: String,
    /// 1 ascending, -1 descending.
    pub direction: i8,
}

/// The payload of `GET /users`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QueryUsers {
    /// The filter, in the service's language.
    pub filter_conditions: Map<String, Value>,
    /// At most 5 keys.
    pub sort: Vec<Sort>,
    /// At most 100; the service's default is 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// At most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Whether to subscribe `connection_id` to the users found (the service covers at most 30 a call).
    pub presence: bool,
    /// The connection to subscribe; a query parameter, not part of the payload.
    #[serde(skip)]
    pub connection_id: Option<String>,
}

/// One item of `PATCH /users`.
#[derive(Debug, Clone, Serialize)]
pub struct UserPatch {
    /// Who.
    pub id: UserId,
    /// Fields to write; dots reach into nested objects.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Fields to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
}

impl Client {
    /// One page of users.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_users(&self, query: &QueryUsers) -> Result<Vec<User>, ApiError> {
        let _ = query;
        todo!()
    }

    /// Creates users or replaces the data of existing ones; at most 100, all or none.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn upsert_users(&self, users: &[Map<String, Value>]) -> Result<Vec<User>, ApiError> {
        let _ = users;
        todo!()
    }

    /// Changes users, keeping what is not named; at most 100, all or none.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn patch_users(&self, patches: &[UserPatch]) -> Result<Vec<User>, ApiError> {
        let _ = patches;
        todo!()
    }
}
