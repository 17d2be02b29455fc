//! Users by id: reads those that exist, in batches.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::{Client, QueryUsers};
use crate::commands::ids::{BATCH, summarize_ids};
use crate::domain::{User, UserId};

/// The users of at most a batch of ids that exist, deactivated ones included, by id.
pub async fn users_by_id(client: &Client, ids: &[UserId]) -> anyhow::Result<HashMap<String, User>> {
    debug_assert!(ids.len() <= BATCH, "the service takes a batch at a time");
    let query = QueryUsers {
        filter_conditions: ids_filter(ids),
        limit: Some(u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1)),
        include_deactivated_users: true,
        ..QueryUsers::default()
    };
    let users = client
        .query_users(&query)
        .await
        .with_context(|| format!("cannot read {}", summarize_ids(ids)))?;
    Ok(users
        .into_iter()
        .map(|user| (user.id().to_owned(), user))
        .collect())
}

/// The filter for users with these ids.
pub fn ids_filter(ids: &[UserId]) -> Map<String, Value> {
    Map::from_iter([("id".to_owned(), json!({ "$in": ids }))])
}

/// A user of whom only the id is known: the service answered a change without showing the user.
pub fn user_with_id_only(id: &UserId) -> User {
    User::new(Map::from_iter([("id".to_owned(), json!(id))]))
}
