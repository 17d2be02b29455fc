//! Calls to `/users`: query, create, change, deactivate, delete, restore.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::request::Request;
use crate::api::responses::{OneUser, UserList, UserMap};
use crate::api::{ApiError, Client, UserPage};
use crate::domain::{User, UserId};

/// The rate-limited endpoint that reads users, by the service's name.
pub const QUERY_USERS: &str = "QueryUsers";
/// The rate-limited endpoint that replaces users, by the service's name.
pub const UPDATE_USERS: &str = "UpdateUsers";
/// The rate-limited endpoint that changes fields of users, by the service's name.
pub const UPDATE_USERS_PARTIAL: &str = "UpdateUsersPartial";

/// One sort key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sort {
    /// The field to sort by.
    pub field: String,
    /// 1 ascending, -1 descending.
    pub direction: i8,
}

/// The payload of `GET /users`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QueryUsers {
    /// The filter, as the API defines it.
    pub filter_conditions: Map<String, Value>,
    /// At most 5 keys.
    pub sort: Vec<Sort>,
    /// At most 100; the service's default is 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// At most 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// Whether to subscribe `connection_id` to the found users (at most 30 per call).
    pub presence: bool,
    /// Whether to include deactivated users.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_deactivated_users: bool,
    /// The connection to subscribe; a query parameter, not part of the payload.
    #[serde(skip)]
    pub connection_id: Option<String>,
}

/// A change of one user in `PATCH /users`.
#[derive(Debug, Clone, Serialize)]
pub struct UserPatch {
    /// The user's id.
    pub id: UserId,
    /// Fields to set. Dots reach into nested objects.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Fields to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
}

impl Request {
    /// One page of users.
    pub fn query_users(query: &QueryUsers) -> Self {
        Self::new(QUERY_USERS, Method::GET, ["users"])
            .with_connection(query.connection_id.as_deref())
            .with_parameter("payload", query)
    }

    /// Creates users or replaces the data of existing ones; at most 100, all or none.
    pub fn upsert_users(users: &[Map<String, Value>]) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            users: BTreeMap<&'a str, &'a Map<String, Value>>,
        }
        let users = users.iter().map(|user| (id_of(user), user)).collect();
        Self::new(UPDATE_USERS, Method::POST, ["users"]).with_body(&Body { users })
    }

    /// Changes the given fields of users; at most 100 users, all or none.
    pub fn patch_users(patches: &[UserPatch]) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            users: &'a [UserPatch],
        }
        Self::new(UPDATE_USERS_PARTIAL, Method::PATCH, ["users"])
            .with_body(&Body { users: patches })
    }

    /// Deletes a user: permanently with `hard`, otherwise by marking them as deleted.
    pub fn delete_user(id: &UserId, hard: bool) -> Self {
        let request = Self::new("DeleteUser", Method::DELETE, ["users", id.as_str()]);
        let request = if hard {
            request.with_query("hard_delete", "true")
        } else {
            request
        };
        request.not_idempotent()
    }

    /// Deactivates a user: they still exist but cannot connect.
    pub fn deactivate_user(id: &UserId) -> Self {
        Self::on_user("DeactivateUser", id, "deactivate")
    }

    /// Reactivates a deactivated user.
    pub fn reactivate_user(id: &UserId) -> Self {
        Self::on_user("ReactivateUser", id, "reactivate")
    }

    /// Restores users that are marked as deleted; at most 100.
    pub fn restore_users(ids: &[UserId]) -> Self {
        Self::new("RestoreUsers", Method::POST, ["users", "restore"])
            .with_body(&json!({ "user_ids": ids }))
            .not_idempotent()
    }

    fn on_user(endpoint: &'static str, id: &UserId, action: &str) -> Self {
        Self::new(endpoint, Method::POST, ["users", id.as_str(), action])
            .with_body(&Map::new())
            .not_idempotent()
    }
}

impl Client {
    /// One page of users.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_users(&self, query: &QueryUsers) -> Result<Vec<User>, ApiError> {
        let response: UserList = self.fetch(&Request::query_users(query)).await?;
        Ok(response.users)
    }

    /// One page of users as received text, for callers that copy more of it than they parse.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_user_page(&self, query: &QueryUsers) -> Result<UserPage, ApiError> {
        let response = self.send(&Request::query_users(query)).await?;
        UserPage::cut(response.body.clone()).ok_or_else(|| response.unreadable())
    }

    /// Creates users or replaces the data of existing ones; at most 100, all or none.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn upsert_users(&self, users: &[Map<String, Value>]) -> Result<Vec<User>, ApiError> {
        let request = Request::upsert_users(users);
        self.write_users(&request, users.iter().map(id_of)).await
    }

    /// Changes the given fields of users; at most 100 users, all or none.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn patch_users(&self, patches: &[UserPatch]) -> Result<Vec<User>, ApiError> {
        let ids = patches.iter().map(|patch| patch.id.as_str());
        self.write_users(&Request::patch_users(patches), ids).await
    }

    /// Sends a change of users. A response without all of them is an error.
    async fn write_users<'a>(
        &self,
        request: &Request,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<User>, ApiError> {
        let response = self.send(request).await?;
        let users: UserMap = response.decode()?;
        users.with(ids).ok_or_else(|| response.unreadable())
    }

    /// Sends a request about one user, such as [`Request::delete_user`]. Returns the user if the response contains
    /// them.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn change_user(&self, request: &Request) -> Result<Option<User>, ApiError> {
        let response: OneUser = self.fetch(request).await?;
        Ok(response.user)
    }
}

fn id_of(user: &Map<String, Value>) -> &str {
    user.get("id").and_then(Value::as_str).unwrap_or_default()
}
