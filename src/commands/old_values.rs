//! The old values of users whose change is temporary, and restoring them.
//!
//! Somebody else may change the same users meanwhile. So each field is restored only where it still has the value that
//! the temporary change gave it, read right before. A user who cannot be restored does not prevent the others.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::{ApiError, Client, QUERY_USERS, QueryUsers, UPDATE_USERS_PARTIAL, UserPatch};
use crate::commands::fields::FieldChanges;
use crate::commands::ids::{BATCH, summarize_ids};
use crate::commands::rate_limiter::CallLimiters;
use crate::domain::{User, UserId};
use crate::output::Output;
use crate::settings::App;

/// The old values of the users that a temporary change is made to.
#[derive(Debug)]
pub struct OldValues {
    changes: FieldChanges,
    /// The old values of the changed fields; `None` for a user who did not exist.
    users: BTreeMap<UserId, Option<Map<String, Value>>>,
}

/// The users who could not be restored.
#[derive(Debug)]
pub struct RestoreFailure {
    ids: Vec<UserId>,
    last_error: ApiError,
}

impl From<RestoreFailure> for anyhow::Error {
    fn from(failure: RestoreFailure) -> Self {
        let who = summarize_ids(&failure.ids);
        Self::from(failure.last_error).context(format!("cannot restore the old values of {who}"))
    }
}

impl OldValues {
    /// No old values yet. `changes` is what is done to each user.
    pub const fn new(changes: FieldChanges) -> Self {
        Self {
            changes,
            users: BTreeMap::new(),
        }
    }

    /// Whether no user is to be restored.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Keeps the old values of a user, and prints them for people. The first call for a user counts.
    pub fn add(&mut self, output: &Output, id: &UserId, before: Option<&Map<String, Value>>) {
        if self.changes.is_empty() || self.users.contains_key(id) {
            return;
        }
        let old = before.map(|before| self.changes.select(before));
        output.status(&match &old {
            Some(old) => format!("old values of {id}: {}", self.changes.describe(old)),
            None => format!("{id} does not exist yet"),
        });
        self.users.insert(id.clone(), old);
    }

    /// Reads and keeps the old values of these users.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: they cannot be read.
    pub async fn read(
        &mut self,
        client: &Client,
        output: &Output,
        users: &[UserId],
    ) -> Result<(), ApiError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut limiter = CallLimiters::default();
        for batch in users.chunks(BATCH) {
            limiter.before(client, QUERY_USERS).await;
            let found = read_users(client, batch).await?;
            for id in batch {
                self.add(output, id, found.get(id.as_str()).map(User::fields));
            }
        }
        Ok(())
    }

    /// Warns that the old values may not be restored, because the run ends before.
    pub fn warn_skipped(&self, app: &App) {
        let ids: Vec<&UserId> = self.users.keys().collect();
        if !ids.is_empty() {
            let who = summarize_ids(&ids);
            app.output()
                .warn(&format!("the old values of {who} may not be restored"));
        }
    }

    /// Restores the old values. Returns for how many users.
    ///
    /// # Errors
    ///
    /// Some users could not be restored; the others are.
    pub async fn restore(&self, client: &Client, output: &Output) -> Result<u64, RestoreFailure> {
        let mut limiter = CallLimiters::default();
        let mut restored = 0;
        let mut failed: Vec<UserId> = Vec::new();
        let mut last_error = None;
        let mut gone: Vec<&UserId> = Vec::new();
        let ids: Vec<&UserId> = self.users.keys().collect();
        for batch in ids.chunks(BATCH) {
            limiter.before(client, QUERY_USERS).await;
            let now = match read_users(client, batch).await {
                Ok(now) => now,
                Err(error) => {
                    failed.extend(batch.iter().copied().cloned());
                    last_error = Some(error);
                    continue;
                }
            };
            let mut patches = Vec::new();
            for &id in batch {
                let Some(user) = now.get(id.as_str()).filter(|user| !is_deleted(user)) else {
                    // A user who did not exist before the change has nothing to restore.
                    if self.users[id].is_some() {
                        gone.push(id);
                    }
                    continue;
                };
                let old = self.users[id].as_ref();
                let (undo, kept) = self.changes.undo(old, user.fields());
                if !kept.is_empty() {
                    output.status(&format!(
                        "{id} was changed by somebody else meanwhile; not restored: {}",
                        kept.join(", ")
                    ));
                }
                if !undo.is_empty() {
                    patches.push(UserPatch {
                        id: id.clone(),
                        set: undo.set,
                        unset: undo.unset,
                    });
                }
            }
            // One refused user fails a whole call: halving it finds them in a few calls.
            let mut todo = vec![patches];
            while let Some(mut patches) = todo.pop().filter(|patches| !patches.is_empty()) {
                limiter.before(client, UPDATE_USERS_PARTIAL).await;
                match client.patch_users(&patches).await {
                    Ok(_) => restored += patches.len() as u64,
                    Err(ApiError::Refused(_)) if patches.len() > 1 => {
                        let back = patches.split_off(patches.len() / 2);
                        todo.extend([back, patches]);
                    }
                    Err(error) => {
                        failed.extend(patches.into_iter().map(|patch| patch.id));
                        last_error = Some(error);
                    }
                }
            }
        }
        if !gone.is_empty() {
            let who = summarize_ids(&gone);
            output.warn(&format!(
                "no old values are restored of users who do not exist any more: {who}"
            ));
        }
        match last_error {
            Some(last_error) => Err(RestoreFailure {
                ids: failed,
                last_error,
            }),
            None => Ok(restored),
        }
    }
}

/// The users with these ids, by id. A server reads deactivated users too.
async fn read_users<T: AsRef<str> + serde::Serialize>(
    client: &Client,
    ids: &[T],
) -> Result<BTreeMap<String, User>, ApiError> {
    let query = QueryUsers {
        include_deactivated_users: client.settings().auth.user().is_none(),
        ..QueryUsers::default()
    };
    let users = client.query_users_in(ids, &query).await?;
    let by_id = |user: User| (user.id().to_owned(), user);
    Ok(users.into_iter().map(by_id).collect())
}

fn is_deleted(user: &User) -> bool {
    user.get("deleted_at").is_some_and(|at| !at.is_null())
}
