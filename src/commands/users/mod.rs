//! Commands about users, and what several of them need: users by id, whether or not they are there.

mod bulk;
pub mod deactivate_user;
pub mod delete_user;
pub mod get_user;
mod journal;
pub mod query_users;
pub mod reactivate_user;
pub mod set_user;

use std::collections::HashMap;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::{Client, QueryUsers};
use crate::commands::ids::{BATCH, in_words};
use crate::domain::{User, UserId};

/// The users of at most a batch of ids that exist, deactivated ones included, by id.
pub(super) async fn by_id(
    client: &Client,
    ids: &[UserId],
) -> anyhow::Result<HashMap<String, User>> {
    debug_assert!(ids.len() <= BATCH, "the service takes a batch at a time");
    let query = QueryUsers {
        filter_conditions: one_of(ids),
        limit: Some(u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1)),
        include_deactivated_users: true,
        ..QueryUsers::default()
    };
    let users = client
        .query_users(&query)
        .await
        .with_context(|| format!("cannot read {}", in_words(ids)))?;
    Ok(users
        .into_iter()
        .map(|user| (user.id().to_owned(), user))
        .collect())
}

/// The filter for users with these ids.
fn one_of(ids: &[UserId]) -> Map<String, Value> {
    Map::from_iter([("id".to_owned(), json!({ "$in": ids }))])
}

/// A user of whom only the id is known: the service answered a change without showing the user.
fn bare(id: &UserId) -> User {
    User::new(Map::from_iter([("id".to_owned(), json!(id))]))
}
