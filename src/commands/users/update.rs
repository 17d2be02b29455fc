//! Applies changes to a batch of users.
//!
//! The service has two calls. `POST /users` replaces whole users and creates missing ones. `PATCH /users` changes only
//! the given fields and refuses unknown users. Existing users are changed with `PATCH` only, so that no field is lost.
//! The batch is sent to `PATCH` first. Only if it is refused, a query finds out which users are missing.

use std::collections::HashMap;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::{
    ApiError, Client, QUERY_USERS, Request, UPDATE_USERS, UPDATE_USERS_PARTIAL, UserPatch,
};
use crate::commands::fields::FieldChanges;
use crate::commands::ids::summarize_ids;
use crate::commands::rate_limiter::CallLimiters;
use crate::commands::user_lookup::users_by_id;
use crate::domain::{User, UserId};
use crate::exit::{Code, Failure};

/// The options of changing users.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UpdateOptions {
    /// Whether users that do not exist are refused instead of created.
    pub(super) must_exist: bool,
    /// Whether users that already have the new values are skipped.
    pub(super) if_changed: bool,
    /// Whether users are read back and compared.
    pub(super) verify: bool,
}

/// Changes a batch, creates missing users, and returns all users as they are afterwards. The caller has waited for the
/// rate limit of the first call: [`UPDATE_USERS_PARTIAL`] if there are changes, else [`QUERY_USERS`].
pub(super) async fn apply(
    client: &Client,
    limiter: &mut CallLimiters,
    batch: &[UserId],
    changes: &FieldChanges,
    must_exist: bool,
) -> anyhow::Result<HashMap<String, User>> {
    let refusal = if changes.is_empty() {
        None
    } else {
        match client.patch_users(&patches(batch, changes)).await {
            Ok(users) => return Ok(by_id(users)),
            // The service's error does not say which users are unknown, so a query finds out.
            Err(error @ ApiError::Refused(_)) => Some(error),
            Err(error) => return Err(cannot_change(error, batch)),
        }
    };
    if refusal.is_some() {
        limiter.before(client, QUERY_USERS).await;
    }
    let (mut known, missing) = find(client, batch).await?;
    if missing.is_empty() {
        return match refusal {
            None => Ok(known),
            Some(error) => Err(cannot_change(error, batch)),
        };
    }
    if must_exist {
        return Err(must_exist_failure(&missing).into());
    }
    limiter.before(client, UPDATE_USERS).await;
    let created = client
        .upsert_users(&new_users(&missing, changes))
        .await
        .with_context(|| format!("cannot create {}", summarize_ids(&missing)))?;
    let existing: Vec<UserId> = batch
        .iter()
        .filter(|id| known.contains_key(id.as_str()))
        .cloned()
        .collect();
    if !changes.is_empty() && !existing.is_empty() {
        limiter.before(client, UPDATE_USERS_PARTIAL).await;
        let changed = client
            .patch_users(&patches(&existing, changes))
            .await
            .map_err(|error| cannot_change(error, &existing))?;
        known.extend(by_id(changed));
    }
    known.extend(by_id(created));
    Ok(known)
}

/// The requests that [`apply`] would send.
pub(super) async fn requests(
    client: &Client,
    batch: &[UserId],
    changes: &FieldChanges,
    options: UpdateOptions,
) -> anyhow::Result<Vec<Request>> {
    let (known, missing) = find(client, batch).await?;
    if options.must_exist && !missing.is_empty() {
        return Err(must_exist_failure(&missing).into());
    }
    let mut requests = Vec::new();
    if !missing.is_empty() {
        requests.push(Request::upsert_users(&new_users(&missing, changes)));
    }
    let existing: Vec<UserId> = batch
        .iter()
        .filter(|id| {
            known.get(id.as_str()).is_some_and(|user| {
                !options.if_changed || changes.difference(user.fields()).is_some()
            })
        })
        .cloned()
        .collect();
    if !changes.is_empty() && !existing.is_empty() {
        requests.push(Request::patch_users(&patches(&existing, changes)));
    }
    Ok(requests)
}

/// Reads a batch back and fails if a user does not have the new values.
pub(super) async fn verified(
    client: &Client,
    batch: &[UserId],
    changes: &FieldChanges,
) -> anyhow::Result<HashMap<String, User>> {
    let users = users_by_id(client, batch).await?;
    for id in batch {
        let difference = match users.get(id.as_str()) {
            Some(user) => changes.difference(user.fields()),
            None => Some("the user does not exist".to_owned()),
        };
        if let Some(difference) = difference {
            return Err(Failure::new(
                Code::Unexpected,
                format!("the service accepted the change of {id}, but reading it back shows: {difference}"),
            )
            .hinted(format!(
                "read it again in a moment: presencectl get-user {id}"
            ))
            .into());
        }
    }
    Ok(users)
}

async fn find(
    client: &Client,
    batch: &[UserId],
) -> anyhow::Result<(HashMap<String, User>, Vec<UserId>)> {
    let known = users_by_id(client, batch).await?;
    let missing = batch
        .iter()
        .filter(|id| !known.contains_key(id.as_str()))
        .cloned()
        .collect();
    Ok((known, missing))
}

fn patches(ids: &[UserId], changes: &FieldChanges) -> Vec<UserPatch> {
    ids.iter()
        .map(|id| UserPatch {
            id: id.clone(),
            set: changes.set.clone(),
            unset: changes.unset.clone(),
        })
        .collect()
}

fn new_users(ids: &[UserId], changes: &FieldChanges) -> Vec<Map<String, Value>> {
    ids.iter()
        .map(|id| {
            let mut user = Map::from_iter([("id".to_owned(), json!(id))]);
            user.extend(changes.as_new());
            user
        })
        .collect()
}

fn by_id(users: Vec<User>) -> HashMap<String, User> {
    users
        .into_iter()
        .map(|user| (user.id().to_owned(), user))
        .collect()
}

fn cannot_change(error: ApiError, ids: &[UserId]) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("cannot change {}", summarize_ids(ids)))
}

fn must_exist_failure(missing: &[UserId]) -> Failure {
    let message = match missing {
        [one] => {
            format!("the user {one} does not exist, and --must-exist forbids creating the user")
        }
        many => format!(
            "the users {} do not exist, and --must-exist forbids creating them",
            summarize_ids(many)
        ),
    };
    Failure::new(Code::Refused, message).hinted(match missing {
        [_] => "omit --must-exist to create the user",
        _ => "omit --must-exist to create the users",
    })
}
