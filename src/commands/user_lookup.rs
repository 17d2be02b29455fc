//! Reads users by id and skips those that do not exist.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::{Map, json};

use crate::api::{Client, QueryUsers};
use crate::commands::ids::summarize_ids;
use crate::domain::{User, UserId};

/// The users with these ids that exist, deactivated ones included, by id.
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

/// A user of whom only the id is known, because the response to a change does not show them.
pub fn user_with_id_only(id: &UserId) -> User {
    User::new(Map::from_iter([("id".to_owned(), json!(id))]))
}
