//! Reads users by id and skips those that do not exist.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::{Map, json};

use crate::api::{Client, QueryUsers};
use crate::commands::ids::summarize_ids;
use crate::domain::{User, UserId};

/// Reads the users with these ids, including deactivated ones, by id. Users that do not exist are left out.
pub async fn users_by_id(client: &Client, ids: &[UserId]) -> anyhow::Result<HashMap<String, User>> {
    let query = QueryUsers {
        include_deactivated_users: true,
        ..QueryUsers::default()
    };
    let users = client
        .query_users_in(ids, &query)
        .await
        .with_context(|| format!("cannot read {}", summarize_ids(ids)))?;
    Ok(users
        .into_iter()
        .map(|user| (user.id().to_owned(), user))
        .collect())
}

/// A user with an id only, for responses that do not contain the user.
pub fn user_with_id_only(id: &UserId) -> User {
    User::new(Map::from_iter([("id".to_owned(), json!(id))]))
}
