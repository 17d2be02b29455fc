//! `/users`: query, create, change, deactivate, delete.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::client::Call;
use crate::api::responses::{OneUser, UserList, UserMap};
use crate::api::retry::Repeatable;
use crate::api::{ApiError, Client, UserPage};
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
    /// Whether deactivated users are found too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_deactivated_users: bool,
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

/// What goes with a deleted user.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeleteUser {
    /// Whether the user is removed for good, rather than marked as deleted.
    pub hard: bool,
    /// Whether the user's messages are marked as deleted.
    pub mark_messages_deleted: bool,
    /// Whether one-to-one conversations go too.
    pub delete_conversations: bool,
}

impl Client {
    /// One page of users.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_users(&self, query: &QueryUsers) -> Result<Vec<User>, ApiError> {
        let answer: UserList = self.get(&query_call(query), query).await?;
        Ok(answer.users)
    }

    /// One page of users as the text it came as, for those who copy more of it than they read.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn query_user_page(&self, query: &QueryUsers) -> Result<UserPage, ApiError> {
        let answer = self.get_raw(&query_call(query), query).await?;
        UserPage::cut(answer.body.clone()).ok_or_else(|| answer.unreadable())
    }

    /// Creates users or replaces the data of existing ones; at most 100, all or none.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn upsert_users(&self, users: &[Map<String, Value>]) -> Result<Vec<User>, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            users: BTreeMap<&'a str, &'a Map<String, Value>>,
        }
        let body = Body {
            users: users
                .iter()
                .map(|user| {
                    let id = user.get("id").and_then(Value::as_str).unwrap_or_default();
                    (id, user)
                })
                .collect(),
        };
        let call = Call::new("UpdateUsers", Method::POST, &["users"]);
        self.written(&call, &body, body.users.keys().copied()).await
    }

    /// Changes users, keeping what is not named; at most 100, all or none.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn patch_users(&self, patches: &[UserPatch]) -> Result<Vec<User>, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            users: &'a [UserPatch],
        }
        let call = Call::new("UpdateUsersPartial", Method::PATCH, &["users"]);
        let ids = patches.iter().map(|patch| patch.id.as_str());
        self.written(&call, &Body { users: patches }, ids).await
    }

    /// Sends a write of users, whose answer is no answer unless it shows them all.
    async fn written<'a>(
        &self,
        call: &Call<'_>,
        body: &impl Serialize,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<User>, ApiError> {
        let answer = self.send_raw(call, body).await?;
        let users: UserMap = answer.decode()?;
        users.with(ids).ok_or_else(|| answer.unreadable())
    }

    /// Deletes a user. The answer is the user as he was, where the service shows him.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn delete_user(
        &self,
        id: &UserId,
        how: DeleteUser,
    ) -> Result<Option<User>, ApiError> {
        let flags = [
            ("hard_delete", how.hard),
            ("mark_messages_deleted", how.mark_messages_deleted),
            ("delete_conversation_channels", how.delete_conversations),
        ];
        let query: Vec<_> = flags
            .into_iter()
            .filter_map(|(name, on)| on.then_some((name, "true")))
            .collect();
        // Repeated after it worked, it would answer that there is no such user.
        let path = ["users", id.as_str()];
        let call = Call {
            repeatable: Repeatable::No,
            query: &query,
            ..Call::new("DeleteUser", Method::DELETE, &path)
        };
        let answer: OneUser = self.plain(&call).await?;
        Ok(answer.user)
    }

    /// Deactivates a user: he stays, and cannot connect.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn deactivate_user(
        &self,
        id: &UserId,
        mark_messages_deleted: bool,
    ) -> Result<Option<User>, ApiError> {
        #[derive(Serialize)]
        struct Body {
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            mark_messages_deleted: bool,
        }
        let body = Body {
            mark_messages_deleted,
        };
        let path = ["users", id.as_str(), "deactivate"];
        let call = Call {
            repeatable: Repeatable::No,
            ..Call::new("DeactivateUser", Method::POST, &path)
        };
        let answer: OneUser = self.send(&call, &body).await?;
        Ok(answer.user)
    }

    /// Reactivates a deactivated user.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn reactivate_user(&self, id: &UserId) -> Result<Option<User>, ApiError> {
        let path = ["users", id.as_str(), "reactivate"];
        let call = Call {
            repeatable: Repeatable::No,
            ..Call::new("ReactivateUser", Method::POST, &path)
        };
        let answer: OneUser = self.send(&call, &Map::new()).await?;
        Ok(answer.user)
    }
}

fn query_call(query: &QueryUsers) -> Call<'_> {
    Call {
        connection_id: query.connection_id.as_deref(),
        ..Call::new("QueryUsers", Method::GET, &["users"])
    }
}
