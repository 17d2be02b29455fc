//! Restores the old status and visibility of users after they were held.

use serde_json::{Map, Value};

use crate::api::{ApiError, Client, QueryUsers, UserPatch};
use crate::app::App;
use crate::commands::ids::{BATCH, summarize_ids};
use crate::commands::rate_limiter::RateLimiter;
use crate::domain::{Presence, UserId};

/// The patches that restore the old values.
#[derive(Debug, Default)]
pub(super) struct RestorePlan(Vec<UserPatch>);

/// The fields that holding changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangedFields {
    pub(super) invisible: bool,
    pub(super) status: bool,
}

impl RestorePlan {
    /// Reads the current values of the fields that will be changed.
    pub(super) async fn read(
        client: &Client,
        users: &[UserId],
        changed: ChangedFields,
    ) -> Result<Self, ApiError> {
        if !changed.invisible && !changed.status {
            return Ok(Self::default());
        }
        let mut limiter = RateLimiter::default();
        let mut patches = Vec::with_capacity(users.len());
        for batch in users.chunks(BATCH) {
            limiter.before(client, "QueryUsers").await;
            let found = client.query_users_in(batch, &QueryUsers::default()).await?;
            patches.extend(batch.iter().map(|id| {
                let user = found.iter().find(|user| user.id() == id.as_str());
                let presence = user.map(crate::domain::User::presence).unwrap_or_default();
                undo(id, &presence, changed)
            }));
        }
        Ok(Self(patches))
    }

    /// Warns that the old values may not be restored, because the run ends before.
    pub(super) fn warn_skipped(&self, app: &App) {
        let ids: Vec<&str> = self.0.iter().map(|patch| patch.id.as_str()).collect();
        if !ids.is_empty() {
            let who = summarize_ids(&ids);
            app.output()
                .warn(&format!("the old values of {who} may not be restored"));
        }
    }

    /// Restores the old values of all users.
    ///
    /// # Errors
    ///
    /// Some users could not be restored; the others are. Holds their ids and the last error.
    pub(super) async fn restore(&self, client: &Client) -> Result<(), (Vec<&str>, ApiError)> {
        let mut limiter = RateLimiter::default();
        let mut failed = Vec::new();
        let mut last = None;
        for patches in self.0.chunks(BATCH) {
            limiter.before(client, "UpdateUsersPartial").await;
            if let Err(error) = client.patch_users(patches).await {
                failed.extend(patches.iter().map(|patch| patch.id.as_str()));
                last = Some(error);
            }
        }
        match last {
            Some(error) => Err((failed, error)),
            None => Ok(()),
        }
    }
}

fn undo(id: &UserId, before: &Presence, changed: ChangedFields) -> UserPatch {
    let mut patch = UserPatch {
        id: id.clone(),
        set: Map::new(),
        unset: Vec::new(),
    };
    if changed.invisible {
        let invisible = before.invisible.unwrap_or(false);
        patch.set.insert("invisible".to_owned(), invisible.into());
    }
    if changed.status {
        match &before.status {
            Some(status) => {
                patch
                    .set
                    .insert("status".to_owned(), Value::from(status.as_str()));
            }
            None => patch.unset.push("status".to_owned()),
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_changed_fields_are_restored() {
        let before = Presence {
            invisible: Some(true),
            status: Some("lunch".to_owned()),
            ..Presence::default()
        };
        let patch = |before: &Presence, invisible, status| {
            let changed = ChangedFields { invisible, status };
            let patch = undo(&"amy".parse().unwrap(), before, changed);
            json!({"set": patch.set, "unset": patch.unset})
        };
        assert_eq!(
            patch(&before, true, true),
            json!({"set": {"invisible": true, "status": "lunch"}, "unset": []})
        );
        assert_eq!(
            patch(&before, false, true),
            json!({"set": {"status": "lunch"}, "unset": []})
        );
        assert_eq!(
            patch(&Presence::default(), true, true),
            json!({"set": {"invisible": false}, "unset": ["status"]})
        );
    }
}
